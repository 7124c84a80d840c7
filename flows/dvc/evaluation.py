"""Give an evaluation its own workspace, with its own graph and copies of the selections.

Stages in dvc.yaml would be run by `dvc repro`, and a second dvc.yaml would be reported by
`dvc status`. So the graph of an evaluation has another name, and becomes dvc.yaml only here. Its
inputs are copies, since `selectllm run` may replace them during the hours of an evaluation.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.variants import make_workspace, place_of
from flows.dvc.workspace import run_lock
from tasks.lib.core.dvc_yaml import Graph, read_graph
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params
from tasks.lib.core.schemas import SELECTIONS
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.core.tables import write_table
from tasks.lib.documents.evaluation import EvaluationPlan

SECTION = "evaluate"
GRAPH = f"tasks/{SECTION}/graph.yaml"
RESULTS = f"data/{SECTION}"
OWN_KEYS = (f"{SECTION}.", "seed=")
MODEL_FILE = "data/model.txt"
VARIANTS_FILE = "data/variants.parquet"
UNUSED = ("evaluate", "compare", "measure", "report", "engine")
"""Sections of params.yaml that do not change a selection."""


class EvaluationWorkspace(NamedTuple):
    """The workspace of an evaluation.

    Attributes:
        lock: The file descriptor of its run lock.
        stale: The stages of the selection, and the variants, that are out of date.
    """

    path: Path
    lock: int
    stale: list[str]


def ready_params(user_workspace: Path, sets: Sequence[str]) -> str:
    """Return the text of params.yaml with these overrides, after checking it for an evaluation.

    Raises:
        ParamError: An override is wrong, or an evaluation cannot start with these parameters.
    """
    for text in sets:
        if not text.startswith(OWN_KEYS):
            raise ParamError(
                "an evaluation uses the existing selection, so the key would have no effect",
                where=f"-S {text}",
                fix="Set it with `selectllm run -S` first, or use keys of the evaluate section.",
            )
    params, _ = overrides.checked(user_workspace, sets)
    with tempfile.TemporaryDirectory(prefix="selectllm-") as folder:
        draft = Path(folder) / PARAMS_FILE
        draft.write_text(params, encoding="utf-8")
        _ask(user_workspace, {}, "ready", str(draft))
    return params


@contextmanager
def evaluation_workspace(
    user_workspace: Path, sets: Sequence[str]
) -> Iterator[EvaluationWorkspace]:
    """Create or update the workspace of an evaluation, and hold its lock.

    Args:
        user_workspace: The user's workspace; only its state folder is written to.
        sets: Overrides of the evaluate section, each as key=value; they do not change params.yaml.

    Raises:
        ParamError: An override is wrong, or the evaluation is not ready to start.
        DataError: There is no selection yet.
        Busy: Another evaluation or run is in progress.
    """
    params = ready_params(user_workspace, sets)
    folder = user_workspace / STATE_DIR / SECTION / "workspace"
    workspace = place_of(user_workspace, folder)
    workspace.mkdir(parents=True, exist_ok=True)
    with run_lock(workspace) as lock:
        with run_lock(user_workspace):
            make_workspace(user_workspace, folder, params, dvc.cache_dir(user_workspace), GRAPH)
            graph = read_graph(user_workspace)
            made = _copy_inputs(graph, user_workspace, workspace)
            stale = _stale(graph, user_workspace, made)
            stale += _copy_variants(graph, user_workspace, workspace)
        _describe_model(workspace)
        yield EvaluationWorkspace(workspace, lock, stale)


def plan(workspace: Path, user_workspace: Path) -> EvaluationPlan:
    """Return the plan of an evaluation; its test records must have been read.

    Raises:
        ParamError: The evaluation cannot start.
    """
    path = workspace / STATE_DIR / "evaluation_plan.json"
    path.unlink(missing_ok=True)
    _ask(workspace, {"DVC_ROOT": str(user_workspace)}, "plan", str(path))
    return EvaluationPlan.read(path)


def copy_results(workspace: Path, user_workspace: Path) -> Path:
    """Copy the outputs of an evaluation to the user's workspace, and return their folder."""
    folder = user_workspace / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    for stage in read_graph(workspace).stages:
        for out in stage.outs:
            target = folder / Path(out.path).name
            part = target.with_name(f".{target.name}.part")
            if (workspace / out.path).is_dir():
                for old in (part, target):
                    shutil.rmtree(old, ignore_errors=True)
                shutil.copytree(workspace / out.path, part)
            else:
                shutil.copyfile(workspace / out.path, part)
            os.replace(part, target)
    return folder


