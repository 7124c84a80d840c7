"""The flow of `selectllm evaluate`: fine-tune on the selection and on random records, and compare.

It runs its own graph in its own workspace (see flows/dvc/evaluation.py). The command runs this
module as a supervised program.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.cli import console, show_evaluation
from flows.curate import raise_failure, run_as_program, run_stages
from flows.dvc.evaluation import copy_results, evaluation_workspace
from flows.dvc.evaluation import plan as make_plan
from flows.dvc.workspace import find_workspace
from flows.lost_runs import claim
from flows.prefect_pages import publish
from flows.stage_task import Done, Run
from flows.tracking.log_evaluation import log_evaluation
from flows.tracking.log_run import took_s
from flows.tracking.store import prepare
from tasks.lib.core.dvc_yaml import Graph, read_graph
from tasks.lib.core.errors import CurationError
from tasks.lib.documents.evaluation import Evaluation

PLAN = "--plan"


@flow(name="evaluate", validate_parameters=True, persist_result=False)
def evaluate(override: list[str] | None = None, plan: bool = False) -> State[None] | None:
    """Fine-tune a model on each arm in the evaluate section, and compare the models.

    Models that have already been trained are not trained again.

    Args:
        override: Keys of the evaluate section to set for this evaluation, each as key=value.
        plan: Only plan it, after a few probe steps.
    """
    try:
        user_workspace = find_workspace(Path.cwd())
        with evaluation_workspace(user_workspace, override or []) as space:
            if space.stale:
                get_run_logger().warning(
                    "The selection is out of date (stages %s): run `selectllm run` to update it",
                    ", ".join(space.stale),
                )
            run = Run(space.path, str(flow_run.id), space.lock, user_workspace)
            claim(space.path, run.id)
            graph = read_graph(space.path)
            wanted = Graph(graph.stages[:1]) if plan else graph
            if not plan:
                prepare(user_workspace)
            done = run_stages(wanted, run)
            raise_failure(done)
            if plan:
                show_evaluation.plan(make_plan(space.path, user_workspace))
            else:
                _end(run, graph, done)
    except CurationError as error:
        return Failed(message=str(error), data=error)  # raising it would print a traceback
    return None


def _end(run: Run, graph: Graph, done: Mapping[str, Done]) -> None:
    """Copy the results to the user's workspace, log them if they are new, and print them."""
    result = console.load(graph, run.workspace, "evaluation", Evaluation)
    folder = copy_results(run.workspace, run.user_workspace)
    if result is None:
        return
    table = show_evaluation.markdown(result)
    if any(end.state.name == "Completed" for end in done.values()):
        publish(table, "evaluation", "What the fine-tuned models say")
        log_evaluation(run, result, folder, table, took_s(done))
    show_evaluation.result(result, folder)


if __name__ == "__main__":
    sets = [word for word in sys.argv[1:] if word not in ("--json", PLAN)]
    is_plan = PLAN in sys.argv
    raise SystemExit(
        run_as_program(lambda: evaluate(override=sets, plan=is_plan, return_state=True))
    )
