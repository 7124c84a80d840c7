"""The flow of `selectllm compare`: run every variant in params.yaml and compare the results.

Each variant is a run of the same graph in its own workspace (see variants.py). A failed variant
does not stop the others. `selectllm compare` runs this module as a supervised program.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.cli import console, show_comparison
from flows.cli.used_answers import used_answers
from flows.curate import PARTIAL, raise_failure, run_as_program, run_stages
from flows.dvc import command as dvc
from flows.dvc.variants import Variant, make_workspaces, read_variants
from flows.dvc.workspace import find_workspace, run_lock
from flows.lost_runs import claim
from flows.prefect_pages import publish, publish_results
from flows.stage_task import Done, Run
from flows.tracking import markdown, paper
from flows.tracking.comparison import Outcome, VariantState
from flows.tracking.leading_metrics import leading
from flows.tracking.log_comparison import log_comparison
from flows.tracking.log_run import EndedRun, output_hashes
from flows.tracking.store import prepare
from tasks.lib.core.dvc_yaml import Graph, read_graph
from tasks.lib.core.errors import CurationError, VariantFailed
from tasks.lib.documents.metrics import OURS, Metrics
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage


@flow(name="compare", validate_parameters=True, persist_result=False)
def compare(override: list[str] | None = None) -> State[None] | None:
    """Run the variants in the compare section of params.yaml, and log them side by side.

    Stages that a variant has already run are Cached; the workspace itself does not change.

    Args:
        override: Changes that all variants share, each as key=value.
    """
    try:
        user_workspace = find_workspace(Path.cwd())
        with run_lock(user_workspace) as lock:
            claim(user_workspace, str(flow_run.id))
            variants = read_variants(user_workspace, override or [])
            prepare(user_workspace)
            workspaces = make_workspaces(user_workspace, variants)
            ended = [
                _run_variant(variant, Run(path, "", lock, user_workspace))
                for variant, path in zip(variants, workspaces, strict=True)
            ]
            outcomes, ends = [outcome for outcome, _ in ended], [end for _, end in ended]
            publish(markdown.comparison(outcomes), "comparison", "The variants side by side")
            tables = paper.write_tables(user_workspace, outcomes)
            address = log_comparison(user_workspace, outcomes, ends, tables)
            show_comparison.comparison(outcomes, address, tables)
    except CurationError as error:
        return Failed(message=str(error), data=error)  # raising it would print a traceback
    return _state(outcomes)


def _state(outcomes: Sequence[Outcome]) -> State[None] | None:
    """Return the state of the flow run: Failed or Partial if any variant is, otherwise None."""
    failed = [f"{o.name}: {o.failure}" for o in outcomes if o.state is VariantState.FAILED]
    if failed:
        error = VariantFailed(
            "\n".join([f"{len(failed)} of {len(outcomes)} variants failed", *failed]),
            where="compare",
            fix="Fix these variants, then run this again; the others are Cached.",
        )
        return Failed(message=str(error), data=error)
    partial = [o.name for o in outcomes if o.state is VariantState.PARTIAL]
    if partial:
        return Completed(name=PARTIAL, message=f"partial selections: {', '.join(partial)}")
    return None


def _run_variant(variant: Variant, run: Run) -> tuple[Outcome, EndedRun]:
    """Run one variant as its own flow, which ends at once if DVC reports no changes.

    The run has the same id as its flow run in Prefect.
    """
    graph = read_graph(run.workspace)
    done: dict[str, Done] = {}

    def stages() -> State[None] | None:
        try:
            if not dvc.status(run.workspace):
                current: State[None] = Completed(name="Cached", message="unchanged")
                done.update({stage.name: Done(current, 0.0) for stage in graph.stages})
                return current
            done.update(run_stages(graph, replace(run, id=str(flow_run.id))))
            raise_failure(done)
        except CurationError as error:
            return Failed(message=str(error), data=error)
        publish_results(graph, run.workspace)
        return None

    as_flow = flow(stages, name="variant", flow_run_name=variant.name, persist_result=False)  # type: ignore[call-overload]
    state = as_flow(return_state=True)
    run = replace(run, id=str(state.state_details.flow_run_id))
    end = EndedRun(graph, run, done, used_answers)
    if state.is_failed():
        where = next((name for name, end in done.items() if end.state.is_failed()), "its start")
        return Outcome(variant, failure=f"{where}: {state.message}"), end
    return _outcome(variant, graph, run.workspace, done), end


def _outcome(variant: Variant, graph: Graph, workspace: Path, done: dict[str, Done]) -> Outcome:
    import pyarrow.parquet as pq  # noqa: PLC0415

    metrics = console.load(graph, workspace, "metrics", Metrics)
    selections = [workspace / out.path for out in graph.outs("selection")]
    ids = [id_ for path in selections for id_ in pq.read_table(path, columns=["id"])[0].to_pylist()]
    return Outcome(
        variant=variant,
        hashes=output_hashes(workspace),
        usage=console.load(graph, workspace, "usage", Usage),
        metrics=leading(metrics),
        ours=metrics.methods.get(OURS) if metrics else None,
        savings=console.load(graph, workspace, "savings", Savings),
        ids=frozenset(map(str, ids)),
        n_stages=len(done),
        n_ran=sum(end.state.name == "Completed" for end in done.values()),
    )


if __name__ == "__main__":
    sets = [word for word in sys.argv[1:] if word != "--json"]
    raise SystemExit(run_as_program(lambda: compare(override=sets, return_state=True)))
