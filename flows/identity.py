"""Identify a run in Prefect, in its workspace and in MLflow, with links between them.

The id of a run is that of its flow run in Prefect. MLflow records it as a tag, and the state folder
of the run's workspace in run.json. DVC's lock has no run id, since equal runs have equal locks;
so the hash of the lock is the link between a commit and its runs.
"""

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.lib.core.hiding import hide
from tasks.lib.core.stage import STATE_DIR

FILE = "run.json"
LOCK = "dvc.lock"
RUN_TAG, URL_TAG, LOCK_TAG = "prefect.flow_run_id", "prefect.url", LOCK


@dataclass(frozen=True)
class Identity:
    """What identifies a run that has ended.

    Attributes:
        run_id: The id of the run, which is that of its flow run in Prefect.
        prefect_url: Its page in Prefect; empty if the run started its own server.
        commit: The Git commit of the workspace; empty if there is none.
        is_dirty: Whether the workspace had changes that are not in the commit.
        lock: The MD5 hash of dvc.lock; empty if there is none.
        mlflow_run_id: Its run in MLflow; empty until MLflow has recorded it.
    """

    run_id: str
    prefect_url: str
    commit: str
    is_dirty: bool
    lock: str
    mlflow_run_id: str = ""

    def tags(self) -> dict[str, str]:
        """Return the tags of the run in MLflow."""
        tags = {RUN_TAG: self.run_id, "git.commit": self.commit, LOCK_TAG: self.lock}
        tags["git.dirty"] = str(self.is_dirty).lower()
        return tags | ({URL_TAG: self.prefect_url} if self.prefect_url else {})

    def write(self, workspace: Path) -> None:
        """Write run.json, the identity of the last run in a workspace."""
        path = workspace / STATE_DIR / FILE
        part = path.with_name(f"{FILE}.part")
        part.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        part.replace(path)


def identify(run_id: str, workspace: Path) -> Identity:
    """Return the identity of a run that has just ended in a workspace."""
    from prefect.settings import get_current_settings  # noqa: PLC0415  a second, for `doctor`

    settings = get_current_settings()
    url = hide(f"{settings.ui_url}/runs/flow-run/{run_id}") if settings.api.url else ""
    commit = _git(workspace, "rev-parse", "HEAD")
    is_dirty = bool(_git(workspace, "status", "--porcelain"))
    return Identity(run_id, url, commit, is_dirty, lock_hash(workspace))


def read_identity(workspace: Path) -> Identity | None:
    """Return the identity of the last run in a workspace; None if none is readable."""
    try:
        return Identity(**json.loads((workspace / STATE_DIR / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def lock_hash(workspace: Path) -> str:
    """Return the MD5 hash of dvc.lock; empty if there is none."""
    lock = workspace / LOCK
    return hashlib.md5(lock.read_bytes()).hexdigest() if lock.exists() else ""


def flow_run_file(workspace: Path) -> Path:
    """Return the file with the id of the last flow run that worked in a workspace."""
    return workspace / STATE_DIR / "flow_run"


def _git(workspace: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=workspace, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
