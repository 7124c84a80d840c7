"""The candidates of the first round: who they are, where they stand, what they say."""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import PROMPTS
from tasks.lib.core.tables import read_table
from tasks.llm_select.pool_texts import PoolFile
from tasks.llm_select.verdicts import Candidates


class Shown(NamedTuple):
    """Candidate i is row i of the table of prompts, and row ``rows[i]`` of the pool."""

    pool: PoolFile
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
        shown, pool = read_table(prompts_path, PROMPTS), PoolFile(pool_path)
        rows = pc.index_in(shown["id"], value_set=pool.ids)
        if rows.null_count or not shown.num_rows:
            raise DataError(
                "no record to choose from" if not shown.num_rows else "a record is not in the pool",
                where=str(prompts_path),
                fix="Run `dvc repro llm_select`, which makes what comes before.",
            )
        starts = np.flatnonzero(np.diff(shown["prompt"].to_numpy())) + 1
        return cls(
            pool=pool,
            rows=rows.to_numpy().astype(np.int64),
            clusters=shown["cluster"].to_numpy(),
            prompts=np.split(np.arange(shown.num_rows), starts),
        )

    def texts(self, candidates: Candidates) -> list[str]:
        """What each candidate says: instruction, then input."""
        return self.pool.texts(self.rows[candidates])

    def ids(self, candidates: Candidates) -> list[str]:
        """The record ids of candidates."""
        return [str(i) for i in self.pool.ids.take(self.rows[candidates]).to_pylist()]
