"""Read the graph in dvc.yaml, for steps and flows alike."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.lib.core.errors import GraphError
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params

DVC_FILE = "dvc.yaml"
_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Out:
    """An output of a stage; `type` is its annotation in dvc.yaml, or empty if there is none."""

    path: str
    type: str = ""


@dataclass(frozen=True)
class StageSpec:
    """One stage, with its placeholders filled in; `upstream` names the stages it depends on."""

    name: str
    desc: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[Out, ...]
    retries: int
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """All stages, sorted so that each stage comes after the stages it depends on."""

    stages: tuple[StageSpec, ...]

    def outs(self, type_: str) -> list[Out]:
        """Return the outputs that have this type annotation in dvc.yaml."""
        return [out for stage in self.stages for out in stage.outs if out.type == type_]


def read_graph(root: Path) -> Graph:
    """Read the graph in `root`/dvc.yaml; fill in its placeholders from `root`/params.yaml.

    Raises:
        GraphError: dvc.yaml is missing, a placeholder names an unknown parameter, or the stages
            form a cycle.
        ParamError: params.yaml cannot be read.
    """
    declared, values = _declared(root), read_params(root / PARAMS_FILE)
    stages = {name: _spec(name, declared, values) for name in declared}
    order = TopologicalSorter({name: stage.upstream for name, stage in stages.items()})
    try:
        return Graph(tuple(stages[name] for name in order.static_order()))
    except CycleError as error:
        raise GraphError(
            f"the stages form a cycle: {' -> '.join(error.args[1])}",
            where=DVC_FILE,
            fix="Remove one of these dependencies.",
        ) from None


def read_stage(root: Path, name: str, values: Mapping[str, Any]) -> StageSpec:
    """Read one stage of `root`/dvc.yaml; `values` are the contents of params.yaml.

    Raises:
        GraphError: The stage is not declared, or it uses a parameter that does not exist.
    """
    declared = _declared(root)
    if name not in declared:
        raise GraphError(
            f"there is no {name} stage", where=str(root / DVC_FILE), fix="Declare the stage here."
        )
    return _spec(name, declared, values)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one of DVC's YAML 1.2 files as plain values.

    Raises:
        GraphError: The file is missing or is not YAML.
    """
    try:
        values: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GraphError(
            "the file does not exist", where=str(path), fix="Run this inside a clone of SelectLLM."
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise GraphError(
            f"not readable as YAML: {error}", where=str(path), fix="Restore it from Git."
        ) from None
    return values


def _declared(root: Path) -> Mapping[str, Any]:
    stages: Mapping[str, Any] = load_yaml(root / DVC_FILE)["stages"]
    return stages


def _spec(name: str, declared: Mapping[str, Any], values: Mapping[str, Any]) -> StageSpec:
    body = declared[name]
    maker = {out.path: stage for stage, other in declared.items() for out in _outs(other)}
    deps = tuple(_fill(dep, values, name) for dep in body.get("deps", []))
    return StageSpec(
        name=name,
        desc=body.get("desc", ""),
        deps=deps,
        params=tuple(_fill(param, values, name) for param in body.get("params", [])),
        outs=tuple(_outs(body)),
        retries=body.get("meta", {}).get("retries", 0),
        upstream=tuple(dict.fromkeys(maker[dep] for dep in deps if dep in maker)),
    )


def _outs(body: Mapping[str, Any]) -> Iterator[Out]:
    """Yield a stage's outputs; an entry is a path, or a mapping from one path to its options."""
    for entry in (e for kind in ("outs", "metrics", "plots") for e in body.get(kind, [])):
        if isinstance(entry, str):
            yield Out(entry)
        else:
            path, options = next(iter(entry.items()))
            yield Out(path, options.get("type", ""))


def _fill(text: str, values: Mapping[str, Any], stage: str) -> str:
    """Replace each ``${section.key}`` in `text` with its value in params.yaml."""

    def value(match: re.Match[str]) -> str:
        filling = lookup(values, match[1])
        if filling is None:
            raise GraphError(
                f"the stage uses {match[0]}, which is not in {PARAMS_FILE}",
                where=f"{DVC_FILE}: stages.{stage}",
                fix=f"Add the key to {PARAMS_FILE}, or correct its name in {DVC_FILE}.",
            )
        return str(filling)

    return _PLACEHOLDER.sub(value, text)
