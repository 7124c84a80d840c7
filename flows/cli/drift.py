"""Find where Prefect, DVC and MLflow disagree about the last run in a workspace."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

from flows.cli.diagnosis import Diagnosis, Status
from flows.cli.machine_checks import own_file, prefect_urls
from flows.dvc.workspace import run_lock
from flows.identity import LOCK_TAG, Identity, flow_run_file, lock_hash, read_identity
from flows.service_checks import http_fault
from flows.tracking.store import read_tags, tracking_fault
from flows.tracking.unrecorded import kept_folders
from tasks.lib.core.errors import CurationError, DataError

AGAIN = "Run `selectllm run`, which records the workspace as it is."


def drift(workspace: Path) -> Iterator[Diagnosis]:
    """Yield each point on which the last run's records disagree, or one line if they all agree."""
    found = [*_lost_run(workspace), *_unrecorded(workspace)]
    identity = read_identity(workspace)
    if identity:
        found += _changed(workspace, identity)
    yield from found
    if not found:
        agree = f"Prefect, dvc.lock and MLflow agree on run {identity.run_id}" if identity else ""
        yield Diagnosis(Status.OK, f"last run: {agree or 'none is recorded here yet'}")


def _lost_run(workspace: Path) -> Iterator[Diagnosis]:
    """Find a run that Prefect shows as Running although no process works in the workspace."""
    path = flow_run_file(workspace)
    if not path.exists():
        return
    try:
        with run_lock(workspace):
            run_id = path.read_text(encoding="utf-8").strip()
    except CurationError:
        return  # a run is in progress here, or the disk is read-only, which another check reports
    if _prefect_state(run_id) in ("RUNNING", "CANCELLING"):
        what = f"last run: Prefect shows run {run_id} as running, but its process is gone"
        fix = "Run `selectllm run`, which marks that run as Crashed and continues its work."
        yield Diagnosis(Status.WARNING, what, fix)


def _prefect_state(run_id: str) -> str:
    """Return the type of a flow run's state; empty if Prefect is unreachable or lacks the run."""
    try:
        url, database = prefect_urls()
    except DataError:
        return ""
    path = own_file(url, database)
    if path and path.exists():
        with closing(sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)) as db:
            try:
                row = db.execute("SELECT state_type FROM flow_run WHERE id = ?", (run_id,))
                return next((str(state) for (state,) in row), "")
            except sqlite3.Error:
                return ""
    if not url or http_fault(url):
        return ""
    from prefect import get_client  # noqa: PLC0415  seconds
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415

    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return ""
    return state.type.value if state else ""


def _unrecorded(workspace: Path) -> Iterator[Diagnosis]:
    kept = len(kept_folders(workspace))
    if kept:
        fix = "Run `selectllm run` once MLflow can be used; it records them."
        yield Diagnosis(Status.WARNING, f"last run: MLflow lacks {kept} runs", fix)


def _changed(workspace: Path, identity: Identity) -> Iterator[Diagnosis]:
    """Compare dvc.lock, as it is now and as MLflow recorded it, with the last run's."""
    run = f"run {identity.run_id}"
    if lock_hash(workspace) != identity.lock:
        yield Diagnosis(Status.WARNING, f"last run: dvc.lock has changed since {run}", AGAIN)
    if not identity.mlflow_run_id or tracking_fault(workspace, reads_all=False):
        return
    tags = read_tags(workspace, identity.mlflow_run_id)
    if tags is None:
        yield Diagnosis(Status.WARNING, f"last run: MLflow does not have {run}", AGAIN)
    elif tags.get(LOCK_TAG) != identity.lock:
        yield Diagnosis(
            Status.WARNING, f"last run: MLflow has {run} with a different dvc.lock", AGAIN
        )
