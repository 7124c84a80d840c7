"""dvc.yaml, read once into frozen stages in an order that can be run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.errors import GraphError

_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Out:
    """An output of a stage; `type` is dvc.yaml's annotation of what it is to a reader."""

    path: str
    type: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage: `deps` and `params` with their placeholders filled in, `upstream` by name."""

    name: str
    desc: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[Out, ...]
    retries: int
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """All stages, every one after those it depends on, otherwise in the file's order."""

    stages: tuple[Stage, ...]

    def outs(self, type_: str) -> list[Out]:
        """The outputs that dvc.yaml annotates with this type."""
        return [out for stage in self.stages for out in stage.outs if out.type == type_]


def read_graph(root: Path) -> Graph:
    """The graph that `root`/dvc.yaml declares, with values from `root`/params.yaml.

    Raises:
        GraphError: There is no dvc.yaml, a placeholder names no parameter, or stages form a cycle.
    """
    declared = load_yaml(root / "dvc.yaml")["stages"]
    values = load_yaml(root / "params.yaml")
    maker = {_out(e).path: name for name, stage in declared.items() for e in stage.get("outs", [])}
    stages = {name: _stage(name, body, values, maker) for name, body in declared.items()}
    order = TopologicalSorter({name: stage.upstream for name, stage in stages.items()})
    try:
        return Graph(tuple(stages[name] for name in order.static_order()))
    except CycleError as error:
        raise GraphError(f"dvc.yaml: stages form a cycle: {' -> '.join(error.args[1])}") from None


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML 1.2 file as plain values.

    Raises:
        GraphError: There is no such file.
    """
    if not path.is_file():
        raise GraphError(
            f"{path}: there is no such file\n  Run this inside a clone of SelectLLM, "
            "or of a project with a dvc.yaml and a params.yaml."
        )
    values: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return values


def _stage(
    name: str, body: Mapping[str, Any], values: Mapping[str, Any], maker: Mapping[str, str]
) -> Stage:
    deps = tuple(_fill(dep, values, name) for dep in body.get("deps", []))
    upstream = dict.fromkeys(maker[dep] for dep in deps if dep in maker)
    return Stage(
        name=name,
        desc=body.get("desc", ""),
        deps=deps,
        params=tuple(_fill(param, values, name) for param in body.get("params", [])),
        outs=tuple(_out(entry) for entry in body.get("outs", [])),
        retries=body.get("meta", {}).get("retries", 0),
        upstream=tuple(upstream),
    )


def _out(entry: str | Mapping[str, Any]) -> Out:
    if isinstance(entry, str):
        return Out(entry)
    path, options = next(iter(entry.items()))
    return Out(path, options.get("type", ""))


def _fill(text: str, values: Mapping[str, Any], stage: str) -> str:
    """`text` with each ``${section.key}`` replaced by its value in params.yaml."""

    def value(match: re.Match[str]) -> str:
        found: Any = values
        for key in match[1].split("."):
            if not isinstance(found, Mapping) or key not in found:
                raise GraphError(
                    f"dvc.yaml: stages.{stage} uses {match[0]}, which params.yaml does not have"
                )
            found = found[key]
        return str(found)

    return _PLACEHOLDER.sub(value, text)
