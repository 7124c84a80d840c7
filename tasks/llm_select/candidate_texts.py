"""Copy the ids and texts of candidates from the pool to a file from which a few can be loaded."""

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tasks.lib.core.records import TEXT_COLUMNS
from tasks.lib.core.schemas import POOL
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.tables import count_rows, read_batches
from tasks.llm_select.verdicts import Members

BATCH_ROWS = 4096  # rows of the pool in memory at a time
RUN_CHARS = 1 << 21  # of texts in memory at a time while they are copied
PART = 2048  # candidates that are loaded together
PARTS_IN_MEMORY = 4  # outputs are written a few hundred prompts after their texts are read

Rows = NDArray[np.int32]
"""int32, shape (n,): rows of the pool."""
Records = dict[int, tuple[str, str]]
"""The id and the text of candidates, by index."""


class CandidateTexts:
    """Ids and texts of candidates, from a file in which those of a prompt are close together.

    In the pool, they are anywhere, and Parquet would decode 65,536 rows for each. So candidates are
    copied once into an unnamed temporary file, in runs of a few thousand. A run is a stretch of the
    pool, sorted by candidate and cut into parts: part p has the candidates from p * `PART`. A part
    is loaded from all runs.

    Args:
        path: The pool.
        rows: The row of each candidate, none twice.

    Attributes:
        path: The pool.

    Raises:
        DataError: The file is not Parquet, or not a pool.
    """

    def __init__(self, path: Path, rows: Rows) -> None:
        self.path = path
        with tempfile.TemporaryFile() as file:
            sizes = np.array([[*map(file.write, run)] for run in _runs(path, rows)])
            file.flush()
            copy = os.dup(file.fileno())
        weakref.finalize(self, os.close, copy)
        ends = np.cumsum(sizes).reshape(sizes.shape)
        self._part = lru_cache(PARTS_IN_MEMORY)(partial(_load, copy, ends - sizes, ends))

    def ids(self, members: Members) -> list[str]:
        """Return the record ids of candidates."""
        return [self._part(i // PART)[i][0] for i in members.tolist()]

    def texts(self, members: Members) -> list[str]:
        """Return the full text of each candidate in the form that a judge sees."""
        return [self._part(i // PART)[i][1] for i in members.tolist()]


def _runs(path: Path, rows: Rows) -> Iterator[Iterator[bytes]]:
    """Yield the parts of each run."""
    places = np.full(count_rows(path, POOL), -1, dtype=np.int32)
    places[rows] = np.arange(len(rows))
    starts = np.arange(0, len(rows) + PART, PART)
    ids, texts, n_done = list[str](), list[str](), 0
    for batch in read_batches(path, POOL, ["id", *TEXT_COLUMNS], BATCH_ROWS):
        columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
        ids += columns[0]
        texts += starmap(shown_text, zip(*columns[1:], strict=True))
        done = n_done + len(ids)
        if sum(map(len, texts)) >= RUN_CHARS or done == len(places):
            yield _parts(places[n_done:done], ids, texts, starts)
            ids, texts, n_done = [], [], done


def _parts(
    places: Rows, ids: Sequence[str], texts: Sequence[str], starts: NDArray[np.int64]
) -> Iterator[bytes]:
    """Yield the parts of a run, as JSON: the indices of candidates, their ids and their texts."""
    order = np.argsort(places)
    bounds = np.searchsorted(places, starts, sorter=order).tolist()
    numbers, by_place = places[order].tolist(), order.tolist()
    for start, end in pairwise(bounds):
        rows = by_place[start:end]
        yield orjson.dumps((numbers[start:end], [ids[i] for i in rows], [texts[i] for i in rows]))


def _load(file: int, starts: NDArray[np.int64], ends: NDArray[np.int64], part: int) -> Records:
    """Return the records of a part from all runs."""
    records: Records = {}
    for start, end in zip(starts[:, part].tolist(), ends[:, part].tolist(), strict=True):
        numbers, ids, texts = orjson.loads(os.pread(file, end - start, start))
        records |= zip(numbers, zip(ids, texts, strict=True), strict=True)
    return records
