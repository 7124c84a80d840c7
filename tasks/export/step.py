"""Write the files that annotators and trainers take."""

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.export.lines import Record, alpaca_lines, chat_lines, csv_lines
from tasks.lib.core.errors import CheckFailed
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows, read_batches, read_table, write_table

BATCH_ROWS = 8192  # of the selection in memory at a time


class Format(StrEnum):
    """A file that can be exported."""

    ALPACA = "alpaca"
    CHAT = "chat"
    CSV = "csv"
    PARQUET = "parquet"


FILE_NAMES = {
    Format.ALPACA: "selection.alpaca.jsonl",
    Format.CHAT: "selection.chat.jsonl",
    Format.CSV: "selection.csv",
    Format.PARQUET: "selection.parquet",
}

LINES = {Format.ALPACA: alpaca_lines, Format.CHAT: chat_lines, Format.CSV: csv_lines}
"""How each text format is written; Parquet is the table itself."""


def _without_repeats(formats: list[Format]) -> list[Format]:
    if len(set(formats)) < len(formats):
        raise PydanticCustomError("repeats", "each format can be named once")
    return formats


class Export(Params):
    """The section export of params.yaml."""

    formats: Annotated[
        list[Annotated[Format, Field(strict=False)]],
        Field(min_length=1),
        AfterValidator(_without_repeats),
    ]


def check(values: Mapping[str, Any]) -> Export:
    """The section export, checked.

    Raises:
        ParamError: No format is named, or one is unknown or named twice.
    """
    return load_section(values, "export", Export)


def export(records: Iterable[Record], file_format: Format) -> Iterator[str]:
    """The lines of one text file, records in the order they come; texts are as they were.

    Raises:
        KeyError: The format is not one of text.
    """
    return LINES[file_format](records)


def work(stage: Stage) -> None:
    """Read the validated selection; write it in every format that is asked for."""
    params = check(stage.values)
    _refuse_unless_valid(stage.dep("validate/result.json"))
    selected = stage.dep("llm_select/selected.parquet")
    folder = stage.out("data/export")
    folder.mkdir()
    for file_format in params.formats:
        path = folder / FILE_NAMES[file_format]
        if file_format is Format.PARQUET:
            write_table(path, read_table(selected, SELECTED), SELECTED)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(export(_records(selected), file_format))
    names = ", ".join(FILE_NAMES[file_format] for file_format in params.formats)
    log.info("export: %s records in %s", f"{count_rows(selected, SELECTED):,}", names)


def _records(path: Path) -> Iterator[Record]:
    """The rows of a selection, in their order."""
    for batch in read_batches(path, SELECTED, SELECTED.names, BATCH_ROWS):
        yield from batch.to_pylist()


def _refuse_unless_valid(result: Path) -> None:
    """Stop unless `validate` was content.

    Raises:
        CheckFailed: It was not, or the file does not tell.
    """
    try:
        success = json.loads(result.read_text(encoding="utf-8"))["success"]
    except (ValueError, LookupError, TypeError):
        success = None
    if success is not True:
        raise CheckFailed(
            f"expected a validated selection, and success is {json.dumps(success)}",
            where=str(result),
            fix="Run `dvc repro validate`, and mend what it names.",
        )
