"""What did not reach the model: faulty rows and near-duplicates, with examples."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.records import record_text
from tasks.report.inputs import Evidence
from tasks.report.labels import shorten

MAX_CHARS = 400
REASONS = {
    "excluded": "excluded, as params.yaml says",
    "repeated": "the same as an earlier row, word for word",
    "not_json": "no JSON",
    "not_object": "JSON, but no object",
    "bad_encoding": "text in no encoding that was told or found",
    "wrong_cells": "too many cells, or too few",
    "missing_instruction": "without an instruction",
    "blank_instruction": "with a blank instruction",
    "not_text": "an instruction that is no text",
    "nul": "text with a NUL in it",
    "lone_surrogate": "text with half a character in it",
    "too_long": "longer than ingest.max_field_chars",
    "near": "nearly the same as another",
    "identical": "the same but for spelling, case or spaces",
}


def faulty(evidence: Evidence, n: int) -> list[dict[str, Any]]:
    """For each reason, the most frequent first, how many rows and the first few of them."""
    return [
        {
            "reason": REASONS.get(reason, reason.replace("_", " ")),
            "count": count,
            "examples": [
                {"line": row["line"], "detail": shorten(row["detail"], MAX_CHARS)}
                for row in _first(evidence.dropped, reason, n)
            ],
        }
        for reason, count in _reasons(evidence.dropped)
    ]


def duplicates(evidence: Evidence, n: int) -> list[dict[str, Any]]:
    """For each reason how many records, and of the first few both texts."""
    return [
        {
            "reason": REASONS.get(reason, reason),
            "count": count,
            "pairs": [_pair(evidence, row) for row in rows],
        }
        for reason, count in _reasons(evidence.duplicates)
        for rows in [_first(evidence.duplicates, reason, n)]
    ]


def _reasons(dropped: pa.Table) -> list[tuple[str, int]]:
    counts = Counter(str(reason) for reason in dropped["reason"].to_pylist())
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _first(dropped: pa.Table, reason: str, n: int) -> list[dict[str, Any]]:
    is_such = pc.equal(dropped["reason"], pa.scalar(reason))
    rows: list[dict[str, Any]] = dropped.filter(is_such).slice(0, n).to_pylist()
    return rows


def _pair(evidence: Evidence, row: dict[str, Any]) -> dict[str, Any]:
    """A record that was dropped, and the one that stands for it."""
    found = pc.index_in(pa.array([row["id"], row["of_id"]]), value_set=evidence.pool["id"])
    records = evidence.pool.take(found).to_pylist()
    dropped, kept = (
        shorten(record_text(each["instruction"], each["input"]), MAX_CHARS) for each in records
    )
    return {"dropped": dropped, "kept": kept, "similarity": row["similarity"]}
