"""Turn each unique record into a unit vector."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.errors import DataError
from tasks.core.events import log
from tasks.core.params import Params, load_section
from tasks.core.stage import Stage, run_step
from tasks.encoders.batches import Item, Reading, batches
from tasks.encoders.parallel import as_done
from tasks.encoders.pool_texts import Entry, PoolTexts
from tasks.encoders.precision import Precision
from tasks.encoders.source import check_name, find_model
from tasks.encoders.store import Slots, VectorStore, text_key
from tasks.encoders.vector_file import write_vectors

READ_AT_ONCE = 1_000  # texts
WRITTEN_AT_ONCE = 8_192  # vectors
N_PROBES = 4  # stored vectors that are computed again


class Embed(Params):
    """The section embed of params.yaml."""

    model: Annotated[str, Field(min_length=1)]
    precision: Annotated[Precision, Field(strict=False)]  # YAML has strings only
    batch_tokens: Annotated[int, Field(ge=8, le=1_000_000)]
    max_tokens: Annotated[int, Field(ge=8)]


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
    """

    n_threads: int

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


def check(values: Mapping[str, Any]) -> Embed:
    """The section embed.

    Raises:
        ParamError: A key is unknown, missing or out of range, or the model is a path that does
            not exist.
    """
    params = load_section(values, "embed", Embed)
    check_name(params.model)
    return params


def embed(entries: Iterable[Entry], encoder: Encoder) -> Iterator[Block]:
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


def embed_missing(texts: PoolTexts, encoder: Encoder, store: VectorStore, stage: Stage) -> Slots:
    """See that the store has the vectors of all texts; the slot of each, int64, shape (n,).

    What is missing is embedded in the order of its keys, which is as good as shuffled: so the time
    that is left can be told from the number of texts.
    """
    entries = texts.of(np.arange(len(texts)))
    keys = np.fromiter((text_key(entry.text) for entry in entries), "S16", len(texts))
    keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    slots = store.find(keys)
    if not _agrees(store, slots, texts, first, encoder):
        log.warning(
            "embed: this machine computes other vectors than those in %s; all are made anew",
            store.folder,
        )
        store.clear()
        slots[:] = -1
    missing = np.flatnonzero(slots < 0)
    log.info("embed: %s texts, %s of them new", f"{len(texts):,}", f"{missing.size:,}")
    progress, n_full = stage.progress(missing.size, "texts"), 0
    for block in embed(texts.of(first[missing]), encoder):
        which = missing[block.rows]
        slots[which] = store.put(keys[which], block.vectors)
        n_full += block.n_full
        progress.advance(len(block.rows))
    if n_full:
        log.info("embed: of %s new texts the end was not read; see embed.max_tokens", f"{n_full:,}")
    return slots[inverse]


def work(stage: Stage) -> None:
    """Write one vector for each unique record, in their order, and tell how it was done."""
    params = check(stage.values)
    texts = PoolTexts(stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet"))
    source = find_model(params.model)
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415  torch takes seconds

    encoder = SentenceEncoder(source, params.precision, params.max_tokens, params.batch_tokens)
    if encoder.max_tokens < params.max_tokens:
        log.info("embed: %s reads %s tokens of a text", params.model, encoder.max_tokens)
    with VectorStore(stage.state / "vectors", encoder.identity, encoder.dim) as store:
        slots = embed_missing(texts, encoder, store, stage)
        starts = range(0, len(slots), WRITTEN_AT_ONCE)
        blocks = (store.read(slots[start : start + WRITTEN_AT_ONCE]) for start in starts)
        write_vectors(stage.out("embed/vectors.npy"), len(slots), encoder.dim, blocks)
    log.info(
        "embed: %s vectors of %s dimensions by %s, %s on %s",
        f"{len(texts):,}",
        encoder.dim,
        params.model,
        encoder.precision,
        encoder.device,
    )


def _items(entries: Iterable[Entry], encoder: Encoder) -> Iterator[Item]:
    """What the model reads of each entry, in order."""
    stream, row = iter(entries), 0
    while some := list(islice(stream, READ_AT_ONCE)):
        for entry, reading in zip(some, encoder.read([e.text for e in some]), strict=True):
            yield Item(row, entry.id, reading)
            row += 1


def _agrees(
    store: VectorStore, slots: Slots, texts: PoolTexts, first: NDArray[np.int64], encoder: Encoder
) -> bool:
    """Whether some stored vectors, computed again, have the same bytes."""
    known = np.flatnonzero(slots >= 0)
    probes = known[:: max(1, known.size // N_PROBES)][:N_PROBES]
    return all(
        np.array_equal(block.vectors, store.read(slots[probes[block.rows]]))
        for block in embed(texts.of(first[probes]), encoder)
    )


if __name__ == "__main__":
    run_step("embed", work)
