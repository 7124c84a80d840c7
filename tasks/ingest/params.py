"""The section ingest of params.yaml."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from tasks.ingest.cell_text import comparison_key
from tasks.lib.core.params import Params


def _comparison_keys(value: object) -> frozenset[str]:
    keys = [comparison_key(item) for item in (value if isinstance(value, list) else [value])]
    if None in keys:
        raise PydanticCustomError(
            "exclude", "expected text, a number, true or false, or a list of them"
        )
    return frozenset(key for key in keys if key is not None)


class Ingest(Params):
    """What to read, which rows to leave out, and when to stop."""

    source: str = Field(min_length=1)
    columns: dict[str, str]
    exclude: dict[str, Annotated[frozenset[str], BeforeValidator(_comparison_keys)]]
    max_field_chars: int = Field(ge=1)
    max_dropped: float = Field(ge=0, le=1)
