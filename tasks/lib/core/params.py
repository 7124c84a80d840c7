"""Read params.yaml strictly: every key must be known, typed and in range before a step starts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from tasks.lib.core.errors import ParamError, nearest

PARAMS_FILE = "params.yaml"
RENAMED = {
    "llm_select.canaries": "llm_select.attention_checks",
    "validate.max_slot_bias": "validate.max_position_bias",
    "validate.max_canary_rate": "validate.max_attention_failures",
}
"""Old names of keys, mapped to their current names."""

NO_RECORDS = "data/none.jsonl"
"""A committed file that contains only a newline, for file parameters that are not used."""


def has_no_records(path: Path) -> bool:
    """Return whether a file is empty or contains only a newline; DVC warns about empty files."""
    return path.is_file() and path.stat().st_size <= 1


class Params(BaseModel):
    """A section of params.yaml. Subclasses set no defaults, so each value lives in one place."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


P = TypeVar("P", bound=Params)


def _ascending(value: Any) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(type(n) is not int or n < 1 for n in numbers):  # a bool is an int, too
        raise PydanticCustomError("budgets", "expected a positive integer or a list of them")
    return tuple(sorted(set(numbers)))


Count = Annotated[int, Field(ge=1)]
Budgets = Annotated[
    tuple[int, ...],
    PlainValidator(_ascending, json_schema_input_type=Count | list[Count]),
]
"""One or more selection sizes, ascending; each selection is a prefix of the next."""


def read_params(path: Path) -> dict[str, Any]:
    """Read a params file as plain mappings, lists and scalars (YAML 1.2, as DVC reads it).

    Raises:
        ParamError: The file is missing, is not YAML, or is not a mapping.
    """
    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamError(
            "the file does not exist", where=str(path), fix="Run this in a SelectLLM workspace."
        ) from None
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise ParamError(
            f"not readable as YAML: {problem}", where=where, fix="Fix this line."
        ) from None
    if not isinstance(values, dict):
        raise ParamError(
            "expected a mapping of sections", where=str(path), fix="Restore it from Git."
        )
    return values


def load_section(values: Mapping[str, Any], name: str, model: type[P]) -> P:
    """Return the `name` section, checked against `model`.

    Raises:
        ParamError: The section is missing, or a key is unknown (the error suggests the nearest
            known key), renamed, missing, of the wrong type or out of range.
    """
    if name not in values:
        raise ParamError(
            f"the {name} section is missing", where=PARAMS_FILE, fix="Restore it from Git."
        )
    try:
        return model.model_validate(values[name])
    except ValidationError as error:
        raise _explain(error.errors(), name, model) from None


def load_seed(values: Mapping[str, Any]) -> int:
    """Return the top-level seed, which every random choice depends on.

    Raises:
        ParamError: The seed is not an integer from 0 to 2**32 - 1, scikit-learn's limit.
    """
    seed = values.get("seed")
    if type(seed) is int and 0 <= seed < 2**32:  # a bool is an int, too
        return seed
    raise ParamError(
        f"seed: expected an integer from 0 to {2**32 - 1}, not {seed!r}",
        where=PARAMS_FILE,
        fix=f"Set it in {PARAMS_FILE}, or with -S seed=0.",
    )


class _Budgeted(Params):
    model_config = ConfigDict(extra="ignore")

    budget: Budgets


def load_budgets(values: Mapping[str, Any]) -> tuple[int, ...]:
    """Return `llm_select.budget`: one or more selection sizes, ascending.

    Raises:
        ParamError: The budget is neither a positive integer nor a list of them.
    """
    return load_section(values, "llm_select", _Budgeted).budget


def lookup(values: Any, key: str) -> Any:
    """Return the value of a dotted key, or None if there is no such key."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings with their dotted keys; an empty mapping is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(details: list[ErrorDetails], name: str, model: type[Params]) -> ParamError:
    """Describe a renamed key if there is one, otherwise the first error."""
    keys = [".".join([name, *(str(part) for part in detail["loc"])]) for detail in details]
    for key in keys:  # first, since the new name is reported as missing too
        if key in RENAMED:
            return ParamError(
                f"{key} is now called {RENAMED[key]}",
                where=PARAMS_FILE,
                fix="Rename the key; docs/reference/params.md lists every key.",
            )
    key, detail = keys[0], details[0]
    if detail["type"] == "extra_forbidden":
        known = [field.alias or field_name for field_name, field in model.model_fields.items()]
        hint = nearest(str(detail["loc"][-1]), known)
        return ParamError(
            f"{key} is unknown{hint}", where=PARAMS_FILE, fix=f"Known keys: {', '.join(known)}."
        )
    if detail["type"] == "missing":
        return ParamError(
            f"{key} is missing",
            where=PARAMS_FILE,
            fix="Add it; docs/reference/params.md lists every key.",
        )
    return ParamError(
        f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}",
        where=PARAMS_FILE,
        fix=f"Set it in {PARAMS_FILE}, or with -S {key}=VALUE.",
    )
