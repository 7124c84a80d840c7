"""Run DVC as a child process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import GraphError

COMMAND = [sys.executable, "-m", "dvc"]


def environment() -> dict[str, str]:
    """Return our environment, with this interpreter first on PATH and DVC's analytics turned off.

    A stage's command starts with ``python``, which may be another interpreter on the PATH of a
    worker or a cron job.
    """
    env = os.environ | {"DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def status(workspace: Path) -> dict[str, list[Any]]:
    """Return the changes of each stage that is not up to date, as `dvc status --json` lists them.

    Raises:
        GraphError: DVC failed; the message includes its output.
    """
    changes: dict[str, list[Any]] = json.loads(_output(workspace, "status", "--json"))
    return changes


def cache_dir(workspace: Path) -> Path:
    """Return the folder of DVC's cache.

    Raises:
        GraphError: DVC failed; the message includes its output.
    """
    return workspace / _output(workspace, "cache", "dir").strip()


def run(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a DVC command, wait for it to end, and capture its output."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=workspace,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def _output(workspace: Path, *words: str) -> str:
    done = run(workspace, *words)
    if done.returncode:
        raise GraphError(
            f"`dvc {' '.join(words)}` failed:\n{done.stderr.strip()}",
            where=str(workspace),
            fix="Fix the problem that DVC reports, or run `selectllm doctor`.",
        )
    return done.stdout
