"""Workspaces to run in: a clone of the project or of the toy graph, or one for a single step."""

import contextlib
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
from ruamel.yaml import YAML

from tasks.lib.core.schemas import ANNOTATED, HELD_OUT, KNOWN, TARGETS
from tasks.lib.core.tables import write_table

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
EMPTY_TABLES = {
    "ingest/annotated.parquet": ANNOTATED,
    "ingest/held_out.parquet": HELD_OUT,
    "ingest/targets.parquet": TARGETS,
    "dedupe/known.parquet": KNOWN,
}
PATIENCE_S = 120.0  # for what takes a second on an idle machine


def wait_until(
    condition: Callable[[], Any],
    within_s: float = PATIENCE_S,
    evidence: Callable[[], str] = lambda: "",
    poll_s: float = 0.05,
) -> Any:
    """Return the first true value of a condition; if there is none, fail with the evidence."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(poll_s)
    raise AssertionError(f"not within {within_s} s\n{evidence()}")


def free_port() -> int:
    """Return a free port, below the ports that the kernel might assign to clients."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def lay_out(root: Path, *parts: str) -> None:
    """Copy files and folders of the project, excluding compiled code."""
    for part in parts:
        source, target = PROJECT / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            skipped = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=skipped, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def environment(prefect_home: Path) -> dict[str, str]:
    """Return the environment for commands, excluding servers that the user may have set."""
    env = os.environ | QUIET | {"PREFECT_HOME": str(prefect_home)}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        env.pop(name, None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # it would hide that caches make stages stale
    return env


class StepWorkspace:
    """A workspace for one step, without Git and DVC: dvc.yaml, params.yaml and inputs in data/."""

    def __init__(self, root: Path, *parts: str) -> None:
        """Copy the missing parts of the project."""
        self.root = root
        parts = ("dvc.yaml", "params.yaml", "data/none.jsonl", *parts)
        lay_out(root, *(part for part in parts if not (root / part).exists()))

    def file(self, tail: str) -> Path:
        """Return a path below data/ whose folder exists."""
        path = self.root / "data" / tail
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, tail: str, rows: Any, schema: Any) -> None:
        """Write a table below data/."""
        write_table(self.file(tail), rows, schema)

    def write_no_references(self, dim: int) -> None:
        """Write the empty outputs of earlier stages for annotated, target and held-out records."""
        for tail, schema in EMPTY_TABLES.items():
            self.write(tail, [], schema)
        for name in ("annotated", "targets"):
            np.save(self.file(f"embed/{name}.npy"), np.empty((0, dim), np.float32))

    def write_json(self, tail: str, document: Any) -> None:
        """Write a JSON document below data/."""
        self.file(tail).write_text(json.dumps(document))

    def update(self, **sections: Any) -> None:
        """Change keys of sections of params.yaml, or values outside sections."""
        yaml = YAML(typ="safe")
        values = yaml.load((self.root / "params.yaml").read_text())
        for name, changes in sections.items():
            values[name] = values[name] | changes if isinstance(changes, dict) else changes
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(values, file)


@dataclass(frozen=True)
class Workspace:
    """A Git and DVC repository with one of our graphs."""

    root: Path
    env: dict[str, str]

    @classmethod
    def commit(cls, root: Path, prefect_home: Path) -> "Workspace":
        """Turn a folder into a repository, and commit its contents."""
        lay_out(root, ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
        space = cls(root, environment(prefect_home))
        space.run("git", "init", "-q")
        space.run("git", "add", "-A")
        space.run("git", "commit", "-qm", "Start")
        return space

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
        """Run the `selectllm` command."""
        return self.run(sys.executable, "-m", "flows.cli", *words, check=check)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command in this process, which saves seconds of imports."""
        from flows.cli import console  # noqa: PLC0415
        from flows.cli.commands import main  # noqa: PLC0415

        status = 0
        with (
            contextlib.chdir(self.root),
            patch.dict(os.environ, self.env, clear=True),
            patch.object(sys, "argv", ["selectllm", *words]),
            contextlib.redirect_stdout(io.StringIO()) as stdout,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
        ):
            try:
                main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                console.use_json(is_set=False)  # else the next test would print to stderr
        return subprocess.CompletedProcess(words, status, stdout.getvalue(), stderr.getvalue())

    def dvc(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run DVC as a user would."""
        return self.run(sys.executable, "-m", "dvc", *words, check=check)

    def set(self, *overrides: str) -> None:
        """Set keys of params.yaml."""
        from flows.dvc.overrides import apply  # noqa: PLC0415

        apply(self.root, overrides)

    @contextlib.contextmanager
    def params_kept(self) -> Iterator[Path]:
        """Restore params.yaml at the end of the block."""
        params = self.root / "params.yaml"
        before = params.read_bytes()
        try:
            yield params
        finally:
            params.write_bytes(before)

    def logged_runs(self, condition: str = "") -> list[Any]:
        """Return the runs in the workspace's own MLflow store that meet a condition, in order."""
        import mlflow  # noqa: PLC0415  two seconds

        mlflow.set_tracking_uri(f"sqlite:///{self.root / 'mlflow.db'}")
        runs: list[Any] = mlflow.search_runs(
            experiment_names=["selectllm"],
            filter_string=condition,
            order_by=["start_time ASC"],
            output_format="list",
        )
        return runs

    def artifacts(self, run: Any) -> frozenset[str]:
        """Return the paths of the artifacts of a run in the workspace's own MLflow store."""
        from mlflow import MlflowClient  # noqa: PLC0415  two seconds

        client = MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")
        return frozenset(file.path for file in client.list_artifacts(run.info.run_id))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `selectllm` as a shell does, in its own process group."""
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
        """Return the processes whose working folder is in this workspace."""
        ours = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_here = Path(process.cwd()).is_relative_to(self.root)
                if is_here and process.status() != psutil.STATUS_ZOMBIE:
                    ours.append(process)
        return ours

    def ran(self) -> list[str]:
        """Return the toy steps that really ran since the last call, in order."""
        log = self.root / "ran.log"
        lines = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines
