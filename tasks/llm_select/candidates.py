"""The candidates: their records, their prompts and their texts."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import KNOWN, PROMPTS
from tasks.lib.core.tables import read_table
from tasks.llm_select.pool_texts import PoolFile
from tasks.llm_select.verdicts import Members


class Candidates(NamedTuple):
    """All candidates; candidate i is row i of the prompts table and row ``rows[i]`` of the pool.

    Attributes:
        rows: int64, shape (n,).
        is_known: bool, shape (n,), whether it repeats an annotated record. It is then judged like
            the others, so that its prompt stays the same, but it cannot be selected.
    """

    pool: PoolFile
    rows: NDArray[np.int64]
    prompts: list[Members]
    is_known: NDArray[np.bool_]

    @classmethod
    def read(cls, prompts_path: Path, pool_path: Path, known_path: Path) -> Self:
        """Read the candidates in a prompts table, and the pool that contains their texts.

        Raises:
            DataError: A table is empty or does not match its schema, or the pool lacks a record.
        """
        table, pool = read_table(prompts_path, PROMPTS), PoolFile(pool_path)
        rows = pc.index_in(table["id"], value_set=pool.ids)
        if rows.null_count or not table.num_rows:
            raise DataError(
                "there are no records to select from"
                if not table.num_rows
                else "a record is not in the pool",
                where=str(prompts_path),
                fix="Run `dvc repro llm_select`, which also runs the stages before it.",
            )
        known = read_table(known_path, KNOWN, ["id"])["id"]
        starts = np.flatnonzero(np.diff(table["prompt"].to_numpy())) + 1
        return cls(
            pool=pool,
            rows=rows.to_numpy().astype(np.int64),
            prompts=np.split(np.arange(table.num_rows), starts),
            is_known=pc.is_in(table["id"], value_set=known).to_numpy(),
        )

    def texts(self, members: Members) -> list[str]:
        """Return the full text of each candidate in the form that a judge sees."""
        return self.pool.texts(self.rows[members])

    def ids(self, members: Members) -> list[str]:
        """Return the record ids of candidates."""
        return [str(i) for i in self.pool.ids.take(self.rows[members]).to_pylist()]
