"""What an encoder is, and how it computes unit vectors for a stream of texts."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.embed.batches import TokenizedRecord, TokenizedText, batches
from tasks.embed.map_threads import map_unordered
from tasks.embed.pool_texts import PoolText
from tasks.lib.core.errors import DataError

TOKENIZED_AT_ONCE = 1_000  # texts


class VectorBatch(NamedTuple):
    """The vectors of a batch of texts.

    Attributes:
        rows: int64, shape (n,), the row of each vector's text.
        vectors: float32, shape (n, d), unit norm.
        n_full: The number of texts that fill the model's window, and so may have been cut off.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    n_full: int


class Encoder(Protocol):
    """A model that turns texts into vectors.

    Attributes:
        n_threads: The number of threads that should call `encode` at the same time.
        identity: Everything that a vector depends on, apart from its text.
    """

    n_threads: int
    identity: dict[str, Any]

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Return the part of each text that the model reads."""
        ...

    def batch_size(self, length: int) -> int:
        """Return the number of texts of this length in a full batch."""
        ...

    def encode(self, texts: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """Return one vector of any norm for each text: shape (n, d).

        A vector depends only on its own text, not on the other texts in the batch.
        """
        ...


def encode_all(texts: Iterable[PoolText], encoder: Encoder) -> Iterator[VectorBatch]:
    """Yield the unit vectors of all texts, in batches of equal padded length.

    Each row occurs once, in any order. The bytes of a text's vector do not depend on the other
    texts, so a pool may be embedded in parts.

    Raises:
        DataError: A vector is zero or not finite; the error names the record.
    """
    full_batches = batches(_tokenized(texts, encoder), encoder.batch_size)
    for batch, vectors in map_unordered(
        lambda batch: encoder.encode([record.text for record in batch]),
        full_batches,
        encoder.n_threads,
    ):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        faulty = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)).ravel())
        if faulty.size:
            raise DataError(
                "the model's vector for this record is zero or not finite",
                where=f"record {batch[faulty[0]].id}",
                fix="Try embed.precision float32, or another embed.model.",
            )
        rows = np.array([record.row for record in batch])
        yield VectorBatch(rows, vectors / norms, sum(record.text.is_full for record in batch))


def _tokenized(texts: Iterable[PoolText], encoder: Encoder) -> Iterator[TokenizedRecord]:
    """Yield the tokenized texts, in order."""
    stream, row = iter(texts), 0
    while chunk := list(islice(stream, TOKENIZED_AT_ONCE)):
        tokenized = encoder.tokenize([record.text for record in chunk])
        for record, text in zip(chunk, tokenized, strict=True):
            yield TokenizedRecord(row, record.id, text)
            row += 1
