"""Keep a run that MLflow could not record, until a later run can record it."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prefect.client.schemas.objects import State, StateType

from flows.stage_task import Done, Run
from tasks.lib.core.dvc_yaml import DVC_FILE, Graph, read_graph
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.stage import STATE_DIR

FOLDER = "unrecorded"
FACTS, PART = "run.json", ".part"
MAX_KEPT = 30  # runs, a month of nightly ones; the oldest are discarded


class KeptRun(NamedTuple):
    """A run that is not in MLflow yet; its folder contains the outputs that MLflow shows."""

    graph: Graph
    run: Run
    done: dict[str, Done]
    name: str | None
    tags: dict[str, str]
    ended: float  # seconds since the epoch


def keep(
    graph: Graph, run: Run, done: Mapping[str, Done], name: str | None, tags: Mapping[str, str]
) -> None:
    """Keep a run's states, and the outputs that MLflow shows, which a later run would replace."""
    folder = run.user_workspace / STATE_DIR / FOLDER / run.id
    part = folder.with_suffix(PART)
    shutil.rmtree(part, ignore_errors=True)
    for path in _shown(graph):
        if (run.workspace / path).exists():
            _copy(run.workspace / path, part / path)
    states = {
        stage: [end.state.type.value, end.state.name, end.seconds] for stage, end in done.items()
    }
    facts = {
        "name": name,
        "sets": run.sets,
        "tags": dict(tags),
        "states": states,
        "ended": time.time(),
    }
    (part / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    part.rename(folder)
    for old in kept_folders(run.user_workspace)[:-MAX_KEPT]:
        shutil.rmtree(old)


def kept_folders(user_workspace: Path) -> list[Path]:
    """Return the folders of the runs that were kept, the oldest first."""
    found = (user_workspace / STATE_DIR / FOLDER).glob(f"*/{FACTS}")
    complete = [path for path in found if path.parent.suffix != PART]
    return [path.parent for path in sorted(complete, key=lambda path: path.stat().st_mtime_ns)]


def read_kept(folder: Path, later: Run) -> KeptRun:
    """Read a kept run, which the run `later` logs."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    done = {
        stage: Done(State(type=StateType(type_), name=name), seconds)
        for stage, (type_, name, seconds) in facts["states"].items()
    }
    kept = Run(folder, folder.name, later.lock, later.user_workspace, facts["sets"])
    return KeptRun(read_graph(folder), kept, done, facts["name"], facts["tags"], facts["ended"])


def _shown(graph: Graph) -> Iterator[str]:
    """Yield the paths of the outputs that MLflow shows."""
    yield from (DVC_FILE, PARAMS_FILE, "dvc.lock", f"{STATE_DIR}/data_docs")
    for stage in graph.stages:
        for out in stage.outs:
            if out.path.endswith(".json") or out.type in ("report", "pool", "selection"):
                yield out.path


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder; a table gets a hard link, as it may be large and is never edited."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    if source.suffix == ".parquet":
        with suppress(OSError):  # not on this file system
            os.link(source, target)
            return
    shutil.copy2(source, target)
