"""Check each output against its schema, so that the right file is blamed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa

from tasks.audit.differences import Difference
from tasks.audit.dvc_lock import Lock
from tasks.lib.core import schemas
from tasks.lib.core.errors import REMAKE, DataError
from tasks.lib.core.records import TEXT_COLUMNS, record_id
from tasks.lib.core.tables import read_batches
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.document import Document, Line, read_lines
from tasks.lib.documents.judgement import Judgement
from tasks.lib.documents.metrics import BaselineUsage, Metrics
from tasks.lib.documents.receipt import Receipt
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.lib.unique import read_vectors

BATCH_ROWS = 8192
JSON_COLUMNS = {"extra": dict, "turns": list, "tools": list}
"""Columns of the pool that contain JSON text, and the type of its value."""


def _table(schema: pa.Schema) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        for batch in read_batches(path, schema, schema.names, BATCH_ROWS):
            try:
                batch.validate(full=True)
            except pa.ArrowInvalid as error:
                raise _damaged(path, str(error)) from None
            if "extra" in schema.names:
                _check_records(path, batch)

    return check


def _check_records(path: Path, batch: pa.RecordBatch) -> None:
    """Check that the JSON columns can be read, and that the ids match the texts."""
    for row in batch.select(["id", *TEXT_COLUMNS, "extra"]).to_pylist():
        for name, kind in JSON_COLUMNS.items():
            if not _is_json(row[name], kind) and (row[name] or name == "extra"):
                raise _damaged(path, f"{name} of record {row['id']} is not a JSON {kind.__name__}")
        if row["id"] != record_id(*(row[name] for name in TEXT_COLUMNS)):
            raise _damaged(path, f"the id {row['id']} does not match its record's texts")


def _is_json(text: str | None, kind: type) -> bool:
    try:
        return isinstance(json.loads(text or ""), kind)
    except (ValueError, RecursionError):
        return False


def _document(model: type[Document]) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        model.read(path)

    return check


def _lines(model: type[Line]) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        for _ in read_lines(path, model):
            pass

    return check


def _array(path: Path) -> None:
    read_vectors(path)


def _damaged(path: Path, what: str) -> DataError:
    return DataError(what, where=str(path), fix=REMAKE)


CHECKS: dict[str, Callable[[Path], None]] = {
    "ingest/pool.parquet": _table(schemas.POOL),
    "ingest/dropped.parquet": _table(schemas.INGEST_DROPPED),
    "ingest/annotated.parquet": _table(schemas.ANNOTATED),
    "ingest/targets.parquet": _table(schemas.TARGETS),
    "ingest/held_out.parquet": _table(schemas.HELD_OUT),
    "dedupe/unique.parquet": _table(schemas.UNIQUE),
    "dedupe/dropped.parquet": _table(schemas.DEDUPE_DROPPED),
    "dedupe/known.parquet": _table(schemas.KNOWN),
    "dedupe/near.parquet": _table(schemas.DEDUPE_NEAR),
    "embed/vectors.npy": _array,
    "embed/annotated.npy": _array,
    "embed/targets.npy": _array,
    "cluster/prompts.parquet": _table(schemas.PROMPTS),
    "cluster/clusters.json": _document(Clusters),
    "llm_select/ballots.parquet": _table(schemas.BALLOTS),
    "llm_select/judgements.jsonl": _lines(Judgement),
    "llm_select/usage.json": _document(Usage),
    "choose/selected.parquet": _table(schemas.SELECTED),
    "choose/receipt.jsonl": _lines(Receipt),
    "choose/choice.json": _document(Choice),
    "validate/result.json": _document(ValidationResult),
    "baseline/selections.parquet": _table(schemas.SELECTIONS),
    "baseline/usage.json": _document(BaselineUsage),
    "measure/metrics.json": _document(Metrics),
    "measure/savings.json": _document(Savings),
}
"""The check for each output, by the end of its path."""


def damaged_files(lock: Lock) -> Iterator[Difference]:
    """Yield the outputs that exist but are not in the format that their step writes."""
    for file in lock.files:
        check = CHECKS.get("/".join(PurePosixPath(file.path).parts[-2:]))
        if file.is_out and check and (lock.root / file.path).exists():
            try:
                check(lock.root / file.path)
            except DataError as error:
                where = error.where.replace(str(lock.root / file.path), file.path)
                yield Difference(where, error.what, error.fix)
