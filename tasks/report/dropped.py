"""What did not reach the model: faulty rows and near-duplicates, with examples."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.records import record_text
from tasks.lib.core.wording import truncate
from tasks.report.inputs import ReportInputs

MAX_CHARS = 400
REASONS = {
    "excluded": "excluded, as params.yaml says",
    "repeated": "the same as an earlier row, word for word",
    "not_json": "not JSON",
    "not_object": "JSON, but not an object",
    "bad_encoding": "text in an unknown encoding",
    "wrong_cells": "too many or too few cells",
    "missing_instruction": "without an instruction",
    "blank_instruction": "with a blank instruction",
    "not_text": "an instruction that is not text",
    "nul": "text with a NUL character",
    "lone_surrogate": "text with half a character",
    "too_long": "longer than ingest.max_field_chars",
    "near": "nearly the same as another record",
    "identical": "the same but for case, Unicode forms or spaces",
}


def faulty_rows(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return for each reason, the most frequent first, the number of rows and the first `n`."""
    return [
        {
            "reason": REASONS.get(reason, reason.replace("_", " ")),
            "count": count,
            "examples": [
                {"line": row["line"], "detail": truncate(row["detail"], MAX_CHARS)}
                for row in _first(inputs.dropped, reason, n)
            ],
        }
        for reason, count in _reasons(inputs.dropped)
    ]


def duplicates(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return for each reason the number of records, and both texts of the first `n`."""
    return [
        {
            "reason": REASONS.get(reason, reason),
            "count": count,
            "pairs": [_pair(inputs, row) for row in _first(inputs.duplicates, reason, n)],
        }
        for reason, count in _reasons(inputs.duplicates)
    ]


def _reasons(dropped: pa.Table) -> list[tuple[str, int]]:
    counts = Counter(str(reason) for reason in dropped["reason"].to_pylist())
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _first(dropped: pa.Table, reason: str, n: int) -> list[dict[str, Any]]:
    has_reason = pc.equal(dropped["reason"], pa.scalar(reason))
    rows: list[dict[str, Any]] = dropped.filter(has_reason).slice(0, n).to_pylist()
    return rows


def _pair(inputs: ReportInputs, row: dict[str, Any]) -> dict[str, Any]:
    """Return the texts of a dropped record and of the one that was kept."""
    places = pc.index_in(pa.array([row["id"], row["of_id"]]), value_set=inputs.pool["id"])
    dropped, kept = (
        truncate(record_text(record["instruction"], record["input"]), MAX_CHARS)
        for record in inputs.pool.take(places).to_pylist()
    )
    return {"dropped": dropped, "kept": kept, "similarity": row["similarity"]}
