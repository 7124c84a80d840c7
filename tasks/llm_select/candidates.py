"""The candidates: their records, their prompts and their texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.lib.core.errors import REMAKE, DataError
from tasks.lib.core.schemas import KNOWN, POOL, PROMPTS
from tasks.lib.core.tables import count_rows, read_batches, read_table
from tasks.llm_select.candidate_texts import BATCH_ROWS, CandidateTexts, Rows
from tasks.llm_select.verdicts import Members

ID_BYTES = 8


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
        rows: int32, shape (n,).
        is_known: bool, shape (n,), whether it repeats an annotated record. It is then judged like
            the others, so that its prompt stays the same, but it cannot be selected.
    """

    pool: CandidateTexts
    rows: Rows
    prompts: Sequence[Members]
    is_known: NDArray[np.bool_]

    @classmethod
    def read(cls, prompts_path: Path, pool_path: Path, known_path: Path) -> Self:
        """Read the candidates in a prompts table, and copy their texts from the pool.

        Raises:
            DataError: A table is empty or does not match its schema, or a record is missing from
                the pool or is shown twice.
        """
        # In another function, so that its arrays are freed before the texts need memory.
        rows, prompts, is_known = _find_rows(prompts_path, pool_path, known_path)
        return cls(CandidateTexts(pool_path, rows), rows, prompts, is_known)

    def texts(self, members: Members) -> list[str]:
        """Return the full text of each candidate in the form that a judge sees."""
        return self.pool.texts(members)

    def ids(self, members: Members) -> list[str]:
        """Return the record ids of candidates."""
        return self.pool.ids(members)


class RowIndex:
    """The rows of a pool by id.

    Raises:
        DataError: The file is not Parquet, or not a pool, or an id is not in our format.
    """

    def __init__(self, path: Path) -> None:
        ids = np.empty(count_rows(path, POOL), dtype=np.uint64)
        n_done = 0
        for batch in read_batches(path, POOL, ["id"], BATCH_ROWS):
            ids[n_done : n_done + len(batch)] = _numbers(batch["id"], path)
            n_done += len(batch)
        order = np.argsort(ids)
        self._ids, self._rows = ids[order], order.astype(np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def rows(self, ids: "pa.Array[Any]", where: Path) -> Rows:
        """Return the rows with these ids, -1 for an id that the pool lacks.

        Raises:
            DataError: An id in the file `where` is not in our format.
        """
        numbers = _numbers(ids, where)
        if not len(self):
            return np.full(len(numbers), -1, np.int32)
        order = np.argsort(numbers)  # since neighbours are found faster
        places = np.empty(len(numbers), np.intp)
        places[order] = np.searchsorted(self._ids, numbers[order])
        places[places == len(self)] = 0
        return np.where(self._ids[places] == numbers, self._rows[places], -1)


def _numbers(ids: "pa.Array[Any]", where: Path) -> NDArray[np.uint64]:
    digits = "".join(id_ or "" for id_ in ids.to_pylist())
    try:
        numbers = bytes.fromhex(digits)
    except ValueError:
        numbers = b""
    if numbers.hex() != digits or len(numbers) != ID_BYTES * len(ids):
        raise DataError(
            f"expected ids of {2 * ID_BYTES} hexadecimal digits, found others",
            where=str(where),
            fix=REMAKE,
        )
    return np.frombuffer(numbers, ">u8").astype(np.uint64)


def _find_rows(
    prompts_path: Path, pool_path: Path, known_path: Path
) -> tuple[Rows, Prompts, NDArray[np.bool_]]:
    """Return the row of each candidate in the pool, their prompts, and whether they are known."""
    n, n_done = count_rows(prompts_path, PROMPTS), 0
    numbers, rows = np.empty(n, np.int32), np.empty(n, np.int32)
    index = RowIndex(pool_path)
    for batch in read_batches(prompts_path, PROMPTS, ["prompt", "id"], BATCH_ROWS):
        done = slice(n_done, n_done + len(batch))
        n_done += len(batch)
        numbers[done] = batch["prompt"].to_numpy()
        rows[done] = index.rows(batch["id"], prompts_path)
    _check(rows, len(index), prompts_path)
    known = read_table(known_path, KNOWN, ["id"])["id"].combine_chunks()
    is_known = np.zeros(len(index) + 1, dtype=np.bool_)  # the last one for ids that it lacks
    is_known[index.rows(known, known_path)] = True
    return rows, Prompts(numbers), is_known[rows]


def _check(rows: Rows, n_pool: int, where: Path) -> None:
    is_shown = np.zeros(n_pool + 1, dtype=np.bool_)  # the last one for ids that the pool lacks
    is_shown[rows] = True
    if not len(rows):
        what = "there are no records to select from"
    elif is_shown[-1]:
        what = "a record is not in the pool"
    elif np.count_nonzero(is_shown) < len(rows):
        what = "a record is shown twice"
    else:
        return
    fix = "Run `dvc repro llm_select`, which also runs the stages before it."
    raise DataError(what, where=str(where), fix=fix)
