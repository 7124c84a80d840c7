"""Run a commit in a clean clone, which shares its outputs with others through the DVC remote.

Nothing in the user's folder enters the clone except the commit and the DVC settings, so the
result depends on the commit and the remote alone. DVC's cache and the state folder are shared,
so nothing is stored or bought twice.
"""

import shutil
import subprocess
from pathlib import Path

from flows.dvc import command as dvc
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.stage import STATE_DIR

FOLDER = "clones"
SETTINGS = ".dvc/config.local"
NO_REMOTE = "Add one, such as `dvc remote add --default storage s3://bucket/selectllm`."


def clean_clone(user_workspace: Path, commit: str) -> Path:
    """Clone a commit, fetch its outputs from the default DVC remote, and return the workspace.

    Later runs of the commit reuse its clone, reset to what Git has.

    Args:
        user_workspace: The user's workspace; only its state folder is written to.
        commit: Any Git name for the commit, such as HEAD or a tag.

    Raises:
        ParamError: There is no such commit, or no default remote.
        DataError: The commit cannot be cloned, or the remote cannot be used.
    """
    known = _git(user_workspace, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if commit.startswith("-") or known.returncode:
        fix = "Correct it, or fetch it with `git fetch`."
        raise ParamError(f"Git has no commit {commit}", where="commit", fix=fix)
    sha = known.stdout.strip()
    place = user_workspace / STATE_DIR / FOLDER / sha[:12]
    if not place.exists():
        _clone(user_workspace, sha, place)
    for words in (("reset", "--quiet", "--hard", sha), ("clean", "--quiet", "-fd")):
        _require(_git(place, *words), place)
    workspace = place / _git(user_workspace, "rev-parse", "--show-prefix").stdout.strip()
    _share_settings(user_workspace, workspace)
    share(workspace, "fetch")
    return workspace


def share(workspace: Path, direction: str) -> None:
    """Fetch the outputs and the run cache of a workspace from the default remote, or push them.

    Raises:
        DataError: The remote cannot be used. If it only lacks outputs, their stages run.
    """
    done = dvc.run(workspace, direction, "--run-cache")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        what = (errors or done.stderr.splitlines() or ["no reason given"])[0]
        fix = "Correct the remote (`dvc remote list`), or install what it needs."
        what = f"`dvc {direction}` failed: {what.removeprefix('ERROR: ')}"
        raise DataError(what, where="DVC remote", fix=fix)


def _clone(user_workspace: Path, sha: str, place: Path) -> None:
    part = place.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    top = _git(user_workspace, "rev-parse", "--show-toplevel").stdout.strip()
    _require(_git(user_workspace, "clone", "--quiet", "--no-checkout", top, str(part)), place)
    _require(_git(part, "checkout", "--quiet", "--detach", sha), place)
    part.rename(place)


def _share_settings(user_workspace: Path, workspace: Path) -> None:
    """Give the clone the user's local DVC settings, cache and default remote.

    Their paths may be relative to the user's folder, so the clone gets absolute ones.
    """
    if (user_workspace / SETTINGS).exists():
        shutil.copy2(user_workspace / SETTINGS, workspace / SETTINGS)
    name = dvc.run(user_workspace, "config", "core.remote").stdout.strip()
    url = name and dvc.run(user_workspace, "config", f"remote.{name}.url").stdout.strip()
    if not url:
        raise ParamError("there is no default remote", where="DVC remote", fix=NO_REMOTE)
    for words in (
        ("cache", "dir", "--local", str(dvc.cache_dir(user_workspace).resolve())),
        ("remote", "add", "--local", "--force", "--default", name, url),
    ):
        dvc.run(workspace, *words)


def _require(done: subprocess.CompletedProcess[str], place: Path) -> None:
    if done.returncode:
        what = f"Git cannot clone the commit: {done.stderr.strip()}"
        raise DataError(what, where=str(place), fix="Free some space, or repair the repository.")


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
