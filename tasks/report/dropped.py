"""Show the funnel from the source to the selection, with examples of what was dropped."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.format_text import truncate
from tasks.lib.core.records import RecordTexts, record_text
from tasks.lib.documents.labels import FUNNEL
from tasks.lib.documents.validation import Funnel
from tasks.lib.text.meaning import changes
from tasks.lib.text.typography import normalise
from tasks.report.inputs import ReportInputs

STEPS = {"rows": (), "pool": ("excluded", "faulty", "repeated"), "unique": ("duplicates",)}
"""The counts in the funnel, each with the counts of what was dropped just before it."""
MAX_CHARS = 400
MAX_NEAR = 100  # near-duplicates, which only a reader can judge
MAX_CHANGES, MAX_CHANGE_CHARS = 8, 80
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
    "media": "an image, audio or video in the request",
    "nul": "text with a NUL character",
    "lone_surrogate": "text with a lone surrogate (half a character)",
    "too_long": "longer than ingest.max_field_chars",
    "held_out": "the same or nearly the same as a record in ingest.decontaminate",
    "near": "nearly the same as another record",
    "identical": "the same except for typography or spaces",
    "kept": "nearly the same as another record, but kept: dedupe.near is report",
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
    """Return, for each reason, the number of rows and the first `n`, most frequent reason first."""
    return [
        {
            "reason": REASONS.get(reason, reason.replace("_", " ")),
            "count": count,
            "examples": [
                {
                    "place": f"{row['file']}:{row['line']}",
                    "detail": truncate(row["detail"], MAX_CHARS),
                }
                for row in _first(inputs.dropped, reason, n)
            ],
        }
        for reason, count in _reasons(inputs.dropped)
    ]


def duplicates(inputs: ReportInputs, n: int) -> list[dict[str, Any]]:
    """Return, for each reason, the number of duplicates and some pairs of texts.

    The pairs are the first `n` identical records, or the `MAX_NEAR` least similar near-duplicates,
    which are the most doubtful.
    """
    groups = [(reason, count, inputs.duplicates) for reason, count in _reasons(inputs.duplicates)]
    if len(inputs.kept_near):
        groups.append(("kept", len(inputs.kept_near), inputs.kept_near))
    return [
        {
            "reason": REASONS.get(reason, reason),
            "count": count,
            "is_kept": reason == "kept",
            "pairs": [
                _pair(inputs, row)
                for row in (
                    _first(table, reason, n)
                    if reason == DedupeDrop.IDENTICAL
                    else _least_similar(table, reason)
                )
            ],
        }
        for reason, count, table in groups
    ]


def _reasons(dropped: pa.Table) -> list[tuple[str, int]]:
    counts = Counter(str(reason) for reason in dropped["reason"].to_pylist())
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _first(dropped: pa.Table, reason: str, n: int) -> list[dict[str, Any]]:
    has_reason = pc.equal(dropped["reason"], pa.scalar(reason))
    rows: list[dict[str, Any]] = dropped.filter(has_reason).slice(0, n).to_pylist()
    return rows


def _least_similar(near: pa.Table, reason: str) -> list[dict[str, Any]]:
    if reason != "kept":
        near = near.filter(pc.equal(near["reason"], pa.scalar(reason)))
    rows: list[dict[str, Any]] = near.sort_by("similarity").slice(0, MAX_NEAR).to_pylist()
    return rows


def _pair(inputs: ReportInputs, row: dict[str, Any]) -> dict[str, Any]:
    """Return the texts of a record and of the record that it duplicates, and their differences."""
    places = pc.index_in(pa.array([row["id"], row["of_id"]]), value_set=inputs.originals["id"])
    second, first = (
        record_text(*RecordTexts.of(record)) for record in inputs.originals.take(places).to_pylist()
    )
    found = changes(normalise(first), normalise(second))
    return {
        "first": truncate(first, MAX_CHARS),
        "second": truncate(second, MAX_CHARS),
        "similarity": row["similarity"],
        "changes": [
            [truncate(words, MAX_CHANGE_CHARS) for words in change]
            for change in found[:MAX_CHANGES]
        ],
        "n_more": max(0, len(found) - MAX_CHANGES),
    }
