"""Plan a run: find out what each stage would do, and why."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc import command as dvc
from flows.dvc.overrides import Change
from tasks.lib.core.dvc_yaml import StageSpec, load_yaml, read_graph
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan.

    Attributes:
        stage: The stage's name.
        action: ``run`` if one of the stage's own inputs changed; ``follow`` if only an earlier
            stage runs (the stage is Cached if that gives the same outputs); ``restore`` if only the
            stage's outputs are missing or changed; otherwise ``cached``.
        reasons: The reasons for the action; empty for ``cached``.
    """

    stage: str
    action: str
    reasons: tuple[str, ...]


def plan(workspace: Path) -> list[PlannedStage]:
    """Return the plan of the next run, in stage order.

    A stage with the action ``run`` may still be restored if DVC has seen the same inputs before.
    """
    changes, graph = dvc.status(workspace), read_graph(workspace)
    lock = workspace / "dvc.lock"
    locked_stages = load_yaml(lock)["stages"] if lock.exists() else {}
    values = read_params(workspace / PARAMS_FILE)
    made = {out.path for stage in graph.stages for out in stage.outs}
    planned: dict[str, PlannedStage] = {}
    for stage in graph.stages:
        running = [name for name in stage.upstream if planned[name].action in ("run", "follow")]
        follows = [f"{name} runs before it" for name in running]
        if stage.name in locked_stages:
            locked = locked_stages[stage.name].get("params", {}).get(PARAMS_FILE, {})
            own, outs = _changes(changes.get(stage.name, []), made, locked, values)
        else:
            own, outs = ["it has not run here yet"], []
        if own or follows:
            action, reasons = "run" if own else "follow", [*own, *follows]
        else:
            action, reasons = "restore" if outs else "cached", outs
        planned[stage.name] = PlannedStage(stage.name, action, tuple(reasons))
    return list(planned.values())


def _changes(
    changes: Iterable[Any],
    made: Container[str],
    locked: Mapping[str, Any],
    values: Mapping[str, Any],
) -> tuple[list[str], list[str]]:
    """Describe changes to inputs that no stage makes, and changes to outputs."""
    own, outs = [], []
    for change in changes:
        if change == "changed command":
            own.append("its command changed in dvc.yaml")
        elif isinstance(change, Mapping):
            outs += [f"{path} is {what}" for path, what in change.get("changed outs", {}).items()]
            for name, what in change.get("changed deps", {}).items():
                if name == PARAMS_FILE:
                    for key in what:
                        own += _differences(key, locked.get(key), lookup(values, key))
                elif name not in made:
                    own.append(f"{name} is {what}")
    return own, outs


def _differences(key: str, old: Any, new: Any) -> list[str]:
    """Describe each changed key at or below `key`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        below = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
        return [text for k in below for text in _differences(f"{key}.{k}", old.get(k), new.get(k))]
    return [f"{key} is {new!r} (was {old!r})"]


def stale_before(workspace: Path, stage: str, changes: Sequence[Change] = ()) -> list[str]:
    """Return the stages before `stage` that are stale, or that the changes would make stale."""
    graph = read_graph(workspace)
    needed = {stage}
    for spec in reversed(graph.stages):
        if spec.name in needed:
            needed.update(spec.upstream)
    before = [spec for spec in graph.stages if spec.name in needed - {stage}]
    stale = set(dvc.status(workspace))
    stale |= {spec.name for spec in before for change in changes if _uses(spec, change.key)}
    return [spec.name for spec in before if spec.name in stale]


def _uses(stage: StageSpec, key: str) -> bool:
    """Return whether a key equals, contains or belongs to a parameter of the stage."""
    return any(f"{p}.".startswith(f"{key}.") or f"{key}.".startswith(f"{p}.") for p in stage.params)
