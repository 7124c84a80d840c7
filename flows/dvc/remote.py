"""Compare the outputs of a workspace with DVC's default remote."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from flows.dvc import command as dvc
from flows.service_checks import http_fault
from tasks.lib.core.hiding import hide

PATIENCE_S = 8.0


class Remote(NamedTuple):
    """DVC's default remote, compared with this workspace."""

    name: str
    fault: str = ""  # why it cannot be used; the counts are then 0
    n_unpushed: int = 0  # outputs that only this machine has
    n_lost: int = 0  # outputs that neither this machine nor the remote has


def read_remote(workspace: Path) -> Remote | None:
    """Return the default remote of a workspace, or None if it has none; takes seconds at most."""
    lines = dvc.run(workspace, "config", "--list").stdout.splitlines()
    config = dict(line.partition("=")[::2] for line in lines)
    name = config.get("core.remote", "")
    if not name:
        return None
    url = config.get(f"remote.{name}.endpointurl") or config.get(f"remote.{name}.url", "")
    if url.startswith(("http://", "https://")) and (
        fault := http_fault(url, "")
    ):  # to DVC, it is empty
        return Remote(name, fault)
    try:
        done = dvc.run(workspace, "status", "--cloud", "--json", timeout_s=PATIENCE_S)
        states = json.loads(done.stdout or "null")
    except subprocess.TimeoutExpired:
        return Remote(name, f"no answer within {PATIENCE_S:g} s; `dvc status --cloud` waits longer")
    except ValueError:
        return Remote(name, "DVC's answer cannot be read")
    if done.returncode or not isinstance(states, dict):
        return Remote(name, _reason(done.stderr))
    counts = Counter(states.values())
    return Remote(name, n_unpushed=counts["new"], n_lost=counts["missing"])


def _reason(stderr: str) -> str:
    """Return DVC's error in one line, without its advice."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    text = errors[-1].removeprefix("ERROR: ") if errors else "DVC failed and gave no reason"
    return hide(text.removeprefix("unexpected error - "))
