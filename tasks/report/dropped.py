"""The funnel from the source to the selection, and examples of what was dropped on the way."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.records import record_text
from tasks.lib.core.wording import truncate
from tasks.lib.documents.labels import FUNNEL
from tasks.lib.documents.validation import Funnel
from tasks.report.inputs import ReportInputs

STEPS = {"rows": (), "pool": ("excluded", "faulty", "repeated"), "unique": ("duplicates",)}
"""The counts that are left after each step, and those that were dropped before it."""
MAX_CHARS = 400
REASONS = {
    "excluded": FUNNEL["excluded"],
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
    "held_out": "the same as a record of ingest.decontaminate, or nearly",
    "near": "nearly the same as another record",
    "identical": "the same but for case, Unicode forms or spaces",
}


def funnel(counts: Funnel) -> list[dict[str, Any]]:
    """Return the steps in order, each with its percentage of the rows and what was dropped."""
    n = counts.model_dump()
    return [
        {
            "count": n[name],
            "label": FUNNEL.get(name, "records"),
            "percent": round(100 * n[name] / max(counts.rows, 1), 2),
            "dropped": [(n[drop], FUNNEL[drop]) for drop in drops if n[drop]],
        }
        for name, drops in {**STEPS, "selected": ()}.items()
    ]


def faulty_rows(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return the number of rows and the first `n` for each reason, the most frequent first."""
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
    """Return the number of records and both texts of the first `n` for each reason."""
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
    places = pc.index_in(pa.array([row["id"], row["of_id"]]), value_set=inputs.originals["id"])
    dropped, kept = (
        truncate(record_text(record["instruction"], record["input"]), MAX_CHARS)
        for record in inputs.originals.take(places).to_pylist()
    )
    return {"dropped": dropped, "kept": kept, "similarity": row["similarity"]}
