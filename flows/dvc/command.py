"""Run DVC as a child process."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.no_proxy import with_direct_loopback
from tasks.lib.core.errors import GraphError
from tasks.lib.core.stage import STATE_DIR

COMMAND = [sys.executable, "-m", "dvc"]
SITE_CACHE = f"{STATE_DIR}/dvc"


def environment(workspace: Path) -> dict[str, str]:
    """Return the environment for DVC and its steps, which differs from ours in five ways.

    This interpreter comes first on PATH, since a stage's command starts with ``python``, which may
    be a different one for a worker or a cron job. DVC's analytics are off. Its site cache is in the
    workspace; by default, every user of the machine could write to it. Connections to this machine
    bypass any proxy. And the output is UTF-8, even if the terminal uses another encoding.
    """
    env = {"DVC_SITE_CACHE_DIR": str(workspace / SITE_CACHE)} | with_direct_loopback(os.environ)
    env |= {"DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
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


def run(
    workspace: Path, *words: str, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a DVC command, wait for it to end, and capture its output.

    Raises:
        subprocess.TimeoutExpired: It took longer than `timeout_s`, and was killed.
    """
    with suppress(OSError):  # read-only, which the run reports; DVC would let all users write
        (workspace / SITE_CACHE).mkdir(mode=0o700, parents=True, exist_ok=True)
    return subprocess.run(
        [*COMMAND, *words],
        cwd=workspace,
        env=environment(workspace),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=timeout_s,
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
