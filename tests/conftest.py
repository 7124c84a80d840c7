"""Shared fixtures: workspaces to run in, and a Prefect server."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock
from hypothesis import settings

from tests.workspaces import PROJECT, QUIET, Workspace, environment, free_port, lay_out, wait_until

# Otherwise, each process would compile every module again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Workers and the processes that they start share the cores, so waiting threads only cost time.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Examples are the same in each run, and may take long on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")

# Fixtures that several files use; a module comes before those that import it.
pytest_plugins = (
    "tests.encoding",
    "tests.ingest_rows",
    "tests.journal_entries",
    "tests.judge_desk",
    "tests.batch_desk",
    "tests.sound_run",
    "tests.reported_run",
    "tests.sealed_desk",
    "tests.selection_desk",
    "tests.servers",
)

# Tests send SIGINT to processes, which would otherwise ignore it in a background job.
signal.signal(signal.SIGINT, signal.default_int_handler)

STAGE_NAMES = (
    *("fetch", "ingest", "dedupe", "embed", "cluster", "llm_select", "choose"),
    *("validate", "export", "baseline", "measure", "report"),
)
FIRST_PARTY = (
    *("tasks", "flows", "dvc.yaml", "params.yaml", "prefect.yaml"),
    *("data/sample", "data/none.jsonl"),
)


# Files for the same worker: they share a finished run of the sample, a Prefect server, or a library
# whose first call takes seconds.
GROUPS = {
    "sample": ("project", "stale_keys", "verify_bytes"),
    "paid": ("paid_run", "run_budget"),
    "server": ("run", "identity", "commit_clone", "deployment", "run_parameters", "compare"),
    "clusters": (
        *("grouping", "compose", "cluster", "prompt_size", "kmeans", "solver"),
        "baseline_methods",
    ),
    "validation": ("validate", "validate_faults", "validate_near"),
}
GROUP_OF = {f"test_{name}": group for group, names in GROUPS.items() for name in names}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Assign all tests in a file or a group to the same worker."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415  only with -n

    class Grouped(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return GROUP_OF.get(Path(file).stem, file)

    return Grouped(config, log)


SLOW_FIXTURES = {"server", "load", "plain"}
"""A Prefect server, the packaged encoder, and its reference."""


@pytest.hookimpl(tryfirst=True)  # so that -m sees the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with slow fixtures, and run the groups first, since they take longest."""
    order = list(GROUP_OF)

    def place(item: pytest.Item) -> tuple[bool, int]:
        is_fast = item.get_closest_marker("slow") is None
        name = item.path.stem
        return is_fast, order.index(name) if name in order else len(order)

    for item in items:
        if SLOW_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    items.sort(key=place)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Use one Prefect home for all tests, since setting up its database takes seconds."""
    return tmp_path_factory.mktemp("prefect")


@dataclass(frozen=True)
class PrefectServer:
    """A real Prefect server on loopback."""

    url: str
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """Return the text that the server and its services have logged so far."""
        return (self.home / "server.log").read_text()

    def ask(self, what: str, **query: Any) -> list[dict[str, Any]]:
        """Return objects from the REST API, such as ``task_runs``."""
        answer = httpx.post(f"{self.url}/{what}/filter", json=query, timeout=120, trust_env=False)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def last_states(self) -> dict[str, tuple[str, str]]:
        """Return the name and message of each task's state in the last flow run."""
        started = {"start_time": {"is_null_": False}}  # a schedule makes runs for days ahead
        last = self.ask("flow_runs", sort="START_TIME_DESC", limit=1, flow_runs=started)[0]
        return self.states(last["id"])

    def states(self, flow_run_id: str) -> dict[str, tuple[str, str]]:
        """Return the name and message of each task's state in a flow run."""
        runs = self.ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}})
        return {run["name"]: (run["state"]["name"], run["state"]["message"]) for run in runs}


UNUSED_SERVICES = (
    *("CANCELLATION_CLEANUP", "FOREMAN", "LATE_RUNS"),
    *("PAUSE_EXPIRATIONS", "REPOSSESSOR"),
)
"""Prefect server services whose loops take a lot of time but play no part in a run."""


