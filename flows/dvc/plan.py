"""What a run would do, and why, in sentences."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc import command as dvc
from flows.dvc.graph import Stage, load_yaml, read_graph
from flows.dvc.overrides import Change

PARAMS = "params.yaml"


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
    values = load_yaml(root / PARAMS)
    made = {out.path for stage in graph.stages for out in stage.outs}
    steps: dict[str, Step] = {}
    for stage in graph.stages:
        behind = [name for name in stage.upstream if steps[name].action in ("run", "follow")]
        follows = tuple(f"{name} runs before it" for name in behind)
        if stage.name not in known:
            steps[stage.name] = Step(stage.name, "run", ("it has not run here yet", *follows))
            continue
        locked = known[stage.name].get("params", {}).get(PARAMS, {})
        own, outs = _changes(changes.get(stage.name, []), made, locked, values)
        if own:
            steps[stage.name] = Step(stage.name, "run", (*own, *follows))
        elif follows:
            steps[stage.name] = Step(stage.name, "follow", follows)
        else:
            steps[stage.name] = Step(stage.name, "restore" if outs else "cached", tuple(outs))
    return list(steps.values())


def _changes(
    told: Iterable[Any], made: Container[str], locked: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Sentences on a stage's own inputs (not those that stages make), and on its outputs."""
    own, outs = [], []
    for change in told:
        if change == "changed command":
            own.append("its command changed in dvc.yaml")
        elif isinstance(change, Mapping):
            outs += [f"{path} is {what}" for path, what in change.get("changed outs", {}).items()]
            for name, what in change.get("changed deps", {}).items():
                if name == PARAMS:
                    for key in what:
                        own += _differences(key, locked.get(key), _value(values, key))
                elif name not in made:
                    own.append(f"{name} is {what}")
    return own, outs


def _differences(key: str, old: Any, new: Any) -> list[str]:
    """One sentence for each key at or below `key` whose value is not what it was."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        below = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
        return [text for k in below for text in _differences(f"{key}.{k}", old.get(k), new.get(k))]
    return [f"{key} is {new!r} (was {old!r})"]


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def stale_before(root: Path, stage: str, changes: Sequence[Change] = ()) -> list[str]:
    """The stages before `stage` that are not up to date, or would not be after the changes."""
    graph = read_graph(root)
    needed = {stage}
    for each in reversed(graph.stages):
        if each.name in needed:
            needed.update(each.upstream)
    before = [each for each in graph.stages if each.name in needed - {stage}]
    stale = set(dvc.status(root))
    stale |= {each.name for each in before for change in changes if _concerns(each, change.key)}
    return [each.name for each in before if each.name in stale]


def _concerns(stage: Stage, key: str) -> bool:
    """Whether a parameter of the stage is at, above or below a key."""
    return any(f"{p}.".startswith(f"{key}.") or f"{key}.".startswith(f"{p}.") for p in stage.params)
