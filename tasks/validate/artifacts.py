"""What the stages left behind, as `validate` reads it, and the limits it holds that against."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.core.errors import DataError
from tasks.lib.core.json_files import REMAKE
from tasks.lib.core.records import record_id
from tasks.lib.unique import read_vectors

Norms = npt.NDArray[np.float64]

METHODS = ("llm", "rubric", "fallback")
BLOCK_ROWS = 16_384  # of vectors in memory at a time


@dataclass(frozen=True)
class Artifacts:
    """The outputs of every stage before this one.

    Attributes:
        n_rows: Rows of the source, as ingest counted them.
        pool: The `outline` of the pool.
        norms: float64, shape (n,); the Euclidean norm of each row of vectors.npy.
        clusters: clusters.json.
        usage: usage.json.
    """

    n_rows: int
    pool: pa.Table
    ingest_dropped: pa.Table
    unique: pa.Table
    dedupe_dropped: pa.Table
    norms: Norms
    prompts: pa.Table
    clusters: Mapping[str, Any]
    picks: pa.Table
    selected: pa.Table
    usage: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a run is held to: parameters, and how many records there are to be.

    Attributes:
        n_selected: The largest budget; of a partial selection, as many as it says it has.
        budgets: Ascending; each selection is the beginning of the next.
        is_partial: The money cap was reached, so rounds may lack prompts.
        is_judge_strict: A fault of the judge's fails the run; else it is a warning.
    """

    n_selected: int
    budgets: tuple[int, ...]
    is_partial: bool
    near_threshold: float
    max_near_rate: float
    max_fallback_rate: float
    max_position_bias: float
    max_attention_failures: float
    min_agreement: float
    is_judge_strict: bool
    max_chars: int


def outline(schema: pa.Schema, records: Iterable[pa.RecordBatch]) -> pa.Table:
    """What is checked of a pool, without its texts.

    Of the ids the ids; of any other column of `schema` True, or null where there is no value; and
    ``recomputed_id``, the id that the record's text gives.
    """
    kinds = [(name, pa.string() if name == "id" else pa.bool_()) for name in schema.names]
    made = pa.schema([*kinds, ("recomputed_id", pa.string())])
    return pa.Table.from_batches([_outline(batch, made) for batch in records], made)


def _outline(batch: pa.RecordBatch, made: pa.Schema) -> pa.RecordBatch:
    def there(name: str) -> list[Any]:
        return [is_valid or None for is_valid in batch[name].is_valid().to_pylist()]

    names = batch.schema.names
    columns: list[Any] = [batch["id"] if name == "id" else there(name) for name in names]
    texts = zip(batch["instruction"].to_pylist(), batch["input"].to_pylist(), strict=True)
    columns.append([record_id(instruction or "", text or "") for instruction, text in texts])
    arrays = [pa.array(column, f.type) for column, f in zip(columns, made, strict=True)]
    return pa.record_batch(arrays, schema=made)


def source_rows(pool: Path) -> int:
    """The rows of the source, which ingest wrote into the footer of the pool.

    Raises:
        DataError: The footer does not tell.
    """
    told = (pq.read_metadata(pool).metadata or {}).get(b"n_rows", b"")
    if not told.isdigit():
        raise DataError("the footer lacks n_rows", where=str(pool), fix=REMAKE)
    return int(told)


def row_norms(path: Path) -> Norms:
    """Return the norm of each row of vectors.npy, read in blocks so that memory stays small.

    Returns:
        float64, shape (n,); not finite where a row is not.

    Raises:
        DataError: The file is not a float32 matrix.
    """
    vectors = read_vectors(path)
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS].astype(np.float64)
        norms[start : start + len(block)] = np.sqrt(np.einsum("ij,ij->i", block, block))
    return norms
