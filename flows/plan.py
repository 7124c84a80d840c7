"""What a run would do, and why, in sentences."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import dvc
from flows.graph import Stage, load_yaml, read_graph


@dataclass(frozen=True)
class Step:
    """One stage of a plan.

    Attributes:
        stage: Its name.
        action: ``run`` when an input of its own changed, ``follow`` when only a stage before it
            runs (its outputs may turn out the same, and it is then Cached), ``restore`` when only
            its outputs are gone or changed, ``cached`` otherwise.
        reasons: Why, one sentence each; empty for ``cached``.
    """

    stage: str
    action: str
    reasons: tuple[str, ...]


def plan(root: Path) -> list[Step]:
    """The plan of the next run in `root`, in the order of the run.

    A stage that would run may still be restored, if DVC has seen the same inputs before.
    """
    changes, graph = dvc.status(root), read_graph(root)
    lock = root / "dvc.lock"
    known = load_yaml(lock)["stages"] if lock.exists() else {}
    made = {out.path for stage in graph.stages for out in stage.outs}
    steps: dict[str, Step] = {}
    for stage in graph.stages:
        behind = [name for name in stage.upstream if steps[name].action in ("run", "follow")]
        follows = [f"{name} runs before it" for name in behind]
        if stage.name in known:
            steps[stage.name] = _step(stage, changes.get(stage.name, []), follows, made)
        else:
            steps[stage.name] = Step(stage.name, "run", ("it has not run here yet", *follows))
    return list(steps.values())


def _step(stage: Stage, changes: Iterable[Any], follows: list[str], made: Container[str]) -> Step:
    """What a stage that has run before would do; `made` holds the paths that stages make."""
    own, outs = [], []
    for change in changes:
        if change == "changed command":
            own.append("its command changed in dvc.yaml")
        elif isinstance(change, Mapping):
            inputs = _items(change.get("changed deps", {}))
            own += [f"{name} is {what}" for name, what in inputs if name not in made]
            outs += [f"{path} is {what}" for path, what in change.get("changed outs", {}).items()]
    if own:
        return Step(stage.name, "run", (*own, *follows))
    if follows:
        return Step(stage.name, "follow", tuple(follows))
    return Step(stage.name, "restore" if outs else "cached", tuple(outs))


def _items(changed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Changed inputs, each file and each parameter by itself."""
    flat: list[tuple[str, str]] = []
    for name, what in changed.items():
        flat += list(what.items()) if isinstance(what, Mapping) else [(name, what)]
    return flat
