"""DVC as a child process: its command, its environment, and what it says in JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from flows.errors import FlowError

COMMAND = [sys.executable, "-m", "dvc"]


def environment() -> dict[str, str]:
    """Ours, with the interpreter that runs now first on PATH and DVC's analytics off.

    A stage's command starts with ``python``; a worker's or a cron job's PATH may hold another.
    """
    env = os.environ | {"DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def status(root: Path) -> dict[str, list[Any]]:
    """What `dvc status --json` says: for each stage that is not up to date, what changed.

    Raises:
        FlowError: DVC cannot tell, with its own words.
    """
    changes: dict[str, list[Any]] = json.loads(_ask(root, "status", "--json"))
    return changes


def cache_dir(root: Path) -> Path:
    """Where DVC keeps what stages made.

    Raises:
        FlowError: DVC cannot tell, with its own words.
    """
    return root / _ask(root, "cache", "dir").strip()


def _ask(root: Path, *words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = f"dvc {' '.join(words)} failed:\n{done.stderr.strip()}"
        raise FlowError(f"{said}\n  Try `selectllm doctor`.")
    return done.stdout
