"""Close in Prefect what a killed run left open there, since it could not report its own end.

Without this, Prefect would show the run as Running forever.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.identity import flow_run_file

UNFINISHED = {StateType.RUNNING, StateType.CANCELLING}


def claim(workspace: Path, run_id: str) -> None:
    """Record that a run has started in a workspace, and close the previous run if it was killed.

    The caller holds the lock of the workspace, so no other run works there.
    """
    path = flow_run_file(workspace)
    before = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if before and before != run_id:
        with get_client(sync_client=True) as client, suppress(ObjectNotFound, ValueError):
            _end(client, UUID(before))
    path.write_text(run_id, encoding="utf-8")


def _end(client: SyncPrefectClient, run_id: UUID) -> None:
    """Set a run, its variants and its stages to Crashed, if they are unfinished."""
    is_unfinished = _is_unfinished(client.read_flow_run(run_id).state)
    if not is_unfinished:
        return
    crashed: State[Any] = Crashed(
        message="The process of this run was killed. Run it again to continue."
    )
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    of_variants = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]))
    for these in (of_variants, of_run):
        for task in client.read_task_runs(flow_run_filter=these):
            if _is_unfinished(task.state):
                client.set_task_run_state(task.id, crashed, force=True)
        for run in client.read_flow_runs(flow_run_filter=these):
            if _is_unfinished(run.state):
                client.set_flow_run_state(run.id, crashed, force=True)


def _is_unfinished(state: State[Any] | None) -> bool:
    return state is not None and state.type in UNFINISHED
