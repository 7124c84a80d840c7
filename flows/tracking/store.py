"""Write runs to MLflow's store, completely or not at all."""

import getpass
import importlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows.service_checks import database_fault, database_url_fault, http_fault
from tasks.lib.core.errors import DataError
from tasks.lib.core.format_text import visible
from tasks.lib.core.hiding import hide
from tasks.lib.core.private_file import make_private

EXPERIMENT = "selectllm"
KIND = ("mlflow.experimentKind", "custom_model_development")
"""Makes MLflow before 3.17 open the experiment on its runs. Later versions obey only the address or
the switch in the side bar, and otherwise open the traces page: see `Store.runs_page`."""
SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
"""Used after a failure: a server that stops answering delays the end of a run by at most 15 s."""
UNLOCK = "Stop the process that uses the file (`fuser` finds it), or correct its permissions."
MAX_TAG_CHARS = 5000  # MLflow allows 8000 for a run's tag, but 5000 for an experiment's
OWN_TABLES = {"experiments", "runs", "alembic_version"}


class Store:
    """MLflow, ready to log runs.

    Attributes:
        mlflow: The module.
        experiment_id: The experiment of all runs.
        missing: What could not be written in addition to the runs, and why.
    """

    def __init__(self, workspace: Path) -> None:
        uri = tracking_uri(workspace)
        fault = tracking_fault(workspace, reads_all=False)
        if fault:
            raise fault
        path = Path(uri.removeprefix(SQLITE))
        if uri.startswith(SQLITE) and path.parent.is_dir():
            make_private(path)
        import mlflow  # noqa: PLC0415  two seconds, see prepare

        self.mlflow: Any = mlflow
        self.missing: list[str] = []
        self._begun: list[str] = []
        mlflow.set_tracking_uri(uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            location = (workspace / "mlruns").as_uri() if uri.startswith("sqlite") else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        self.experiment_id: str = mlflow.set_experiment(EXPERIMENT).experiment_id
        if mlflow.get_experiment(self.experiment_id).tags.get(KIND[0]) != KIND[1]:
            mlflow.set_experiment_tag(*KIND)

    @property
    def runs_page(self) -> str:
        """The address of the page of all runs, relative to the server."""
        return f"#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    def run_page(self, run_id: str) -> str:
        """Return the address of a run's page, relative to the server."""
        return f"#/experiments/{self.experiment_id}/runs/{run_id}"

    @contextmanager
    def run(self, name: str | None, took_s: float = 0.0) -> Iterator[str]:
        """Open a run, as a child of the run that is already open, if any; yield its id.

        Args:
            name: The run's name; if None, MLflow makes up a name.
            took_s: The seconds that the run took, since it is logged after it has ended.
        """
        parent = self.mlflow.active_run()
        tags = {"mlflow.user": getpass.getuser()}
        if parent:
            tags["mlflow.parentRunId"] = parent.info.run_id
        run = self.mlflow.MlflowClient().create_run(
            self.experiment_id, int(1000 * (time.time() - took_s)), tags, name
        )
        self._begun.append(run.info.run_id)
        with self.mlflow.start_run(run.info.run_id, nested=True):
            yield run.info.run_id

    @contextmanager
    def optional(self, what: str) -> Iterator[None]:
        """Let the block write something that not every store supports; keep the runs if it fails.

        For example, MLflow's file store does not support evaluation datasets.
        """
        try:
            yield
        except Exception as error:
            os.environ.update(IMPATIENCE)
            self.missing.append(f"{what}: {_message(error)}")

    def roll_back(self) -> None:
        """Delete the runs that this object opened, if the store allows it."""
        for run_id in self._begun:
            with suppress(Exception):
                self.mlflow.delete_run(run_id)


def prepare(workspace: Path) -> None:
    """Warn before the work starts if the store cannot be used; otherwise import MLflow.

    The import takes seconds, so it runs in a thread while the first stages leave a core idle.
    """
    fault = tracking_fault(workspace)
    if fault:
        _warn(f"MLflow: {fault}\nThis run continues; a later run records it once MLflow is back.")
    else:
        threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()


def tracking_uri(workspace: Path) -> str:
    """Return the store's address: MLFLOW_TRACKING_URI, or what `mlflow ui` uses in `workspace`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace / 'mlflow.db'}"


def how_to_open(address: str) -> str:
    """Say how to open a page of MLflow; `address` is relative to its server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        return hide(f"open {uri.rstrip('/')}/{address}")
    return f"run `mlflow ui`, then open http://127.0.0.1:5000/{address}"


def tracking_fault(workspace: Path, *, reads_all: bool = True) -> DataError | None:
    """Return why the store cannot be used, found within seconds; None if it can.

    MLflow itself would try for minutes to reach a server that is down.

    Args:
        workspace: The user's workspace, which contains the store by default.
        reads_all: Whether to look for damage in the whole database file.
    """
    uri = tracking_uri(workspace)
    scheme = uri.partition(":")[0]
    if uri.startswith(SQLITE):
        path = uri.removeprefix(SQLITE)
        fault = database_fault(Path(path), OWN_TABLES, reads_all=reads_all)
        return DataError(fault, where=path, fix=UNLOCK) if fault else None
    if scheme in ("http", "https"):
        fault, fix = http_fault(uri), "Start this server, or correct MLFLOW_TRACKING_URI."
    elif scheme.partition("+")[0] in DATABASES:
        fault, fix = database_url_fault(uri), "Correct MLFLOW_TRACKING_URI, or start the database."
    else:
        return None  # for example file: or databricks
    return DataError(f"it cannot be used: {fault}", where=uri, fix=fix) if fault else None


def write(workspace: Path, work: Callable[[Store], None]) -> bool:
    """Let `work` write runs; return whether that succeeded, and log a warning if it did not."""
    missing: list[str] = []

    def work_and_report(store: Store) -> None:
        work(store)
        missing.extend(store.missing)

    fault = attempt(workspace, work_and_report)
    if fault or missing:
        what = f"This run is not in MLflow: {fault}" if fault else "MLflow has this run, but lacks"
        _warn("\n".join([what, *missing, "The selection is complete; run `selectllm doctor`."]))
    return not fault


def read_tags(workspace: Path, run_id: str) -> Mapping[str, str] | None:
    """Return the tags of a run; None if the store does not have it."""
    uri = tracking_uri(workspace)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return None  # MLflow would create the database
    with _limited_patience():
        import mlflow  # noqa: PLC0415  two seconds

        try:
            run = mlflow.MlflowClient(uri).get_run(run_id)
        except mlflow.MlflowException:
            return None
    tags: dict[str, str] = run.data.tags
    return tags if run.info.lifecycle_stage == "active" else None


def _warn(text: str) -> None:
    from prefect import get_run_logger  # noqa: PLC0415  4 s, and `doctor` does not need it

    get_run_logger().warning("%s", visible(text))


def attempt(workspace: Path, work: Callable[[Store], None]) -> str:
    """Let `work` write all of its runs or none; return why it failed, or an empty string."""
    store = None
    with _limited_patience(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from_pandas warns about sources and integer columns
        try:
            store = Store(workspace)
            work(store)
        except BaseException as error:
            os.environ.update(IMPATIENCE)
            if store and not tracking_fault(workspace, reads_all=False):
                store.roll_back()
            if not isinstance(error, Exception):  # Ctrl-C
                raise
            return _message(error)
    return ""


@contextmanager
def _limited_patience() -> Iterator[None]:
    """Limit how long MLflow waits for its server, unless the user has set the limits."""
    before = {name: os.environ.get(name) for name in PATIENCE}
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _message(error: Exception) -> str:
    message, _, _ = str(error).partition("\n[SQL:")  # SQLAlchemy adds the whole statement
    return hide(message)
