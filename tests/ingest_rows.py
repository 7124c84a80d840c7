"""Rows classified as ingest does, in one call."""

from tasks.ingest.classify import Ingest, KeptRow, classify_rows

SECTION = {
    "source": "pool.jsonl",
    "columns": {},
    "turn": "last",
    "exclude": {},
    "exclude_file": "none.jsonl",
    "decontaminate": "none.jsonl",
    "max_field_chars": 1000,
    "max_dropped": 0.05,
}
NAMED = {"annotated": "none.jsonl", "targets": "none.jsonl"}


def results(rows, **changes):
    """Return the result of each row; they are numbered from 1."""
    params = Ingest.model_validate({**SECTION, **changes})
    return list(classify_rows(enumerate(rows, start=1), params, "pool.jsonl"))


def record(row, **changes):
    (kept,) = results([row], **changes)
    assert isinstance(kept, KeptRow), kept
    return kept.record


def reasons(rows, **changes):
    """Return the reason of each dropped row, and None for a kept one."""
    return [getattr(result, "reason", None) for result in results(rows, **changes)]


def parts(row, **changes):
    return record(row, **changes)[1:4]
