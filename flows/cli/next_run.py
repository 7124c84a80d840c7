"""Find out what a command needs to know about the next run, without changing any file."""

from pathlib import Path
from typing import Any, NamedTuple

from flows.dvc.workspace import find_workspace
from tasks.lib.core.errors import ParamError


class NextRun(NamedTuple):
    """The parameters of the next run, and what the workspace already has for it."""

    workspace: Path
    values: dict[str, Any]  # params.yaml with the overrides
    is_grouped: bool  # whether the workspace has prompts made with these values


def read_next_run(overrides: list[str], route: str | None = None) -> NextRun:
    """Return the values of params.yaml with the overrides.

    Raises:
        ParamError: An override is wrong, or the records have not been read with these values.
    """
    from flows.dvc.overrides import preview as preview_values  # noqa: PLC0415
    from flows.dvc.plan import stale_before  # noqa: PLC0415

    workspace = find_workspace(Path.cwd())
    values, changes = preview_values(workspace, overrides)
    if route is not None:
        section = values["llm_select"]
        others = [alias for alias in section["fallback_routes"] if alias != route]
        values["llm_select"] = section | {"route": route, "fallback_routes": others}
    is_grouped = not stale_before(workspace, "llm_select", changes)
    stale = [] if is_grouped else stale_before(workspace, "embed", changes)
    if stale:
        raise ParamError(
            "the records have not been read yet, or are out of date",
            where=f"stages {', '.join(stale)}",
            fix="Set the keys of these stages in params.yaml and run `dvc repro dedupe` first; it "
            "calls no model and costs nothing.",
        )
    return NextRun(workspace, values, is_grouped)
