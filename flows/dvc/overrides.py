"""Apply ``-S key=value`` to params.yaml; keep its comments, and check the result before writing."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from flows.dvc import command as dvc
from flows.dvc.source_override import keys_of_source
from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE


class Change(NamedTuple):
    """A key whose value an override changed."""

    key: str
    old: Any
    new: Any


def apply(workspace: Path, overrides: Sequence[str]) -> list[Change]:
    """Set each ``key=value`` in params.yaml, all of them or none, and return the changes.

    If there are no overrides, params.yaml is only checked.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse the new file; params.yaml
            is then unchanged.
    """
    text, changes = checked(workspace, overrides)
    if changes:
        part = workspace / ".params.yaml.part"
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, workspace / PARAMS_FILE)
        finally:
            part.unlink(missing_ok=True)
    return changes


def checked(workspace: Path, overrides: Sequence[str]) -> tuple[str, list[Change]]:
    """Return the result of `edited`, after every step has accepted the text.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse the text.
    """
    text, changes = edited(workspace, overrides)
    with tempfile.TemporaryDirectory(prefix="selectllm-") as folder:
        draft = Path(folder) / PARAMS_FILE
        draft.write_text(text, encoding="utf-8")
        check(workspace, draft)
    return text, changes


def preview(workspace: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Change]]:
    """Do the same as `edited`, but return the values instead of the text."""
    text, changes = edited(workspace, overrides)
    return YAML(typ="safe").load(text), changes


def edited(workspace: Path, overrides: Sequence[str]) -> tuple[str, list[Change]]:
    """Return the text of params.yaml with each ``key=value`` set, and the changes.

    The file does not change, and no step checks the values.

    Raises:
        ParamError: An override is not ``key=value``, or cannot be written into the file's layout.
    """
    values = _load(workspace / PARAMS_FILE)
    changes = [change for text in overrides if (change := _set(values, text))]
    if any(text.startswith("ingest.source=") for text in overrides):
        old = {change.key: change.old for change in reversed(changes)}
        further = keys_of_source(workspace, values)
        changes = [change for change in changes if change.key not in further]
        for key, value in further.items():
            if (change := _assign(values, key, value)) or key in old:
                changes.append(Change(key, old.get(key, change and change.old), value))
    buffer = StringIO()
    _round_trip().dump(values, buffer)
    _check_same(buffer.getvalue(), values)
    return buffer.getvalue(), changes


def _check_same(text: str, values: Any) -> None:
    """Check that an edited text has the intended values, since ruamel misplaces some comments.

    Raises:
        ParamError: The text has other values, or is not YAML.
    """
    try:
        is_same = YAML(typ="safe").load(text) == values
    except YAMLError:
        is_same = False
    if not is_same:
        raise ParamError(
            "-S cannot edit the file in its current layout",
            where=PARAMS_FILE,
            fix="Change the value by hand, or indent lists by two spaces below their key.",
        )


def check(workspace: Path, *params: Path) -> None:
    """Have every step check its section of each params file.

    Raises:
        ParamError: A step refuses its section. If there are several files, the message begins with
            the name of the refused file.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tasks", *map(str, params)],
        cwd=workspace,
        env=dvc.environment(workspace),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ParamError.parse(done.stderr)


def _load(path: Path) -> Any:
    """Read a params file with its comments."""
    try:
        values = _round_trip().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        words = getattr(error, "strerror", None) or str(error).partition("\n\n")[0]
        raise ParamError(words, where=str(path), fix="Fix it, or restore it from Git.") from None
    if not isinstance(values, dict):
        raise ParamError(
            "expected a mapping of sections", where=str(path), fix="Restore it from Git."
        )
    return values


class _Representer(RoundTripRepresenter):
    """Writes None as null, whereas ruamel's own representer writes nothing."""


_Representer.add_representer(
    type(None),
    lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
)


def _round_trip() -> YAML:
    """Return a YAML reader and writer that changes only the edited lines."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _set(values: Any, text: str) -> Change | None:
    """Apply one override in place; return None if the key already has the value."""
    where = f"-S {text}"
    key, equals, raw = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ParamError(
            "expected key=value", where=where, fix="For example: -S llm_select.budget=1000"
        )
    try:
        new = _round_trip().load(raw) if raw else ""  # so that {a: "b"} keeps its quotes
    except YAMLError:
        what = f"{raw} is not a valid YAML value"
        raise ParamError(what, where=where, fix="Put it in quotes.") from None
    return _assign(values, key, new, where)


def _assign(values: Any, key: str, new: Any, where: str = "") -> Change | None:
    """Set a dotted key in place; return None if it already has that value."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ParamError(
                f"{parent} has no keys below it",
                where=where,
                fix=f"Correct the key; {PARAMS_FILE} shows which keys exist.",
            )
    old = values.get(last)
    if last in values and old == new and isinstance(old, bool) == isinstance(new, bool):
        return None
    values[last] = new
    return Change(key, old, new)
