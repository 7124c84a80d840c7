"""MLflow's store: faults are reported, and nothing is left half-written."""

import sqlite3

import mlflow
import pytest

from flows.tracking.store import attempt, database_fault

pytestmark = [
    pytest.mark.slow,  # importing MLflow takes seconds
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Make a store with two runs, by MLflow itself."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
        assert attempt(root, log_two_runs) == ""
    return root / "mlflow.db"


@pytest.fixture
def root(fresh, tmp_path, monkeypatch):
    """Make a folder with a store of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(fresh.read_bytes())
    return tmp_path


def log_two_runs(store):
    with store.run("parent"), store.run("child"):
        store.mlflow.log_metric("x", 1)


def names(root):
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    runs = mlflow.search_runs(experiment_names=["selectllm"], output_format="list")
    return sorted(run.info.run_name for run in runs)


def test_a_child_run_names_its_parent(root):
    assert attempt(root, log_two_runs) == ""
    assert names(root) == ["child", "child", "parent", "parent"]


def test_runs_that_could_not_be_finished_are_deleted(root):
    def breaks(store):
        with store.run("parent"), store.run("child"):
            raise OSError("no space left")

    assert attempt(root, breaks) == "no space left"
    assert names(root) == ["child", "parent"]


def test_a_locked_store_is_reported_within_seconds(root):
    other = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert attempt(root, log_two_runs).startswith(f"{root / 'mlflow.db'}: database is locked\n")
    other.close()
    assert names(root) == ["child", "parent"]


def test_a_store_with_another_schema_is_reported_and_left_unchanged(root):
    with sqlite3.connect(root / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
    database.close()
    before = (root / "mlflow.db").read_bytes()
    assert "out-of-date database schema (found version 0123456789ab" in attempt(root, log_two_runs)
    assert (root / "mlflow.db").read_bytes() == before


def test_another_programs_database_is_reported_and_left_unchanged(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE flow_run (id)")
    database.close()
    before = path.read_bytes()
    assert f"{path}: another program's database" in attempt(tmp_path, log_two_runs)
    assert path.read_bytes() == before
    path.write_bytes(b"no database " * 100)
    assert f"{path}: file is not a database" in attempt(tmp_path, log_two_runs)


def test_a_read_only_store_is_reported_without_sql(root, monkeypatch):
    """SQLite opens it read-only, since the root user of a container ignores permissions."""
    before = (root / "mlflow.db").read_bytes()
    uri = f"sqlite:///file:{root / 'mlflow.db'}?mode=ro&uri=true"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    fault = attempt(root, log_two_runs)
    assert "attempt to write a readonly database" in fault
    assert "[SQL" not in fault
    assert (root / "mlflow.db").read_bytes() == before


def test_a_writable_or_missing_database_has_no_fault(root):
    assert database_fault(root / "mlflow.db") == ""
    assert database_fault(root / "none.db") == ""
