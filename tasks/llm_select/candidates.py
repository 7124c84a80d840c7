"""The candidates: their records, their prompts and their texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import KNOWN, PROMPTS
from tasks.lib.core.tables import count_rows, read_batches, read_table
from tasks.llm_select.pool_texts import BATCH_ROWS, PoolFile
from tasks.llm_select.verdicts import Members


class Prompts(Sequence[Members]):
    """The candidates of each prompt, made on demand: an array for each would take more memory.

    Args:
        numbers: int32, shape (n,): the number of the prompt that shows candidate i, in order.
    """

    def __init__(self, numbers: NDArray[np.int32]) -> None:
        starts = np.flatnonzero(np.diff(numbers)) + 1
        self._bounds = np.concatenate([[0], starts, [len(numbers)]])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, i: Any) -> Any:
        return np.arange(self._bounds[i], self._bounds[i + 1])


class Candidates(NamedTuple):
    """All candidates; candidate i is row i of the prompts table and row ``rows[i]`` of the pool.

    Attributes:
        rows: int64, shape (n,).
        is_known: bool, shape (n,), whether it repeats an annotated record. It is then judged like
            the others, so that its prompt stays the same, but it cannot be selected.
    """

    pool: PoolFile
    rows: NDArray[np.int64]
    prompts: Sequence[Members]
    is_known: NDArray[np.bool_]

    @classmethod
    def read(cls, prompts_path: Path, pool_path: Path, known_path: Path) -> Self:
        """Read the candidates in a prompts table, and the pool that contains their texts.

        Raises:
            DataError: A table is empty or does not match its schema, or the pool lacks a record.
        """
        pool = PoolFile(pool_path)
        index = pool.index()
        n = count_rows(prompts_path, PROMPTS)
        numbers, rows = np.empty(n, np.int32), np.empty(n, np.int64)
        n_done = 0
        for batch in read_batches(prompts_path, PROMPTS, ["prompt", "id"], BATCH_ROWS):
            done = slice(n_done, n_done + len(batch))
            n_done += len(batch)
            numbers[done] = batch["prompt"].to_numpy()
            rows[done] = index.rows(batch["id"], prompts_path)
        if rows.min(initial=0) < 0 or not n:
            raise DataError(
                "there are no records to select from" if not n else "a record is not in the pool",
                where=str(prompts_path),
                fix="Run `dvc repro llm_select`, which also runs the stages before it.",
            )
        known = read_table(known_path, KNOWN, ["id"])["id"].combine_chunks()
        is_known = np.zeros(len(pool) + 1, dtype=np.bool_)  # the last one for ids that it lacks
        is_known[index.rows(known, known_path)] = True
        return cls(
            pool=pool,
            rows=rows,
            prompts=Prompts(numbers),
            is_known=is_known[rows],
        )

    def texts(self, members: Members) -> list[str]:
        """Return the full text of each candidate in the form that a judge sees."""
        return self.pool.texts(self.rows[members])

    def ids(self, members: Members) -> list[str]:
        """Return the record ids of candidates."""
        return self.pool.ids(self.rows[members])
