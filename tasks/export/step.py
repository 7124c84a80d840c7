"""Write the files that annotators and trainers use."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.export.formats import FORMATS
from tasks.lib.core.errors import CheckFailed, nearest
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows


def _check_known(name: str) -> str:
    if name not in FORMATS:
        known = f"{', '.join(FORMATS)}{nearest(name, FORMATS)}"
        raise PydanticCustomError("format", "expected one of {known}", {"known": known})
    return name


def _check_unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise PydanticCustomError("duplicates", "expected each format only once")
    return names


class Export(Params):
    """The export section of params.yaml."""

    formats: Annotated[
        list[Annotated[str, AfterValidator(_check_known)]],
        Field(min_length=1),
        AfterValidator(_check_unique),
    ]


def check(values: Mapping[str, Any]) -> Export:
    """Return the export section, after checking it.

    Raises:
        ParamError: No format is named, or a format is unknown or named twice.
    """
    return load_section(values, "export", Export)


def work(stage: Stage) -> None:
    """Write the validated selection in each format that params.yaml names."""
    formats = [FORMATS[name] for name in check(stage.values).formats]
    _check_valid(stage.dep("validate/result.json"))
    selected = stage.dep("choose/selected.parquet")
    folder = stage.out("data/export")
    folder.mkdir()
    for file_format in formats:
        file_format.write(selected, folder / file_format.file_name)
    names = ", ".join(file_format.file_name for file_format in formats)
    log.info("export: %s records in %s", f"{count_rows(selected, SELECTED):,}", names)


def _check_valid(result: Path) -> None:
    """Check that the selection passed `validate`.

    Raises:
        CheckFailed: The selection did not pass, or the result cannot be read.
    """
    try:
        success = json.loads(result.read_text(encoding="utf-8"))["success"]
    except (ValueError, LookupError, TypeError):
        success = None
    if success is not True:
        raise CheckFailed(
            f"expected a validated selection, but success is {json.dumps(success)}",
            where=str(result),
            fix="Run `dvc repro validate`, and fix what it reports.",
        )
