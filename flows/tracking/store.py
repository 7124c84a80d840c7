"""Write runs to MLflow's store, completely or not at all."""

import getpass
import importlib
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import DataError
from tasks.lib.core.hiding import hide
from tasks.lib.core.private_file import make_private

EXPERIMENT = "selectllm"
KIND = ("mlflow.experimentKind", "custom_model_development")
"""Makes MLflow before 3.17 open the experiment at its runs. Later versions let only the address or
the switch in the side bar decide, and open the page of traces otherwise: see `Store.runs_page`."""
LOCK_WAIT_S = 2
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
        path = Path(uri.removeprefix("sqlite:///"))
        fault = database_fault(path, OWN_TABLES) if uri.startswith("sqlite:///") else ""
        if fault:
            raise DataError(fault, where=str(path), fix=UNLOCK)
        if uri.startswith("sqlite:///") and path.parent.is_dir():
            make_private(path)
        import mlflow  # noqa: PLC0415  two seconds, see warm_up

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
        """The address of the page of all runs, excluding the server."""
        return f"#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    @contextmanager
    def run(self, name: str | None, took_s: float = 0.0) -> Iterator[str]:
        """Open a run, as a child of the run that is already open, if any; yield its id.

        Args:
            name: The run's name; if None, MLflow makes up a name.
            took_s: The seconds since the run began, as it is logged afterwards.
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
        """Let the block write something that not every store can hold; keep the runs if it fails.

        For example, MLflow's file store has no evaluation datasets.
        """
        try:
            yield
        except Exception as error:
            self.missing.append(f"{what}: {_message(error)}")

    def roll_back(self) -> None:
        """Delete the runs that this object opened, if the store allows it."""
        for run_id in self._begun:
            with suppress(Exception):
                self.mlflow.delete_run(run_id)


def warm_up() -> None:
    """Import MLflow in a thread, since it takes seconds and the first stages leave a core idle."""
    threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()


def tracking_uri(workspace: Path) -> str:
    """Return the store's address: MLFLOW_TRACKING_URI, or what `mlflow ui` uses in `workspace`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace / 'mlflow.db'}"


def write(workspace: Path, work: Callable[[Store], None]) -> None:
    """Let `work` write runs; if that fails, log a warning."""
    missing: list[str] = []

    def work_and_report(store: Store) -> None:
        work(store)
        missing.extend(store.missing)

    fault = attempt(workspace, work_and_report)
    if fault or missing:
        from prefect import get_run_logger  # noqa: PLC0415  4 s, and `doctor` does not need it

        what = f"This run is not in MLflow: {fault}" if fault else "MLflow has this run, but lacks"
        get_run_logger().warning(
            "%s\nThe selection is complete; run `selectllm doctor`.",
            "\n".join([what, *missing]) if not fault else what,
        )


def attempt(workspace: Path, work: Callable[[Store], None]) -> str:
    """Let `work` write all of its runs or none; return why it failed, or an empty string."""
    store = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from_pandas warns about sources and integer columns
            store = Store(workspace)
            work(store)
    except BaseException as error:
        if store:
            store.roll_back()
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        return _message(error)
    return ""


def _message(error: Exception) -> str:
    message, _, _ = str(error).partition("\n[SQL:")  # SQLAlchemy adds the whole statement
    return hide(message)


def database_fault(path: Path, tables: set[str] | None = None) -> str:
    """Return why a SQLite database cannot be written now; empty if it can, or does not exist.

    Args:
        path: The file.
        tables: Tables that the database must have if it has any tables.
    """
    if not path.exists():
        return ""
    try:
        database = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
        finally:
            database.close()
    except sqlite3.Error as error:
        return str(error)
    if tables and names and not tables <= names:
        return f"another program's database, with the tables {', '.join(sorted(names)[:3])}"
    return ""
