"""Read the compare section of params.yaml, and give each variant its own workspace.

A variant never runs in the user's workspace, so params.yaml and data/ never change. Its workspace,
under .selectllm/compare, is a copy of what dvc.yaml declares. It shares DVC's cache and the state
folder, so nothing is computed or bought twice.
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

from ruamel.yaml import YAML

from flows.dvc import command as dvc
from flows.dvc import overrides
from tasks.lib.core.dvc_yaml import DVC_FILE, load_yaml, read_graph
from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.stage import STATE_DIR

SECTION = "compare"
EXAMPLE = "For example: compare: {half: {llm_select.budget: 30}, whole: {}}"
NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)  # the name of a folder and of a run
DVC_FILES = (".dvcignore", ".dvc/config")
LOCK = "dvc.lock"
MAX_NAME = 255  # bytes of a file name; a longer text in params.yaml cannot be a path


@dataclass(frozen=True)
class Variant:
    """A variant: its name, the keys that it sets, and the text of its params.yaml."""

    name: str
    changes: Mapping[str, Any]
    params: str

    @property
    def sets(self) -> str:
        """The keys that the variant sets, on one line."""
        parts = (f"{key}={_plain(value)}" for key, value in self.changes.items())
        return ", ".join(parts) or "params.yaml as it is"


def read_variants(workspace: Path, shared: Sequence[str]) -> list[Variant]:
    """Read the variants that params.yaml declares, and have the steps check each of them.

    Args:
        workspace: The user's workspace; nothing is written there.
        shared: Overrides, each as key=value, that all variants share.

    Raises:
        ParamError: There are no variants, a name or key is malformed, or a step refuses a variant.
    """
    declared = overrides.preview(workspace, shared)[0].get(SECTION)
    if not isinstance(declared, dict) or not declared:
        raise ParamError(
            "expected variants, each with a name and the keys to set",
            where=f"{PARAMS_FILE}: {SECTION}",
            fix=EXAMPLE,
        )
    variants = [_variant(workspace, shared, *item) for item in declared.items()]
    with tempfile.TemporaryDirectory(prefix="selectllm-") as folder:
        drafts = [Path(folder) / f"{variant.name}.yaml" for variant in variants]
        for draft, variant in zip(drafts, variants, strict=True):
            draft.write_text(variant.params, encoding="utf-8")
        try:
            overrides.check(workspace, *drafts)
        except ParamError as error:
            name = f"{variants[0].name}: " if len(variants) == 1 else ""
            where = f"{SECTION}.{name}{error.where}"
            raise ParamError(error.what, where=where, fix=error.fix) from None
    return variants


def _variant(workspace: Path, shared: Sequence[str], name: Any, changes: Any) -> Variant:
    where = f"{PARAMS_FILE}: {SECTION}.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ParamError(
            "a name may contain only letters, digits, dots, hyphens and underscores",
            where=where,
            fix="Rename the variant. If its name is a number, put it in quotes.",
        )
    changes = {} if changes is None else changes
    if not isinstance(changes, dict) or any(not isinstance(key, str) for key in changes):
        raise ParamError(f"expected keys and values, not {changes!r}", where=where, fix=EXAMPLE)
    for key, value in changes.items():
        if "." not in key and isinstance(value, dict):
            raise ParamError(
                "expected a dotted key, such as cluster.mode", where=f"{where}.{key}", fix=EXAMPLE
            )
    sets = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    try:
        text, _ = overrides.edited(workspace, [*shared, *sets])
    except ParamError as error:
        where = f"{where}: {error.where}"
        raise ParamError(error.what, where=where, fix=error.fix) from None
    return Variant(name, changes, text)


def make_workspaces(user_workspace: Path, variants: Sequence[Variant]) -> list[Path]:
    """Make or update the workspace of each variant; return the workspaces in order.

    The outputs of a variant's last run are kept; the workspaces of removed variants are deleted.
    """
    folder = user_workspace / STATE_DIR / SECTION
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in {variant.name for variant in variants}:
            shutil.rmtree(old, ignore_errors=True)
    cache = dvc.cache_dir(user_workspace)
    return [make_workspace(user_workspace, folder / v.name, v.params, cache) for v in variants]


def make_workspace(
    user_workspace: Path, folder: Path, params: str, cache: Path, graph: str = DVC_FILE
) -> Path:
    """Make a workspace with its own params.yaml, or update it from the user's workspace.

    It gets the same parent folders as the user's, so that relative paths such as ``../x`` work.

    Args:
        user_workspace: The user's workspace; nothing is written there.
        folder: The folder for the new workspace and everything that its relative paths need.
        params: The text of the new params.yaml.
        cache: DVC's cache, which both workspaces share.
        graph: The file in the user's workspace that contains the new workspace's graph.
    """
    workspace = place_of(user_workspace, folder)
    (workspace / ".dvc").mkdir(parents=True, exist_ok=True)
    shutil.copy2(user_workspace / graph, workspace / DVC_FILE)
    for name in DVC_FILES:
        if (user_workspace / name).exists():
            shutil.copy2(user_workspace / name, workspace / name)
    is_same_graph = graph == DVC_FILE
    if is_same_graph and (user_workspace / LOCK).exists() and not (workspace / LOCK).exists():
        part = workspace / f"{LOCK}.part"  # a partial dvc.lock would stop every later run here
        shutil.copy2(user_workspace / LOCK, part)  # only dvc.lock describes what `dvc pull` fetched
        os.replace(part, workspace / LOCK)
    _copy_datasets(user_workspace / LOCK, workspace / LOCK)
    own = f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n"  # Git ignores this folder
    (workspace / ".dvc" / "config.local").write_text(own, encoding="utf-8")
    shutil.rmtree(workspace / "tasks", ignore_errors=True)
    caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(user_workspace / "tasks", workspace / "tasks", ignore=caches)
    (workspace / PARAMS_FILE).write_text(params, encoding="utf-8")
    for path in _inputs(workspace):
        _link(user_workspace, workspace, folder, path)
    return workspace


def place_of(user_workspace: Path, folder: Path) -> Path:
    """Return where `make_workspace` makes the workspace."""
    return folder / user_workspace.relative_to(user_workspace.anchor)


def _copy_datasets(theirs: Path, ours: Path) -> None:
    """Copy the revisions of data sets from `theirs` to `ours`; `dvc ds update` may change them."""
    datasets = load_yaml(theirs).get("datasets") if theirs.exists() else None
    lock = load_yaml(ours) if datasets else {}
    if lock.get("datasets") == datasets:
        return
    part = ours.with_name(f"{ours.name}.part")
    with part.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({**lock, "datasets": datasets}, file)
    os.replace(part, ours)


def _inputs(workspace: Path) -> list[str]:
    """Return what the graph reads but does not make, and texts in params.yaml that may be paths."""
    graph = read_graph(workspace)
    made = [Path(out.path) for stage in graph.stages for out in stage.outs]
    deps = {dep for stage in graph.stages for dep in stage.deps}
    read = deps | set(_texts(read_params(workspace / PARAMS_FILE)))
    names = (p for p in read if p and max(map(len, map(os.fsencode, Path(p).parts))) <= MAX_NAME)
    return sorted(p for p in names if not any(out.is_relative_to(p) for out in made))


def _link(user_workspace: Path, workspace: Path, folder: Path, path: str) -> None:
    """Link a relative path in the new workspace to the same path in the user's workspace."""
    link = Path(os.path.normpath(workspace / path))
    is_ours = link.parent.resolve().is_relative_to(folder.resolve())
    if Path(path).is_absolute() or not is_ours:
        return
    if link.is_symlink():
        link.unlink()
    if not link.exists() and (user_workspace / path).exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.normpath(user_workspace / path))


def _texts(value: Any) -> Iterator[str]:
    """Yield every string inside nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
