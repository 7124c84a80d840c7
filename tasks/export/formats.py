"""The formats of the exported files, for trainers and annotators.

To add a format, write a function that takes the path of the selection and that of the new file,
and enter it in `FORMATS`; for a text format, write one that yields its lines. No other code
changes.

JSON Lines hold one record a line. CSV is for spreadsheets, which run a cell that looks like a
formula and rewrite one that looks like a number. Such cells get a leading apostrophe; without it
they are the text again.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import POOL, SELECTED
from tasks.lib.core.tables import read_batches, read_table, write_table

Record: TypeAlias = Mapping[str, Any]
"""One row of `tasks.lib.core.schemas.SELECTED`."""

BATCH_ROWS = 8192  # of the selection in memory at a time
PROVENANCE_FIELDS = ("source", *(name for name in SELECTED.names if name not in POOL.names))
CSV_COLUMNS = (
    *("id", "instruction", "input", "output"),
    *("prompt", "rank", "cluster", "method", "source"),
)

# Formulas as OWASP lists them, with the full-width signs of East Asian keyboards. Then what a
# spreadsheet turns into a number: an id of sixteen digits loses the last one, and
# 12e34567890123456 becomes 0. Texts that start with an apostrophe get another, so that every cell
# can be restored.
_MISREAD = re.compile(r"[=+\-@\t\r\n＝＋－＠']|\d[\d.,]*(?:e\d+)?\Z", re.IGNORECASE)

# JSON allows these in a string, and str.splitlines breaks a line at each of them.
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


class ExportFormat(NamedTuple):
    """A format that can be exported.

    Attributes:
        file_name: Of the exported file.
        write: Reads the selection at the first path, and writes the file at the second.
    """

    file_name: str
    write: Callable[[Path, Path], None]


def alpaca_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one JSON object for each record, with Stanford Alpaca's names for its fields.

    A missing output is empty.
    """
    for record in records:
        fields = {name: record[name] or "" for name in ("instruction", "input", "output")}
        yield _json_line({"id": record["id"], **fields, **_provenance(record)})


def chat_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one JSON object for each record, with its turns as chat trainers read them.

    The user says instruction and input; the assistant has a turn if there is an output.
    """
    for record in records:
        user = record_text(record["instruction"], record["input"])
        messages = [{"role": "user", "content": user}]
        if record["output"]:
            messages.append({"role": "assistant", "content": record["output"]})
        provenance = _provenance(record)
        yield _json_line({"id": record["id"], "messages": messages, "provenance": provenance})


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield a header, then one row for each record, with an empty output to fill in.

    The text starts with a byte order mark, without which Excel assumes Windows-1252. Annotators do
    not see an existing output, since they would copy it.
    """
    yield "\ufeff" + _csv_line(CSV_COLUMNS)
    for record in records:
        cells = {**record, "output": ""}
        yield _csv_line([cells[name] for name in CSV_COLUMNS])


def safe_cell(text: str) -> str:
    """Return the text, after an apostrophe if a spreadsheet would misread it."""
    return f"'{text}" if _MISREAD.match(text) else text


def _csv_line(cells: Iterable[str | int]) -> str:
    line = io.StringIO()
    # All texts are quoted; otherwise some readers end the row at a bare \r in a text.
    writer = csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def _json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_LINE_BREAKS) + "\n"


def _provenance(record: Record) -> dict[str, Any]:
    return {name: record[name] for name in PROVENANCE_FIELDS}


def _records(selected: Path) -> Iterator[Record]:
    for batch in read_batches(selected, SELECTED, SELECTED.names, BATCH_ROWS):
        yield from batch.to_pylist()


def _text_format(
    file_name: str, to_lines: Callable[[Iterable[Record]], Iterator[str]]
) -> ExportFormat:
    def write(selected: Path, target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            file.writelines(to_lines(_records(selected)))

    return ExportFormat(file_name, write)


def _write_parquet(selected: Path, target: Path) -> None:
    write_table(target, read_table(selected, SELECTED), SELECTED)


FORMATS = {
    "alpaca": _text_format("selection.alpaca.jsonl", alpaca_lines),
    "chat": _text_format("selection.chat.jsonl", chat_lines),
    "csv": _text_format("selection.csv", csv_lines),
    "parquet": ExportFormat("selection.parquet", _write_parquet),
}
"""The formats by their names in ``export.formats``."""
