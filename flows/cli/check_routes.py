"""Stop a run before its first stage if its routes cannot judge, and warn of what may go wrong."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli import console
from tasks.lib.core.dvc_yaml import Graph
from tasks.lib.core.params import PARAMS_FILE, read_params

if TYPE_CHECKING:
    from tasks.estimate.route_readiness import Readiness, RouteFinding

JUDGE = "llm_select"


class RouteCheck:
    """Checks the routes of a run before its first stage, and again once the prompts are known.

    It does nothing if the run calls no model.

    Args:
        graph: The graph of the run.
        workspace: The workspace of the run.
        stale: The stages that DVC reports as changed.
    """

    def __init__(self, graph: Graph, workspace: Path, stale: Collection[str]) -> None:
        needed = {JUDGE}
        for stage in reversed(graph.stages):
            needed.update(stage.upstream if stage.name in needed else ())
        is_judged = any(stage.name == JUDGE for stage in graph.stages)
        self._is_needed = is_judged and not needed.isdisjoint(stale)
        self._workspace = workspace
        self._readiness: Readiness | None = None

    def before_the_run(self) -> None:
        """Check keys, prices, retirements, endpoints, and the longest prompt that is allowed.

        Raises:
            ParamError: A route cannot judge.
        """
        if self._is_needed:
            from tasks.estimate.longest_prompt import worst_sizes  # noqa: PLC0415

            values = read_params(self._workspace / PARAMS_FILE)
            self._readiness = make_readiness(values)
            sizes = worst_sizes(values, self._workspace) if self._readiness.has_models else None
            require(self._readiness.findings(sizes))

    def before(self, stage: str) -> None:
        """Check the longest prompt, measured on its actual texts, before the stage that sends it.

        Raises:
            ParamError: A route cannot read even one candidate.
        """
        if stage == JUDGE and self._readiness and self._readiness.has_models:
            from tasks.estimate.longest_prompt import exact_sizes  # noqa: PLC0415
            from tasks.estimate.quote_selection import read_setup  # noqa: PLC0415
            from tasks.estimate.tokens_needed import prompt_tokens  # noqa: PLC0415

            values = read_params(self._workspace / PARAMS_FILE)
            setup = read_setup(self._workspace, values, is_grouped=True)
            sizes = exact_sizes(setup, prompt_tokens(setup))
            require(self._readiness.size_findings(sizes))


def make_readiness(values: Mapping[str, Any]) -> "Readiness":
    """Return the routes of a run with these parameters, to be checked as of today."""
    from tasks.estimate.route_readiness import Readiness  # noqa: PLC0415

    return Readiness(values, date.today())


def require(findings: Iterable["RouteFinding"]) -> None:
    """Print the findings as warnings, and raise the first fatal one.

    Raises:
        ParamError: A finding is fatal.
    """
    found = list(findings)
    warn(finding for finding in found if not finding.is_fatal)
    for finding in found:
        if finding.is_fatal:
            raise finding.error


def warn(findings: Iterable["RouteFinding"]) -> None:
    """Print findings as warnings, each with its fix on the next line."""
    for finding in findings:
        console.warning(f"{finding.where}: {finding.what}", finding.fix)
