"""The lines of the text files that trainers and annotators take.

JSON Lines hold one record a line. CSV is for spreadsheets, which run a cell that looks like a
formula and rewrite one that looks like a number: such cells get a leading apostrophe, and are
the text again without it.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import PROVENANCE

Record: TypeAlias = Mapping[str, Any]
"""One row of `tasks.lib.core.schemas.SELECTED`."""

TOLD = ("source", *PROVENANCE, "cluster", "route", "model")
CSV_COLUMNS = (
    *("id", "instruction", "input", "output"),
    *("prompt", "rank", "cluster", "method", "source"),
)

# Formulas as OWASP lists them, the full-width signs of East Asian keyboards among them, then what
# a spreadsheet makes a number of: an id of sixteen digits loses the last, 12e34567890123456 is 0.
# An apostrophe that was there gets another, so that all can be undone.
_MISREAD = re.compile(r"[=+\-@\t\r\n＝＋－＠']|\d[\d.,]*(?:e\d+)?\Z", re.IGNORECASE)

# JSON allows these in a string, and str.splitlines breaks a line at each of them.
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def alpaca_lines(records: Iterable[Record]) -> Iterator[str]:
    """One JSON object a record, as Stanford Alpaca names its fields; a missing output is empty."""
    for record in records:
        fields = {name: record[name] or "" for name in ("instruction", "input", "output")}
        yield _json_line({"id": record["id"], **fields, **_provenance(record)})


def chat_lines(records: Iterable[Record]) -> Iterator[str]:
    """One JSON object a record, as chat trainers read it: who says what, in turn.

    The user says instruction and input; the assistant has a turn where there is an output.
    """
    for record in records:
        user = record_text(record["instruction"], record["input"])
        messages = [{"role": "user", "content": user}]
        if record["output"]:
            messages.append({"role": "assistant", "content": record["output"]})
        provenance = _provenance(record)
        yield _json_line({"id": record["id"], "messages": messages, "provenance": provenance})


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """A header, then one row a record with an empty output to fill in.

    Begins with a byte order mark, without which Excel takes the file for Windows-1252. An
    annotator is not shown an output that exists: it would be copied.
    """
    yield "\ufeff" + _csv_line(CSV_COLUMNS)
    for record in records:
        cells = {**record, "output": ""}
        yield _csv_line([cells[name] for name in CSV_COLUMNS])


def safe_cell(text: str) -> str:
    """The text, after an apostrophe where a spreadsheet would take it for something else."""
    return f"'{text}" if _MISREAD.match(text) else text


def _csv_line(cells: Iterable[str | int]) -> str:
    line = io.StringIO()
    # All texts are quoted, since a bare \r inside of one would otherwise end the row for some.
    writer = csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def _json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_LINE_BREAKS) + "\n"


def _provenance(record: Record) -> dict[str, Any]:
    return {name: record[name] for name in TOLD}
