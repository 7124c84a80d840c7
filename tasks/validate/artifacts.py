"""Define the outputs that `validate` checks, and the limits that they must meet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.core.errors import REMAKE, DataError
from tasks.lib.core.records import TEXT_COLUMNS, record_id
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.usage import Usage
from tasks.lib.unique import read_vectors

Norms = npt.NDArray[np.float64]

METHODS = ("llm", "offline", "fallback")
BLOCK_ROWS = 16_384  # of vectors in memory at a time


@dataclass(frozen=True)
class Artifacts:
    """The outputs of every stage before validate.

    Attributes:
        n_rows: The number of rows in the source, as counted by ingest.
        pool: The pool as returned by `summarise`.
        annotated: The records in choose.annotated.
        held_out: The records in ingest.decontaminate.
        known: The unique records that repeat an annotated one.
        norms: float64, shape (n,); the Euclidean norm of each row of vectors.npy.
    """

    n_rows: int
    pool: pa.Table
    annotated: pa.Table
    held_out: pa.Table
    ingest_dropped: pa.Table
    unique: pa.Table
    dedupe_dropped: pa.Table
    known: pa.Table
    norms: Norms
    prompts: pa.Table
    clusters: Clusters
    ballots: pa.Table
    selected: pa.Table
    choice: Choice
    usage: Usage


@dataclass(frozen=True)
class Limits:
    """The limits of a run: parameters, and the number of records that must be selected.

    Attributes:
        n_selected: The number of records to select: the largest budget, or fewer if the spending
            cap left too few judged records.
        max_near_rate: The maximum share of near-duplicates; None if they are kept on purpose.
        is_judge_strict: Whether a fault in the judge fails the run instead of causing a warning.
    """

    n_selected: int
    near_threshold: float
    max_near_rate: float | None
    max_fallback_rate: float
    max_position_bias: float
    max_attention_failures: float
    min_agreement: float
    is_judge_strict: bool
    max_chars: int


def summarise(schema: pa.Schema, records: Iterable[pa.RecordBatch]) -> pa.Table:
    """Reduce a pool to what the checks need, dropping its texts.

    The ``id`` column is unchanged. In every other column of `schema`, values become True and nulls
    stay null. The new ``recomputed_id`` column contains the id computed from the record's text.
    """
    kinds = [(name, pa.string() if name == "id" else pa.bool_()) for name in schema.names]
    summary = pa.schema([*kinds, ("recomputed_id", pa.string())])
    return pa.Table.from_batches([_summarise_batch(batch, summary) for batch in records], summary)


def _summarise_batch(batch: pa.RecordBatch, summary: pa.Schema) -> pa.RecordBatch:
    def presence(name: str) -> list[Any]:
        return [is_valid or None for is_valid in batch[name].is_valid().to_pylist()]

    names = batch.schema.names
    columns: list[Any] = [batch["id"] if name == "id" else presence(name) for name in names]
    texts = zip(*(batch[name].to_pylist() for name in TEXT_COLUMNS), strict=True)
    columns.append([record_id(*(text or "" for text in row)) for row in texts])
    arrays = [pa.array(column, f.type) for column, f in zip(columns, summary, strict=True)]
    return pa.record_batch(arrays, schema=summary)


def source_rows(pool: Path) -> int:
    """Read the number of rows in the source, which ingest wrote into the pool's footer.

    Raises:
        DataError: The footer does not contain this number.
    """
    n_rows = (pq.read_metadata(pool).metadata or {}).get(b"n_rows", b"")
    if not n_rows.isdigit():
        raise DataError("the footer lacks n_rows", where=str(pool), fix=REMAKE)
    return int(n_rows)


def row_norms(path: Path) -> Norms:
    """Return the norms of the rows of vectors.npy: float64, shape (n,).

    If a row is not finite, neither is its norm. The file is read in blocks to save memory.

    Raises:
        DataError: The file is not a float32 matrix.
    """
    vectors = read_vectors(path)
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS].astype(np.float64)
        norms[start : start + len(block)] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return norms
