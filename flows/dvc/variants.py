"""The variants of params.yaml: compare, and a workspace of its own for each.

A variant never runs in the user's workspace: whatever ends it, params.yaml and data/ there are as
they were. Its own workspace is a copy of what dvc.yaml declares, under .selectllm/compare, and
shares DVC's cache and the state folder, so that nothing is computed or bought twice.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.graph import load_yaml, read_graph
from flows.dvc.workspace import STATE_DIR
from flows.errors import ParamError

SECTION = "compare"
EXAMPLE = "For example: compare: {half: {llm_select.budget: 30}, whole: {}}"
NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)  # the name of a folder and of a run
DVC_FILES = ("dvc.yaml", ".dvcignore", ".dvc/config")
LOCK = "dvc.lock"


@dataclass(frozen=True)
class Variant:
    """One way to run the graph: its name, what it sets, and the params.yaml that comes of it."""

    name: str
    changes: Mapping[str, Any]
    params: str

    @property
    def words(self) -> str:
        """What it sets, on one line."""
        told = (f"{key}={_plain(value)}" for key, value in self.changes.items())
        return ", ".join(told) or "params.yaml as it is"


def read_variants(root: Path, given: Sequence[str]) -> list[Variant]:
    """The variants that `root`/params.yaml declares, every one checked by the steps.

    Args:
        root: The user's workspace; nothing is written there.
        given: Overrides, each as key=value, that all variants share.

    Raises:
        ParamError: There is none, a name or key is no such, or the steps refuse what comes of one.
    """
    declared = overrides.preview(root, given)[0].get(SECTION)
    if not isinstance(declared, dict) or not declared:
        raise ParamError(
            f"params.yaml: {SECTION}: expected variants, each a name and the keys it sets\n"
            f"  {EXAMPLE}"
        )
    variants = [_variant(root, given, *item) for item in declared.items()]
    with tempfile.TemporaryDirectory(prefix="selectllm-") as folder:
        drafts = [Path(folder) / f"{variant.name}.yaml" for variant in variants]
        for draft, variant in zip(drafts, variants, strict=True):
            draft.write_text(variant.params, encoding="utf-8")
        try:
            overrides.check(root, *drafts)
        except ParamError as error:
            which = f"{variants[0].name}: " if len(variants) == 1 else ""
            raise ParamError(f"{SECTION}.{which}{error}") from None
    return variants


def _variant(root: Path, given: Sequence[str], name: Any, changes: Any) -> Variant:
    where = f"params.yaml: {SECTION}.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ParamError(
            f"{where}: a name is letters, digits, _, - and .\n  Put numbers in quotes."
        )
    changes = {} if changes is None else changes
    if not isinstance(changes, dict) or any(not isinstance(key, str) for key in changes):
        raise ParamError(f"{where}: expected keys and their values, not {changes!r}\n  {EXAMPLE}")
    for key, value in changes.items():
        if "." not in key and isinstance(value, dict):
            raise ParamError(f"{where}.{key}: expected a dotted key, such as cluster.mode")
    sets = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    try:
        text, _ = overrides.edited(root, [*given, *sets])
    except ParamError as error:
        raise ParamError(f"{where}: {error}") from None
    return Variant(name, changes, text)


def lay_out(root: Path, variants: Sequence[Variant]) -> list[Path]:
    """The workspace of each variant, made or brought up to date with the user's, in their order.

    What its last run made is kept there; workspaces of variants that are no more are removed.
    """
    home = root / STATE_DIR / SECTION
    home.mkdir(parents=True, exist_ok=True)
    for old in home.iterdir():
        if old.name not in {variant.name for variant in variants}:
            shutil.rmtree(old, ignore_errors=True)
    cache = dvc.cache_dir(root)
    return [lay_out_one(root, home / variant.name, variant.params, cache) for variant in variants]


def lay_out_one(root: Path, surroundings: Path, params: str, cache: Path) -> Path:
    """Make a workspace with another params.yaml, or bring it up to date with the user's.

    It lies below the folders that `root` has above it, so that ``../x`` has a place.

    Args:
        root: The user's workspace; nothing is written there.
        surroundings: The folder in which the new workspace may make whatever its paths need.
        params: The text of its params.yaml.
        cache: DVC's cache, which both share.
    """
    space = surroundings / root.relative_to(root.anchor)
    (space / ".dvc").mkdir(parents=True, exist_ok=True)
    for name in DVC_FILES:
        if (root / name).exists():
            shutil.copy2(root / name, space / name)
    if (root / LOCK).exists() and not (space / LOCK).exists():
        part = space / f"{LOCK}.part"  # half a lock would stop every later run here
        shutil.copy2(root / LOCK, part)  # after `dvc pull`, nothing else knows what is cached
        os.replace(part, space / LOCK)
    own = f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n"  # Git ignores this folder
    (space / ".dvc" / "config.local").write_text(own, encoding="utf-8")
    shutil.rmtree(space / "tasks", ignore_errors=True)
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "tasks", space / "tasks", ignore=caches)
    (space / "params.yaml").write_text(params, encoding="utf-8")
    for path in _named(space):
        _link(root, space, surroundings, path)
    return space


def _named(space: Path) -> list[str]:
    """The paths that the graph reads and does not make, and whatever texts params.yaml holds."""
    graph = read_graph(space)
    made = [Path(out.path) for stage in graph.stages for out in stage.outs]
    deps = {dep for stage in graph.stages for dep in stage.deps}
    named = deps | set(_texts(load_yaml(space / "params.yaml")))
    return sorted(p for p in named if p and not any(out.is_relative_to(p) for out in made))


def _link(root: Path, space: Path, surroundings: Path, path: str) -> None:
    """Let a relative path lead from the new workspace to where it leads from the user's."""
    link = Path(os.path.normpath(space / path))
    is_ours = link.parent.resolve().is_relative_to(surroundings.resolve())
    if Path(path).is_absolute() or not is_ours:
        return
    if link.is_symlink():
        link.unlink()
    if not link.exists() and (root / path).exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.normpath(root / path))


def _texts(value: Any) -> Iterator[str]:
    """Every text inside nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
