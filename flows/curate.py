"""The flow that brings every stage up to date, in order, and logs the run.

Its parameters apply to one run (see run_parameters.py); the flow never edits params.yaml. Only
`selectllm run -S` edits it, before starting ``python -m flows.curate``.
"""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import httpx
from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.cli import console
from flows.cli.check_routes import RouteCheck
from flows.cli.machine_checks import require_surroundings
from flows.cli.supervise import end_with_supervisor
from flows.cli.used_answers import used_answers
from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.commit_clone import clean_clone, share
from flows.dvc.run_parameters import as_overrides, own_workspace
from flows.dvc.workspace import find_workspace, run_lock
from flows.identity import identify
from flows.lost_runs import claim
from flows.lost_server import end_with_own_server
from flows.prefect_pages import announce_failure, announce_results, publish, publish_results
from flows.stage_task import Done, Run, stage_task
from flows.tracking import markdown
from flows.tracking.log_run import EndedRun, log_run
from flows.tracking.store import prepare
from tasks.lib.core.dvc_yaml import Graph, StageSpec, read_graph
from tasks.lib.core.errors import CAPPED, INTERRUPTED, CurationError, DataError, VariantFailed
from tasks.lib.core.format_text import visible_line

PARTIAL = "Partial"

Budget = Annotated[int, Field(ge=1)]


@flow(name="curate", validate_parameters=True, persist_result=False)
def curate(
    source: str | None = None,
    budget: Budget | list[Budget] | None = None,
    route: str | None = None,
    override: list[str] | None = None,
    commit: str | None = None,
) -> State[None] | None:
    """Choose the records most worth annotating from a pool without labels.

    Stages of dvc.yaml with changed inputs run; the others are Cached. Parameters apply only to this
    run: params.yaml does not change, and the run uses its own workspace under .selectllm/runs. The
    run's log and its artifact "parameters" say where its outputs are.

    Args:
        source: The file with the pool; by default the file in params.yaml.
        budget: The number of records to select, or several numbers; by default as in params.yaml.
        route: The alias of the judging model; by default the route in params.yaml.
        override: Other keys of params.yaml to set for this run, each as key=value.
        commit: A commit, such as HEAD, to run in a clean clone that pulls from the DVC remote and
            pushes to it; by default the run uses the files of this folder as they are.
    """
    given = {"ingest.source": source, "llm_select.budget": budget, "llm_select.route": route}
    sets = [*as_overrides(given), *(override or [])]
    try:
        user_workspace = find_workspace(Path.cwd())
        with run_lock(user_workspace) as lock:
            if commit:
                workspace = _clone(user_workspace, commit, sets)
            else:
                workspace = _workspace(user_workspace, sets)
            run = Run(workspace, str(flow_run.id), lock, user_workspace, ", ".join(sets))
            claim(user_workspace, run.id)
            graph = read_graph(workspace)
            _run_all(graph, run)
            if commit:
                share(workspace, "push")
        capped = console.capped(graph, workspace)
    except CurationError as error:
        return Failed(message=str(error), data=error)  # raising it would print a traceback
    return Completed(name=PARTIAL, message=capped) if capped else None


def _workspace(user_workspace: Path, sets: Sequence[str]) -> Path:
    """Check the parameters, and return the workspace of the run.

    This is the user's workspace if there are no parameters. Otherwise, the run gets its own
    workspace, and logs and publishes what the parameters change.
    """
    if not sets:
        overrides.checked(user_workspace, [])
        return user_workspace
    workspace, changes = own_workspace(user_workspace, sets)
    for key, old, new in changes:
        get_run_logger().info("Only for this run: %s = %r (params.yaml: %r)", key, new, old)
    get_run_logger().info("This run works in %s", visible_line(str(workspace)))
    _publish_parameters(workspace, changes)
    return workspace


def _clone(user_workspace: Path, commit: str, sets: Sequence[str]) -> Path:
    """Return a clean clone of a commit, with the run's parameters in its params.yaml."""
    workspace = clean_clone(user_workspace, commit)
    changes = overrides.apply(workspace, sets)
    get_run_logger().info("This run works in %s", visible_line(str(workspace)))
    _publish_parameters(workspace, changes)
    return workspace


