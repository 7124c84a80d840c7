"""MLflow's store: where it is, and a way to write there that loses nothing when it cannot be."""

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

from flows.errors import FlowError

EXPERIMENT = "selectllm"
KIND = ("mlflow.experimentKind", "custom_model_development")  # else its page asks for traces
LOCK_WAIT_S = 2
MAX_TAG_CHARS = 5000  # of a run's tag MLflow takes 8000, of an experiment's 5000
OWN_TABLES = {"experiments", "runs", "alembic_version"}


class Store:
    """MLflow, ready to take runs of ours.

    Attributes:
        mlflow: The module.
        experiment_id: Of the experiment that holds all runs.
    """

    def __init__(self, root: Path) -> None:
        uri = tracking_uri(root)
        fault = database_fault(Path(uri.removeprefix("sqlite:///")), OWN_TABLES)
        if uri.startswith("sqlite:///") and fault:
            raise FlowError(fault)
        import mlflow  # noqa: PLC0415  two seconds, see warm_up

        self.mlflow: Any = mlflow
        self._begun: list[str] = []
        mlflow.set_tracking_uri(uri)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            location = (root / "mlruns").as_uri() if uri.startswith("sqlite") else None
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        self.experiment_id: str = mlflow.set_experiment(EXPERIMENT).experiment_id
        self.tag_experiment(*KIND)

    @contextmanager
    def run(self, name: str | None, took_s: float = 0.0) -> Iterator[str]:
        """A run, below the one that is open if there is one; gives its id.

        Args:
            name: Its name; none: MLflow makes one up.
            took_s: How long ago it shall have begun, since it is written after the fact.
        """
        above = self.mlflow.active_run()
        tags = {"mlflow.user": getpass.getuser()}
        if above:
            tags["mlflow.parentRunId"] = above.info.run_id
        run = self.mlflow.MlflowClient().create_run(
            self.experiment_id, int(1000 * (time.time() - took_s)), tags, name
        )
        self._begun.append(run.info.run_id)
        with self.mlflow.start_run(run.info.run_id, nested=True):
            yield run.info.run_id

    def tag_experiment(self, key: str, value: str) -> None:
        """Set a tag of the experiment, unless it has that value."""
        tags = self.mlflow.get_experiment(self.experiment_id).tags
        if tags.get(key) != value:
            self.mlflow.set_experiment_tag(key, value)

    def take_back(self) -> None:
        """Delete the runs that were begun here, as far as the store lets us."""
        for run_id in self._begun:
            with suppress(Exception):
                self.mlflow.delete_run(run_id)


def warm_up() -> None:
    """Import MLflow beside the first stages: it takes seconds, and they leave a core idle."""
    threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()


def tracking_uri(root: Path) -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI, or the database that `mlflow ui` opens here."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def write(root: Path, work: Callable[[Store], None]) -> None:
    """Let `work` write runs; where that fails, warn. It never costs a selection."""
    fault = attempt(root, work)
    if fault:
        from prefect import get_run_logger  # noqa: PLC0415  4 s, and `doctor` has no use for it

        get_run_logger().warning(
            "This run is not in MLflow: %s\nThe selection is whole; try `selectllm doctor`.", fault
        )


def attempt(root: Path, work: Callable[[Store], None]) -> str:
    """Let `work` write runs; why they could not be written and were taken back, or empty."""
    store = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from_pandas warns of sources and integer columns
            store = Store(root)
            work(store)
    except BaseException as error:
        if store:
            store.take_back()
        if not isinstance(error, Exception):  # Ctrl-C
            raise
        return str(error).partition("\n[SQL:")[0]  # behind it SQLAlchemy repeats all parameters
    return ""


def database_fault(path: Path, tables: set[str] | None = None) -> str:
    """Why a SQLite database cannot be written now; empty when it can, or does not exist.

    Args:
        path: The file.
        tables: What it must hold if it holds any table; none: anything.
    """
    if not path.exists():
        return ""
    try:
        database = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            database.execute("ROLLBACK")
        finally:
            database.close()
    except sqlite3.Error as error:
        return f"{path}: {error}"
    if tables and found and not tables <= found:
        return f"{path}: not a database of MLflow's; it holds {', '.join(sorted(found)[:3])}"
    return ""
