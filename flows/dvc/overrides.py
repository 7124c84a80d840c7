"""``-S key=value``: an edit of params.yaml that keeps its comments, checked before it is made."""

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
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from flows.dvc import command as dvc
from flows.errors import ParamError


class Change(NamedTuple):
    """One key that an override gave another value."""

    key: str
    old: Any
    new: Any


def apply(root: Path, overrides: Sequence[str]) -> list[Change]:
    """Set each ``key=value`` in `root`/params.yaml and return what changed, all of it or nothing.

    Without overrides, params.yaml is only checked.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse the file that would come
            of it; params.yaml is then as it was.
    """
    text, changes = checked(root, overrides)
    if changes:
        part = root / ".params.yaml.part"
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, root / "params.yaml")
        finally:
            part.unlink(missing_ok=True)
    return changes


def checked(root: Path, overrides: Sequence[str]) -> tuple[str, list[Change]]:
    """Return what `edited` returns, once every step has accepted the text.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse what would come of it.
    """
    text, changes = edited(root, overrides)
    with tempfile.TemporaryDirectory(prefix="selectllm-") as folder:
        draft = Path(folder) / "params.yaml"
        draft.write_text(text, encoding="utf-8")
        check(root, draft)
    return text, changes


def preview(root: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Change]]:
    """The values of `root`/params.yaml with each ``key=value`` set, and what that changed.

    The file stays as it is, and no step is asked.

    Raises:
        ParamError: An override is not ``key=value``.
    """
    text, changes = edited(root, overrides)
    return YAML(typ="safe").load(text), changes


def edited(root: Path, overrides: Sequence[str]) -> tuple[str, list[Change]]:
    """The text of `root`/params.yaml with each ``key=value`` set, and what that changed.

    The file stays as it is, and no step is asked.

    Raises:
        ParamError: An override is not ``key=value``.
    """
    values = _load(root / "params.yaml")
    changes = [change for text in overrides if (change := _set(values, text))]
    buffer = StringIO()
    _round_trip().dump(values, buffer)
    return buffer.getvalue(), changes


def check(root: Path, *params: Path) -> None:
    """Let every step check its section of each params file.

    Raises:
        ParamError: One of them refuses it, in its words; of several files, that file's name and a
            colon come first.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tasks", *map(str, params)],
        cwd=root,
        env=dvc.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ParamError(done.stderr.strip())


def _load(path: Path) -> Any:
    """The values of a params file, comments kept.

    Raises:
        ParamError: It cannot be read, or is no mapping.
    """
    try:
        values = _round_trip().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        words = getattr(error, "strerror", None) or str(error).partition("\n\n")[0]
        raise ParamError(f"{path}: {words}\n  Mend it, or restore it from Git.") from None
    if not isinstance(values, dict):
        raise ParamError(f"{path}: expected sections with keys\n  Restore it from Git.")
    return values


class _Representer(RoundTripRepresenter):
    """Writes null for None; ruamel's own would leave the place empty."""


def _null(representer: RoundTripRepresenter, _none: None) -> ScalarNode:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


_Representer.add_representer(type(None), _null)


def _round_trip() -> YAML:
    """YAML that is written as it was read, but for what was changed."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _set(values: Any, text: str) -> Change | None:
    """Set one override in place; None when the key has that value already."""
    key, equals, raw = text.partition("=")
    *parents, last = key.split(".")
    if not equals or not all([*parents, last]):
        raise ParamError(f"-S {text}: expected key=value\n  For example: -S llm_select.budget=1000")
    try:
        new = _round_trip().load(raw) if raw else ""  # so that {a: "b"} stays as it is
    except YAMLError:
        raise ParamError(f"-S {text}: {raw} is not a YAML value\n  Put it in quotes.") from None
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ParamError(f"-S {text}: {parent} has no keys below it\n  See params.yaml.")
    old = values.get(last)
    if last in values and old == new and isinstance(old, bool) == isinstance(new, bool):
        return None
    values[last] = new
    return Change(key, old, new)