def _publish_parameters(workspace: Path, changes: Sequence[overrides.Change]) -> None:
    text = markdown.parameters(read_graph(workspace), workspace, changes)
    publish(text, "parameters", "What this run sets, and where its results are")


def _run_all(graph: Graph, run: Run) -> None:
    """Run the stages, log the run, and raise the first failure or show the results."""
    prepare(run.user_workspace)
    done = run_stages(graph, run)
    logged = log_run(EndedRun(graph, run, done, used_answers))
    identity = replace(identify(run.id, run.workspace), mlflow_run_id=logged.run_id)
    identity.write(run.workspace)
    publish(markdown.identity(identity, logged.run_page), "identity", "Its MLflow page and commit")
    announce_failure(run.workspace, done)
    raise_failure(done)
    publish_results(graph, run.workspace)
    announce_results(graph, run.workspace, done, console.capped(graph, run.workspace))
    console.summary(graph, run.workspace, logged.runs_page)
    if run.workspace != run.user_workspace:
        for what, path in console.results(graph, run.workspace):
            get_run_logger().info("%s: %s", what, visible_line(str(path)))


def run_stages(graph: Graph, run: Run) -> dict[str, Done]:
    """Bring every stage up to date, in order, and return how each stage ended.

    Raises:
        ParamError: A route cannot judge; nothing has run, or only the stages before the judge.
    """
    stale = set(dvc.status(run.workspace))
    routes = RouteCheck(graph, run.workspace, stale)
    routes.before_the_run()
    done: dict[str, Done] = {}
    for stage in graph.stages:
        is_current = stage.name not in stale and stale.isdisjoint(stage.upstream)
        if not is_current:
            stale.add(stage.name)  # its outputs may be new, so later stages must check with DVC
            if not any(done[name].state.is_failed() for name in stage.upstream):
                routes.before(stage.name)
        done[stage.name] = _run_one(stage, run, done, is_current)
    return done


def raise_failure(done: Mapping[str, Done]) -> None:
    """Raise the error of the first failed stage, if any.

    Raises:
        StageFailed: A stage failed.
    """
    failed = [end.state for end in done.values() if end.state.is_failed()]
    if failed:
        failed[0].result()


def _run_one(stage: StageSpec, run: Run, done: Mapping[str, Done], is_current: bool) -> Done:
    """Run a stage after its upstream stages; if any of them failed, the stage stays NotReady."""
    before = [done[name].state for name in stage.upstream]
    start = time.monotonic()
    state = stage_task(stage)(stage, run, is_current=is_current, wait_for=before, return_state=True)
    return Done(state, time.monotonic() - start)


def run_as_program(run_flow: Callable[[], State[Any]]) -> int:
    """Run a flow, print its error if there is one, and return the exit status of `selectllm`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    end_with_supervisor()
    if "--json" in sys.argv:
        console.use_json(is_set=True)
    try:
        require_surroundings(find_workspace(Path.cwd()))
        with end_with_own_server():
            state = run_flow()
        state.result()
    except VariantFailed as error:
        return error.exit_code  # the failures have been printed below the table
    except CurationError as error:
        console.failed(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "Prefect API server" not in str(error):
            raise
        failure = _prefect_failed(error)
        console.failed(failure)
        return failure.exit_code
    return CAPPED if state.name == PARTIAL else 0


def _prefect_failed(error: Exception) -> DataError:
    """Describe a failure of Prefect's API, to replace its client's traceback."""
    what = str(error).partition("\n")[0].partition(" stdout:")[0] or type(error).__name__
    fix = "Run `selectllm doctor`, then run this again to continue; finished stages are Cached."
    return DataError(f"the API failed: {what}", where="Prefect", fix=fix)


if __name__ == "__main__":
    raise SystemExit(run_as_program(lambda: curate(return_state=True)))
