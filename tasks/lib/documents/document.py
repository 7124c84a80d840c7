"""The base classes of our JSON documents, which share one file format and are read strictly."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from tasks.lib.core.errors import REMAKE, DataError

_LINES = json.JSONEncoder(ensure_ascii=False)  # shared, since making one takes time


class Part(BaseModel):
    """A part of a document, with exactly the declared fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(Part):
    """A whole document, stored in its own file.

    Attributes:
        renamed: Old dotted names of fields, mapped to their current names.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a document from a file.

        Raises:
            DataError: The file is not JSON, or a field is missing, unknown, of the wrong type or
                renamed (the error gives the new name).
        """
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> Self:
        """Read a document from its text; errors give `where` as its location.

        Raises:
            DataError: As for `read`.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            what = _explain(error.errors(), cls.renamed)
            raise DataError(what, where=where, fix=REMAKE) from None

    def to_json(self) -> str:
        """Return the text of the file; equal documents give byte-identical files."""
        values = self.model_dump(mode="json")
        return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the document to a file."""
        path.write_text(self.to_json(), encoding="utf-8", newline="\n")


class Line(Document):
    """A document that is stored as one line of a file."""

    def to_line(self) -> str:
        """Return the line of the file."""
        return as_line(self.model_dump(mode="json"))


def as_line(fields: Mapping[str, object]) -> str:
    """Return the line of a document with these fields, which are not checked."""
    return _LINES.encode(fields) + "\n"


L = TypeVar("L", bound=Line)


def read_lines(path: Path, model: type[L]) -> Iterator[L]:
    """Yield the lines of a file in order.

    Raises:
        DataError: A line does not match the model; the error says where.
    """
    with path.open("rb") as lines:  # so that a line that is not UTF-8 is reported too
        for number, line in enumerate(lines, 1):
            yield model.parse(line, f"{path}:{number}")


def _explain(details: list[ErrorDetails], renamed: Mapping[str, str]) -> str:
    """Describe a renamed field if there is one, otherwise the first error."""
    names = [".".join(map(str, detail["loc"])) for detail in details]
    for name in names:
        if name in renamed:
            return f"the field {name} is now called {renamed[name]}"
    name, detail = names[0], details[0]
    if detail["type"] == "missing":
        return f"the field {name} is missing"
    if detail["type"] == "extra_forbidden":
        return f"the field {name} is unknown"
    words = f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    return f"{name}: {words}" if name else words
