"""The candidates of the first round: who they are, where they stand, what they say."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.records import record_text
from tasks.core.schemas import POOL, PROMPTS
from tasks.core.tables import read_table
from tasks.llm.rounds import Candidates


class Shown(NamedTuple):
    """Candidate i is row i of the table of prompts, and row ``rows[i]`` of the pool."""

    pool: pa.Table
    rows: NDArray[np.int64]  # shape (n,)
    clusters: NDArray[np.int32]  # shape (n,)
    prompts: list[Candidates]

    @classmethod
    def read(cls, prompts_path: Path, pool_path: Path) -> Self:
        """The candidates that a table of prompts shows, out of the pool that is read with it.

        Raises:
            DataError: A table is not as declared, is empty, or shows a record that the pool has
                not.
        """
        shown, pool = read_table(prompts_path, PROMPTS), read_table(pool_path, POOL)
        rows = pc.index_in(shown["id"], value_set=pool["id"])
        if rows.null_count or not shown.num_rows:
            raise DataError(
                "no record to choose from" if not shown.num_rows else "a record is not in the pool",
                where=str(prompts_path),
                fix="Run `dvc repro llm_select`, which makes what comes before.",
            )
        starts = np.flatnonzero(np.diff(shown["prompt"].to_numpy())) + 1
        return cls(
            pool=pool.combine_chunks(),  # or every `take` would copy whole columns
            rows=rows.to_numpy().astype(np.int64),
            clusters=shown["cluster"].to_numpy(),
            prompts=np.split(np.arange(shown.num_rows), starts),
        )

    def texts(self, candidates: Candidates) -> list[str]:
        """What each candidate says: instruction, then input."""
        rows = self.pool.select(["instruction", "input"]).take(self.rows[candidates])
        return [record_text(row["instruction"], row["input"]) for row in rows.to_pylist()]

    def ids(self, candidates: Candidates) -> list[str]:
        """The record ids of candidates."""
        return [str(i) for i in self.pool["id"].take(self.rows[candidates]).to_pylist()]
