"""Turn each unique record into a unit vector."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.errors import DataError
from tasks.core.events import log
from tasks.core.params import Params, load_section
from tasks.core.records import record_text
from tasks.core.schemas import POOL, UNIQUE
from tasks.core.stage import Stage, run_step
from tasks.core.tables import read_table
from tasks.encoders.precision import Precision
from tasks.encoders.source import check_name, find_model
from tasks.encoders.vector_file import VectorFile


class Embed(Params):
    """The section embed of params.yaml."""

    model: Annotated[str, Field(min_length=1)]
    precision: Annotated[Precision, Field(strict=False)]  # YAML has strings only
    batch_size: Annotated[int, Field(ge=1, le=4096)]
    max_tokens: Annotated[int, Field(ge=8)]


class Entry(NamedTuple):
    """A record's id and the text that stands for it."""

    id: str
    text: str


class Block(NamedTuple):
    """Some of the vectors.

    Attributes:
        rows: int64, shape (n,); which entries they belong to.
        vectors: float32, shape (n, d), unit norm.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Encoder(Protocol):
    """A model that gives numbers for texts."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector a text, of any length: shape (n texts, d)."""
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


def embed(
    entries: Sequence[Entry], n_tokens: Sequence[int], encoder: Encoder, batch_size: int
) -> Iterator[Block]:
    """The unit vectors of all entries, in batches of like `n_tokens`, so that little is padding.

    Each row comes once; the longest texts come first, so that too large a batch fails at once.

    Raises:
        DataError: A vector is zero or not finite; the record is named.
    """
    order = np.argsort(-np.asarray(n_tokens), kind="stable")
    for start in range(0, len(entries), batch_size):
        rows = order[start : start + batch_size]
        vectors = encoder.encode([entries[row].text for row in rows])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        faulty = rows[~(np.isfinite(norms) & (norms > 0)).ravel()]
        if faulty.size:
            raise DataError(
                "the model gives no direction for this record",
                where=f"record {entries[faulty[0]].id}",
                fix="Try embed.precision float32, or another embed.model.",
            )
        yield Block(rows, vectors / norms)


def work(stage: Stage) -> None:
    """Write one vector for each unique record, in their order, and tell how it was done."""
    params = check(stage.values)
    entries = _read(stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet"))
    source = find_model(params.model)
    from tasks.encoders.sentence import SentenceEncoder  # noqa: PLC0415  torch takes seconds

    encoder = SentenceEncoder(source, params.precision, params.max_tokens)
    if encoder.max_tokens < params.max_tokens:
        log.info("embed: %s reads %s tokens of a text", params.model, encoder.max_tokens)
    n_tokens = encoder.n_tokens([entry.text for entry in entries])
    n_read = np.minimum(n_tokens, encoder.max_tokens)
    progress = stage.progress(int(n_read.sum()), "tokens")  # the longest texts come first
    with VectorFile(stage.out("embed/vectors.npy"), len(entries), encoder.dim) as file:
        for rows, vectors in embed(entries, n_tokens, encoder, params.batch_size):
            file.put(rows, vectors)
            progress.advance(int(n_read[rows].sum()))
    log.info(
        "embed: %s vectors of %s dimensions by %s, %s on %s; %s texts were longer than %s tokens",
        f"{len(entries):,}",
        encoder.dim,
        params.model,
        encoder.precision,
        encoder.device,
        f"{sum(n > encoder.max_tokens for n in n_tokens):,}",
        encoder.max_tokens,
    )


def _read(pool_file: Path, unique_file: Path) -> list[Entry]:
    """The unique records, in their order."""
    ids: list[Any] = read_table(unique_file, UNIQUE)["id"].to_pylist()
    pool = read_table(pool_file, POOL, ["id", "instruction", "input"])
    rows: Iterator[Any] = zip(*(column.to_pylist() for column in pool.columns), strict=True)
    wanted = set(ids)
    texts = {id_: record_text(*fields) for id_, *fields in rows if id_ in wanted}
    if not ids or len(texts) < len(ids):
        raise DataError(
            f"{len(ids)} unique records, of which the pool has {len(texts)}",
            where=str(unique_file),
            fix="Run `dvc repro dedupe` to make it anew.",
        )
    return [Entry(id_, texts[id_]) for id_ in ids]


if __name__ == "__main__":
    run_step("embed", work)
