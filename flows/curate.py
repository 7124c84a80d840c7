"""The flow: bring every stage up to date, in order, and record the run.

Its parameters hold for one run (see run_parameters.py); the flow never edits params.yaml. The edits
of `selectllm run -S` are made by the command, before it starts ``python -m flows.curate``.
"""

import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from flows.cli import console as show
from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.graph import Graph, Stage, read_graph
from flows.dvc.run_parameters import as_overrides, own_workspace
from flows.dvc.workspace import find_root, sole_run
from flows.errors import FlowError
from flows.stage_task import Done, Run, stage_task
from flows.tracking import log_run as record
from flows.tracking import markdown
from flows.tracking.store import warm_up

PARTIAL = "Partial"
CAPPED = 3
INTERRUPTED = 130

Budget = Annotated[int, Field(ge=1)]


@flow(name="curate", validate_parameters=True, persist_result=False)
def curate(
    source: str | None = None,
    budget: Budget | list[Budget] | None = None,
    route: str | None = None,
    override: list[str] | None = None,
) -> State[None] | None:
    """Choose the records most worth annotating out of a pool, with no labels.

    Runs every stage of dvc.yaml whose inputs changed; the others are Cached. Parameters hold for
    this run alone: params.yaml stays as it is, and the run works in a workspace of its own below
    .selectllm/runs. The run's log and its artifact "parameters" say where its outputs are.

    Args:
        source: File with the pool; none: as params.yaml says.
        budget: How many records to select, or several budgets; none: as params.yaml says.
        route: Alias of the model that judges; none: as params.yaml says.
        override: Further keys of params.yaml to set for this run, each as key=value.
    """
    given = {"ingest.source": source, "llm_select.budget": budget, "llm_select.route": route}
    sets = [*as_overrides(given), *(override or [])]
    try:
        root = find_root(Path.cwd())
        with sole_run(root) as lock:
            space = _workspace(root, sets)
            run = Run(space, str(flow_run.id or uuid.uuid4()), lock, root, ", ".join(sets))
            graph = read_graph(space)
            _run_all(graph, run)
    except FlowError as error:
        return Failed(message=str(error), data=error)  # raised, it would print a traceback
    capped = show.capped(graph, space)
    return Completed(name=PARTIAL, message=capped) if capped else None


def _workspace(root: Path, sets: Sequence[str]) -> Path:
    """Return the folder to work in, its parameters checked: the user's, or the run's own.

    The log and the page of a run with parameters say what they change, and where it works.
    """
    if not sets:
        overrides.checked(root, [])
        return root
    space, changes = own_workspace(root, sets)
    for key, old, new in changes:
        get_run_logger().info("For this run alone: %s = %r (params.yaml: %r)", key, new, old)
    get_run_logger().info("This run works in %s", space)
    publish(markdown.parameters(read_graph(space), space, changes), "parameters")
    return space


def _run_all(graph: Graph, run: Run) -> None:
    """Run the stages, record the outcome, and raise the first failure."""
    warm_up()
    done = run_stages(graph, run)
    record.record(graph, run, done)
    raise_failure(done)
    publish(markdown.run_summary(graph, run.root), "summary")
    show.summary(graph, run.root)
    if run.sets:
        for what, path in show.results(graph, run.root):
            get_run_logger().info("%s: %s", what, path)


def run_stages(graph: Graph, run: Run) -> dict[str, Done]:
    """Bring every stage up to date, in order, and tell how each ended."""
    stale = set(dvc.status(run.root))
    done: dict[str, Done] = {}
    for stage in graph.stages:
        is_current = stage.name not in stale and stale.isdisjoint(stage.upstream)
        if not is_current:
            stale.add(stage.name)  # what it makes may be new, so those behind it must ask DVC
        done[stage.name] = _run_one(stage, run, done, is_current)
    return done


def raise_failure(done: Mapping[str, Done]) -> None:
    """Raise what the first failed stage says, if one failed.

    Raises:
        StageFailed: What it says.
    """
    failed = [end.state for end in done.values() if end.state.is_failed()]
    if failed:
        failed[0].result()


def publish(text: str, key: str) -> None:
    """Show a text on the page of the Prefect run, unless it is empty."""
    if text:
        create_markdown_artifact(text, key=key)


def _run_one(stage: Stage, run: Run, done: Mapping[str, Done], is_current: bool) -> Done:
    """Run one stage after its upstream; a stage behind a failed one is left NotReady."""
    before = [done[name].state for name in stage.upstream]
    start = time.monotonic()
    state = stage_task(stage)(stage, run, is_current=is_current, wait_for=before, return_state=True)
    return Done(state, time.monotonic() - start)


def main() -> int:
    """Run the flow as params.yaml says; the exit status of `selectllm run`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        state = curate(return_state=True)
        state.result()
    except FlowError as error:
        show.failed(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return CAPPED if state.name == PARTIAL else 0


if __name__ == "__main__":
    raise SystemExit(main())