@pytest.fixture(scope="session")
def server(prefect_home: Path) -> Iterator[PrefectServer]:
    """Start a Prefect server for all tests that need one."""
    with running_prefect(prefect_home) as running:
        yield running


@contextlib.contextmanager
def running_prefect(prefect_home: Path, **settings: str) -> Iterator[PrefectServer]:
    """Start a Prefect server with additional settings, and stop it at the end."""
    port = free_port()
    env = os.environ | QUIET | {"PREFECT_HOME": str(prefect_home)} | settings
    env["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    env |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in UNUSED_SERVICES}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (prefect_home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, process_group=0)
    url = f"http://127.0.0.1:{port}/api"
    running = PrefectServer(url, prefect_home, {"PREFECT_API_URL": url})

    def is_healthy() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        return False

    try:
        wait_until(is_healthy, within_s=600, evidence=lambda: running.log)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=120)


@pytest.fixture(scope="session")
def make_toy(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Path
) -> Callable[..., Workspace]:
    """Make a workspace with the two stages of tests/toy and other parts of the project.

    All of them log to one MLflow store, since creating one takes a second.
    """

    def make(*parts: str) -> Workspace:
        root = tmp_path_factory.mktemp("toys") / "toy"
        shutil.copytree(PROJECT / "tests/toy", root)
        lay_out(root, "tasks/__init__.py", "tasks/__main__.py", "tasks/lib/__init__.py")
        lay_out(root, "tasks/lib/core", "tasks/lib/documents", *parts)  # flows import both
        space = Workspace.commit(root, prefect_home)
        space.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{prefect_home / 'mlflow.db'}"
        return space

    return make


@pytest.fixture
def toy(make_toy: Callable[..., Workspace]) -> Workspace:
    """Make a workspace with the two stages of tests/toy."""
    return make_toy()


@pytest.fixture(scope="session")
def clone(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Path
) -> Callable[[str], Workspace]:
    """Make a fresh clone of the project, in which nothing has run yet."""

    def make(name: str) -> Workspace:
        root = tmp_path_factory.mktemp(name)
        lay_out(root, *FIRST_PARTY)
        return Workspace.commit(root, prefect_home)

    return make


@pytest.fixture(scope="session")
def done(clone: Callable[[str], Workspace], server: PrefectServer) -> Workspace:
    """Make a clone in which `selectllm run` has run once; tests leave it up to date."""
    space = clone("done")
    space.env.update(server.env)
    first = space.selectllm("run")
    assert {name for name, _ in server.last_states().values()} == {"Completed"}, first.stdout
    return space


@pytest.fixture(scope="session")
def clustered(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Workspace:
    """Make a clone in which `dvc repro cluster` has run, which no test changes.

    Workers share it: the first one makes it, the others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    made, unfinished = folder / "clustered", folder / "clustered.part"
    with FileLock(folder / "clustered.lock"):
        if not made.exists():
            lay_out(unfinished, *FIRST_PARTY)
            Workspace.commit(unfinished, prefect_home).dvc("repro", "cluster")
            unfinished.rename(made)
    return Workspace(made, environment(prefect_home))


@pytest.fixture
def copy_clustered(clustered: Workspace, tmp_path: Path) -> Workspace:
    """Copy a clone in which `dvc repro cluster` has run."""
    root = tmp_path / "clustered"
    shutil.copytree(clustered.root, root)
    return replace(clustered, root=root)


@pytest.fixture
def quick_clustered(copy_clustered: Workspace, server: PrefectServer) -> Workspace:
    """Make a copy whose later stages are quick, for a run on the server."""
    overrides = ("baseline.methods=[random]", "baseline.n_seeds=2", "measure.n_resamples=100")
    copy_clustered.set(*overrides)
    copy_clustered.run("git", "commit", "-qam", "Be quick")
    return replace(copy_clustered, env=copy_clustered.env | server.env)