def _copy_inputs(graph: Graph, user_workspace: Path, workspace: Path) -> set[str]:
    """Copy the outputs of the user's graph that the evaluation reads; return their stages."""
    maker = {out.path: stage.name for stage in graph.stages for out in stage.outs}
    deps = {dep for stage in read_graph(workspace).stages for dep in stage.deps}
    inputs = sorted(deps & set(maker))
    for path in inputs:
        if not (user_workspace / path).exists():
            raise DataError(
                "there is no selection to evaluate yet: the file does not exist",
                where=path,
                fix="Run `selectllm run` first.",
            )
        target = workspace / path
        target.unlink(missing_ok=True)  # a link to the user's file
        shutil.copyfile(user_workspace / path, target)
    return {maker[path] for path in inputs}


def _copy_variants(graph: Graph, user_workspace: Path, workspace: Path) -> list[str]:
    """Write the selections of the variants among the arms to one table.

    Returns:
        The variants whose selections were made with parameters other than their current ones.

    Raises:
        DataError: `selectllm compare` has not run a variant yet.
    """
    values = read_params(workspace / PARAMS_FILE)
    methods = {"selection", "whole", "untrained", *(lookup(values, "baseline.methods") or ())}
    arms = [arm for arm in lookup(values, "evaluate.arms") if arm not in methods]
    (out,) = graph.outs("selection")
    rows, stale = [], []
    for arm in arms:
        variant = place_of(user_workspace, user_workspace / STATE_DIR / "compare" / arm)
        if not (variant / out.path).exists():
            raise DataError(
                f"the variant {arm} has made no selection yet",
                where=f"{PARAMS_FILE}: evaluate.arms",
                fix="Run `selectllm compare` first.",
            )
        ids = pq.read_table(variant / out.path, columns=["id"])["id"].to_pylist()
        rows += [
            {"method": arm, "seed": 0, "rank": rank, "id": id_} for rank, id_ in enumerate(ids, 1)
        ]
        if not _is_current(user_workspace, variant, values["compare"][arm] or {}):
            stale.append(f"variant {arm}")
    write_table(workspace / VARIANTS_FILE, rows, SELECTIONS)
    return stale


def _is_current(user_workspace: Path, variant: Path, changes: Mapping[str, Any]) -> bool:
    """Return whether a variant ran with its current parameters."""
    sets = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    ours, _ = overrides.preview(user_workspace, sets)
    theirs = read_params(variant / PARAMS_FILE)
    return all(ours[name] == theirs.get(name) for name in ours if name not in UNUSED)


def _describe_model(workspace: Path) -> None:
    """List the model's files with their sizes and times, so that DVC notices a changed folder.

    DVC itself sees only the name. Hashing the files of a large model would take it minutes.
    """
    name = str(lookup(read_params(workspace / PARAMS_FILE), "evaluate.model"))
    files = sorted(path for path in (workspace / name).glob("*") if path.is_file())
    stats = [(path.name, path.stat()) for path in files]
    lines = [name, *(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats)]
    (workspace / MODEL_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _stale(graph: Graph, user_workspace: Path, made: set[str]) -> list[str]:
    """Return which of the stages `made`, or the stages before them, are out of date."""
    needed = set(made)
    for stage in reversed(graph.stages):
        needed.update(stage.upstream if stage.name in needed else ())
    changed = dvc.status(user_workspace)
    return [stage.name for stage in graph.stages if stage.name in needed & set(changed)]


def _ask(folder: Path, variables: dict[str, str], *words: str) -> None:
    """Run `python -m tasks.evaluate` in a folder.

    Raises:
        ParamError: The evaluation cannot start.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"tasks.{SECTION}", *words],
        cwd=folder,
        env=dvc.environment(folder) | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ParamError.parse(done.stderr)
