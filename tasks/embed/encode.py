"""Unit vectors of a stream of texts, block by block."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.embed.batches import Item, Reading, batches
from tasks.embed.parallel import as_done
from tasks.embed.pool_texts import Entry
from tasks.lib.core.errors import DataError

READ_AT_ONCE = 1_000  # texts


class Block(NamedTuple):
    """Some of the vectors.

    Attributes:
        rows: int64, shape (n,); which entries they belong to.
        vectors: float32, shape (n, d), unit norm.
        n_full: How many of the texts fill the model's window, so that the rest was not read.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    n_full: int


class Encoder(Protocol):
    """A model that gives numbers for texts.

    Attributes:
        n_threads: How many threads should call `encode` at a time.
        identity: All that a vector depends on beside its text.
    """

    n_threads: int
    identity: dict[str, Any]

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model reads of each text."""
        ...

    def n_rows(self, length: int) -> int:
        """How many readings of one length make a batch."""
        ...

    def encode(self, readings: Sequence[Reading]) -> NDArray[np.float32]:
        """One vector a reading, of any length: shape (n readings, d).

        A vector depends on its own reading alone, not on the others of the batch.
        """
        ...


def blocks_of(entries: Iterable[Entry], encoder: Encoder) -> Iterator[Block]:
    """The unit vectors of all entries, in batches of like length, so that little is padding.

    Each row comes once, in any order. An entry's vector has the same bytes in whatever company it
    comes, so a pool may be embedded in parts.

    Raises:
        DataError: A vector is zero or not finite; the record is named.
    """
    full_batches = batches(_items(entries, encoder), encoder.n_rows)
    for batch, vectors in as_done(
        lambda batch: encoder.encode([item.reading for item in batch]),
        full_batches,
        encoder.n_threads,
    ):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        faulty = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)).ravel())
        if faulty.size:
            raise DataError(
                "the model gives no direction for this record",
                where=f"record {batch[faulty[0]].id}",
                fix="Try embed.precision float32, or another embed.model.",
            )
        rows = np.array([item.row for item in batch])
        yield Block(rows, vectors / norms, sum(item.reading.is_full for item in batch))


def _items(entries: Iterable[Entry], encoder: Encoder) -> Iterator[Item]:
    """What the model reads of each entry, in order."""
    stream, row = iter(entries), 0
    while some := list(islice(stream, READ_AT_ONCE)):
        for entry, reading in zip(some, encoder.read([e.text for e in some]), strict=True):
            yield Item(row, entry.id, reading)
            row += 1
