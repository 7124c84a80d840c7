"""Write the selection in formats for trainers and annotators.

To add a format, write a function that takes the paths of the selection and of the new file, and add
it to `FORMATS`. For a text format, a function that yields the lines is enough.

Every format includes a record's context (system prompt, earlier turns, tools) and the pool's own
columns. JSON Lines files contain one record per line. CSV is for spreadsheets, which run a cell
that looks like a formula and rewrite a cell that looks like a number. An apostrophe before these
cells prevents this; remove it to restore the text.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from tasks.lib.core.records import LATER_TURNS, read_turns, record_text
from tasks.lib.core.schemas import POOL, SELECTED
from tasks.lib.core.shown_text import context_text
from tasks.lib.core.tables import read_batches, read_table, write_table

Record: TypeAlias = Mapping[str, Any]
"""One row of `tasks.lib.core.schemas.SELECTED`."""

HALF_PAIRS = "backslashreplace"
"""Write lone surrogates, which a pool column may contain, as JSON escapes."""
BATCH_ROWS = 8192  # of the selection in memory at a time
PROVENANCE_FIELDS = ("source", *(name for name in SELECTED.names if name not in POOL.names))
CSV_COLUMNS = (
    *("id", "context", "instruction", "input", "output"),
    *("prompt", "rank", "cluster", "method", "source"),
)
POOL_PREFIX = "pool."  # for the pool's own columns in CSV, which may have the same names as ours

# Texts that start like a formula, as listed by OWASP, or with a full-width sign from East Asian
# keyboards; then texts that a spreadsheet turns into numbers: a sixteen-digit id loses its last
# digit, and 12e34567890123456 becomes 0. A text that starts with an apostrophe gets another one,
# so that every cell can be restored.
_MISREAD = re.compile(r"[=+\-@\t\r\n＝＋－＠']|\d[\d.,]*(?:e\d+)?\Z", re.IGNORECASE)

# JSON allows these in a string, and str.splitlines breaks a line at each of them.
_LINE_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


class ExportFormat(NamedTuple):
    """A format that can be exported.

    Attributes:
        file_name: Name of the exported file.
        write: Reads the selection at the first path, and writes the file at the second.
    """

    file_name: str
    write: Callable[[Path, Path], None]


def alpaca_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one JSON object for each record, with the field names of Stanford Alpaca.

    A missing output is empty. The context is stored under the names that trainers expect:
    ``system``, ``tools``, and ``history`` with pairs of a question and its answer. Earlier turns
    that do not form pairs are stored in ``turns`` instead.
    """
    for record in records:
        fields = {name: record[name] or "" for name in ("instruction", "input", "output")}
        context = {**_present(record, "system"), **_history(record), **_tools(record)}
        provenance = {**_provenance(record), "metadata": json.loads(record["extra"])}
        yield _json_line({"id": record["id"], **fields, **context, **provenance})


def chat_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one JSON object for each record, as a list of messages for chat trainers.

    The system prompt and the earlier turns come first, then a user message with the instruction and
    input. An output becomes an assistant message.
    """
    for record in records:
        user = record_text(record["instruction"], record["input"])
        messages = [
            *({"role": "system", "content": text} for text in _present(record, "system").values()),
            *read_turns(record["turns"]),
            {"role": "user", "content": user},
        ]
        if record["output"]:
            messages.append({"role": "assistant", "content": record["output"]})
        yield _json_line(
            {
                "id": record["id"],
                "messages": messages,
                **_tools(record),
                "provenance": _provenance(record),
                "metadata": json.loads(record["extra"]),
            }
        )


def csv_lines(records: Iterable[Record], pool_columns: Sequence[str] = ()) -> Iterator[str]:
    """Yield a header, then one row for each record, with an empty output to fill in.

    The text starts with a byte order mark, since Excel otherwise assumes Windows-1252. Existing
    outputs are excluded, since annotators would copy them.

    Args:
        records: The selection.
        pool_columns: The pool's own columns to add, each after `POOL_PREFIX`.
    """
    yield "\ufeff" + _csv_line([*CSV_COLUMNS, *(POOL_PREFIX + name for name in pool_columns)])
    for record in records:
        context = context_text(*(record[name] for name in ("system", "turns", "tools")))
        cells = {**record, "context": context, "output": ""}
        extra = json.loads(record["extra"]) if pool_columns else {}
        own = [_plain_cell(extra.get(name)) for name in pool_columns]
        yield _csv_line([*(cells[name] for name in CSV_COLUMNS), *own])


def safe_cell(text: str) -> str:
    """Return the text, with an apostrophe before it if a spreadsheet would misread it."""
    return f"'{text}" if _MISREAD.match(text) else text


def pool_columns(records: Iterable[Record]) -> list[str]:
    """Return the pool's own columns that occur in any of the records, sorted by name.

    Turns after the instruction are excluded, since annotators would copy the answers in them.
    """
    names = {name for record in records for name in json.loads(record["extra"])}
    return sorted(names - {LATER_TURNS})


def _plain_cell(value: object) -> str | int | float:
    """Return text and numbers unchanged, null as empty text, and any other value as JSON."""
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def _present(record: Record, name: str) -> dict[str, str]:
    return {name: record[name]} if record[name] else {}


def _tools(record: Record) -> dict[str, Any]:
    return {"tools": json.loads(record["tools"])} if record["tools"] else {}


def _history(record: Record) -> dict[str, Any]:
    turns = read_turns(record["turns"])
    if not turns:
        return {}
    asked, answered = turns[::2], turns[1::2]
    pair = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    if [{**turn, "content": ""} for turn in turns] != pair * len(answered):
        return {"turns": turns}
    pairs = zip(asked, answered, strict=True)
    return {"history": [[ask["content"], answer["content"]] for ask, answer in pairs]}


def _csv_line(cells: Iterable[str | int | float]) -> str:
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
        with target.open("w", encoding="utf-8", errors=HALF_PAIRS, newline="") as file:
            file.writelines(to_lines(_records(selected)))

    return ExportFormat(file_name, write)


def _write_csv(selected: Path, target: Path) -> None:
    columns = pool_columns(_records(selected))
    with target.open("w", encoding="utf-8", errors=HALF_PAIRS, newline="") as file:
        file.writelines(csv_lines(_records(selected), columns))


def _write_parquet(selected: Path, target: Path) -> None:
    write_table(target, read_table(selected, SELECTED), SELECTED)


FORMATS = {
    "alpaca": _text_format("selection.alpaca.jsonl", alpaca_lines),
    "chat": _text_format("selection.chat.jsonl", chat_lines),
    "csv": ExportFormat("selection.csv", _write_csv),
    "parquet": ExportFormat("selection.parquet", _write_parquet),
}
"""The formats by their names in ``export.formats``."""
