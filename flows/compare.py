"""The flow of `selectllm compare`: run every variant of params.yaml, and put them side by side.

Each variant is a run of the same graph in a workspace of its own (see variants.py); one that fails
does not stop the others. As a program it is what `selectllm compare` supervises.
"""

import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.cli import console as show
from flows.curate import CAPPED, INTERRUPTED, publish, raise_failure, run_stages
from flows.dvc import command as dvc
from flows.dvc.graph import Graph, read_graph
from flows.dvc.variants import Variant, lay_out, read_variants
from flows.dvc.workspace import find_root, sole_run
from flows.errors import FlowError, VariantFailed
from flows.stage_task import Done, Run
from flows.tracking import log_comparison as record_comparison
from flows.tracking import markdown
from flows.tracking.comparison import DONE, FAILED, Outcome
from flows.tracking.log_run import output_hashes
from flows.tracking.metrics import leading
from flows.tracking.store import warm_up


@flow(name="compare", validate_parameters=True, persist_result=False)
def compare(override: list[str] | None = None) -> State[None] | None:
    """Run the variants of params.yaml: compare, and record them side by side.

    What any of them has made before is Cached; the workspace itself stays as it is.

    Args:
        override: Changes that all variants share, each as key=value.
    """
    try:
        root = find_root(Path.cwd())
        with sole_run(root) as lock:
            variants = read_variants(root, override or [])
            warm_up()
            outcomes, ends = [], []
            for variant, space in zip(variants, lay_out(root, variants), strict=True):
                run = Run(space, str(uuid.uuid4()), lock, root)
                outcome, done = _run_variant(variant, run)
                outcomes.append(outcome)
                ends.append((run, done))
            publish(markdown.comparison(outcomes), "comparison")
            url = record_comparison.record(root, outcomes, ends)
            show.comparison(outcomes, url)
    except FlowError as error:
        return Failed(message=str(error), data=error)  # raised, it would print a traceback
    return _verdict(outcomes)


def _verdict(outcomes: Sequence[Outcome]) -> State[None] | None:
    failed = [f"{o.name}: {o.failure}" for o in outcomes if o.state == FAILED]
    if failed:
        n = f"{len(failed)} of {len(outcomes)} variants failed"
        error = VariantFailed("\n".join([n, *failed]))
        return Failed(message=str(error), data=error)
    partial = [o.name for o in outcomes if o.state != DONE]
    if partial:
        return Completed(name="Partial", message=f"only a part selected: {', '.join(partial)}")
    return None


def _run_variant(variant: Variant, run: Run) -> tuple[Outcome, dict[str, Done]]:
    """Run one variant as a flow of its own; if DVC finds nothing to do there, at once."""
    graph = read_graph(run.root)
    done: dict[str, Done] = {}

    def stages() -> State[None] | None:
        try:
            if not dvc.status(run.root):
                current: State[None] = Completed(name="Cached", message="unchanged")
                done.update({stage.name: Done(current, 0.0) for stage in graph.stages})
                return current
            done.update(run_stages(graph, run))
            raise_failure(done)
        except FlowError as error:
            return Failed(message=str(error), data=error)
        publish(markdown.run_summary(graph, run.root), "summary")
        return None

    name = variant.name
    as_flow = flow(stages, name="variant", flow_run_name=name, persist_result=False)  # type: ignore[call-overload]
    state = as_flow(return_state=True)
    if state.is_failed():
        where = next((name for name, end in done.items() if end.state.is_failed()), "its start")
        return Outcome(variant, failure=f"{where}: {state.message}"), done
    return _outcome(variant, graph, run.root, done), done


def _outcome(variant: Variant, graph: Graph, root: Path, done: dict[str, Done]) -> Outcome:
    import pyarrow.parquet as pq  # noqa: PLC0415

    selections = [root / out.path for out in graph.outs("selection")]
    ids = [id_ for path in selections for id_ in pq.read_table(path, columns=["id"])[0].to_pylist()]
    return Outcome(
        variant=variant,
        hashes=output_hashes(root),
        usage=show.load(graph, root, "usage"),
        figures=leading(show.load(graph, root, "metrics")),
        ids=frozenset(map(str, ids)),
        n_stages=len(done),
        n_ran=sum(end.state.name == "Completed" for end in done.values()),
    )


def main(overrides: list[str]) -> int:
    """Run the flow with these overrides; the exit status of `selectllm compare`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        state = compare(override=overrides, return_state=True)
        state.result()
    except VariantFailed as error:
        return error.exit_code  # what failed stands below the table
    except FlowError as error:
        show.failed(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return CAPPED if state.name == "Partial" else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
