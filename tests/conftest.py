"""Workspaces to run in: the toy graph of two stages, and a copy of the project itself."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # an example may wait for its turn
settings.load_profile("shared machine")

# Fixtures of several files.
pytest_plugins = (
    "tests.encoding",
    "tests.journal_entries",
    "tests.judge_desk",
    "tests.reported_run",
    "tests.selection_desk",
)

# Tests send SIGINT to what they start, which would inherit that a background job ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).parent.parent
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "NO_PROXY": "127.0.0.1,localhost",
}
STAGE_NAMES = (
    *("ingest", "dedupe", "embed", "cluster", "llm_select"),
    *("validate", "export", "baseline", "measure", "report"),
)
FIRST_PARTY = ("tasks", "flows", "dvc.yaml", "params.yaml", "prefect.yaml", "data/sample")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@dataclass(frozen=True)
class Workspace:
    """A Git and DVC repository with a graph of ours in it."""

    root: Path
    env: dict[str, str]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace."""
        done = subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(
                f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def selectllm(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command that is tested."""
        return self.run(sys.executable, "-m", "flows.cli", *words, check=check)

    def dvc(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run DVC as a user would."""
        return self.run(sys.executable, "-m", "dvc", *words, check=check)

    def set(self, *overrides: str) -> None:
        """Set keys of params.yaml."""
        from flows.dvc.overrides import apply  # noqa: PLC0415

        apply(self.root, overrides)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `selectllm` as a shell does, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *words],
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def processes(self) -> list[psutil.Process]:
        """Return the processes that work in or below this workspace now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_here = Path(process.cwd()).is_relative_to(self.root)
                if is_here and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def ran(self) -> list[str]:
        """The toy steps that really ran since the last call, in order."""
        log = self.root / "ran.log"
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


def _init(root: Path, home: Path) -> Workspace:
    shutil.copy(PROJECT / ".gitignore", root / ".gitignore")
    shutil.copy(PROJECT / ".dvcignore", root / ".dvcignore")
    (root / ".dvc").mkdir()
    shutil.copy(PROJECT / ".dvc" / "config", root / ".dvc" / "config")
    shutil.copy(PROJECT / ".dvc" / ".gitignore", root / ".dvc" / ".gitignore")
    env = os.environ | QUIET | {"PREFECT_HOME": str(home)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env.pop("MLFLOW_TRACKING_URI", None)
    env.pop("PREFECT_API_URL", None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # it would hide that caches make stages stale
    space = Workspace(root, env)
    space.run("git", "init", "-q")
    space.run("git", "add", "-A")
    space.run("git", "commit", "-qm", "Start")
    return space


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One Prefect home for all tests: setting up its database takes seconds."""
    return tmp_path_factory.mktemp("prefect")


@dataclass(frozen=True)
class PrefectServer:
    """A real Prefect server on loopback."""

    url: str
    home: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """Text that the server and its services have logged so far."""
        return (self.home / "server.log").read_text()

    def ask(self, what: str, **query: Any) -> list[dict[str, Any]]:
        """Objects of the REST API, such as ``task_runs``."""
        answer = httpx.post(f"{self.url}/{what}/filter", json=query, timeout=30, trust_env=False)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def last_states(self) -> dict[str, tuple[str, str]]:
        """State name and message by task name, of the flow run that started last."""
        started = {"start_time": {"is_null_": False}}  # a schedule makes runs for days ahead
        last = self.ask("flow_runs", sort="START_TIME_DESC", limit=1, flow_runs=started)[0]
        return self.states(last["id"])

    def states(self, flow_run_id: str) -> dict[str, tuple[str, str]]:
        """Return state name and message by task name, of one flow run."""
        runs = self.ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}})
        return {run["name"]: (run["state"]["name"], run["state"]["message"]) for run in runs}


@pytest.fixture(scope="session")
def server(prefect_home: Path) -> Iterator[PrefectServer]:
    """A Prefect server for all tests that ask it something."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | QUIET | {"PREFECT_HOME": str(prefect_home)}
    env["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (prefect_home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, process_group=0)
    url = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                break
        time.sleep(0.2)
    else:
        raise AssertionError((prefect_home / "server.log").read_text())
    yield PrefectServer(url, prefect_home, {"PREFECT_API_URL": url})
    process.terminate()
    process.wait(timeout=30)


@pytest.fixture
def toy(tmp_path: Path, prefect_home: Path) -> Workspace:
    """A workspace with the two stages of tests/toy."""
    root = tmp_path / "toy"
    shutil.copytree(PROJECT / "tests" / "toy", root)
    _copy(PROJECT / "tasks" / "lib" / "core", root / "tasks" / "lib" / "core")
    shutil.copy(PROJECT / "tasks" / "lib" / "__init__.py", root / "tasks" / "lib" / "__init__.py")
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(PROJECT / "tasks" / name, root / "tasks" / name)
    return _init(root, prefect_home)


@pytest.fixture(scope="session")
def clone(
    tmp_path_factory: pytest.TempPathFactory, prefect_home: Path
) -> Callable[[str], Workspace]:
    """Makes a fresh copy of the project, as a clone has it, nothing run yet."""

    def make(name: str) -> Workspace:
        root = tmp_path_factory.mktemp(name)
        for part in FIRST_PARTY:
            _copy(PROJECT / part, root / part)
        return _init(root, prefect_home)

    return make


@pytest.fixture(scope="session")
def done(clone: Callable[[str], Workspace], server: PrefectServer) -> Workspace:
    """A clone in which `selectllm run` has run once."""
    space = clone("done")
    space.env.update(server.env)
    first = space.selectllm("run")
    assert {name for name, _ in server.last_states().values()} == {"Completed"}, first.stdout
    return space


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
