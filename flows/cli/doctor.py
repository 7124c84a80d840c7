"""Find what is wrong with an installation and a workspace, and how to fix it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import flows
from flows.cli.check_remote import remote
from flows.cli.deployments import deployments
from flows.cli.diagnosis import Diagnosis, Status
from flows.cli.drift import drift
from flows.cli.machine_checks import shared_journal, surroundings
from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.workspace import find_workspace
from flows.service_checks import database_fault
from flows.tracking.store import UNLOCK, tracking_fault, tracking_uri
from tasks.lib.core.errors import CurationError
from tasks.lib.core.hiding import hide
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.stage import JOURNAL, STATE_DIR

MALWARE = {"litellm": ("1.82.7", "1.82.8")}


def diagnose(start: Path) -> Iterator[Diagnosis]:
    """Yield diagnoses of Python and its packages, then of the workspace if there is one."""
    yield _python()
    yield _path()
    yield from _packages()
    try:
        workspace = find_workspace(start)
    except CurationError as error:
        yield Diagnosis.of(error)
        return
    for check in (_git, surroundings, _tracking, _journal, _dvc, remote, drift, _params, _routes):
        yield from check(workspace)
    yield from deployments()
    yield _telemetry()


def _python() -> Diagnosis:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Diagnosis(
            Status.WRONG, f"Python {version}", "Use 3.11 to 3.13: `make demo PYTHON=python3.11`."
        )
    return Diagnosis(Status.OK, f"Python {version}")


def _path() -> Diagnosis:
    """Check which Python a stage's command, which begins with ``python``, would run."""
    found, ours = shutil.which("python"), Path(sys.executable).parent
    if found and Path(found).parent == ours:
        return Diagnosis(Status.OK, f"plain `dvc repro` runs stages with {found}")
    what = f"plain `dvc repro` would run stages with {found or 'no Python'}, not with this one"
    return Diagnosis(Status.WARNING, what, f"Run `source {ours / 'activate'}` first.")


def _packages() -> Iterator[Diagnosis]:
    """Check that every requirement is installed, and that no version is known malware."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    requirements = [Requirement(text) for text in _requirements()]
    wrong = []
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if version in MALWARE.get(requirement.name, ()):
            wrong.append(
                f"{requirement.name} {version} is known malware: remove it and change your keys"
            )
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if wrong:
        fix = "Run `pip install -c constraints.txt -e .`."
        yield from (Diagnosis(Status.WRONG, text, fix) for text in wrong)
    else:
        yield Diagnosis(Status.OK, f"{len(requirements)} packages match pyproject.toml")


def _requirements() -> list[str]:
    """Read our requirements from the pyproject.toml next to the code, or else from the metadata.

    The metadata of an editable install lacks bounds that were added after the install.
    """
    path = Path(flows.__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text()).get("project", {}) if path.exists() else {}
    if project.get("name") == "selectllm":
        return list(project["dependencies"])
    return importlib.metadata.requires("selectllm") or []


def _git(workspace: Path) -> Iterator[Diagnosis]:
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=workspace, capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield Diagnosis(Status.WRONG, f"Git: {done.stderr.strip()}", "Repair the repository.")
        return
    changed = len(done.stdout.splitlines())
    if changed:
        what = f"Git: {changed} uncommitted changes"
        yield Diagnosis(
            Status.WARNING, what, "Commit them; otherwise a run cannot be traced to its code."
        )
    else:
        yield Diagnosis(Status.OK, "Git: clean")


def _dvc(workspace: Path) -> Iterator[Diagnosis]:
    """Check that DVC works, and that its link types protect the cache from in-place edits."""
    try:
        stale = dvc.status(workspace)
    except CurationError as error:
        yield Diagnosis.of(error)
        return
    what = f"{len(stale)} stages to run: {', '.join(stale)}" if stale else "up to date"
    yield Diagnosis(Status.OK, f"DVC: {what}")
    changed = [path for changes in stale.values() for path in _changed_outputs(changes)]
    if changed:
        what = f"DVC: {len(changed)} outputs do not match dvc.lock: {', '.join(changed)}"
        fix = "Run `selectllm run`, which restores or rebuilds them, or `dvc pull` in a new clone."
        yield Diagnosis(Status.WARNING, what, fix)
    lines = dvc.run(workspace, "config", "--list").stdout.splitlines()
    config = dict(line.partition("=")[::2] for line in lines)
    links = config.get("cache.type", "")
    if set(links.split(",")) <= {"reflink", "copy"} and links:
        yield Diagnosis(Status.OK, f"DVC: cache.type is {links}")
    else:
        yield Diagnosis(
            Status.WRONG,
            f"DVC: cache.type is {links or 'not set'}; editing a link corrupts the cache",
            "Run `dvc config cache.type reflink,copy`, then `dvc checkout --relink`.",
        )
    if "core.site_cache_dir" not in config and "DVC_SITE_CACHE_DIR" not in os.environ:
        folder = workspace / dvc.SITE_CACHE
        yield Diagnosis(
            Status.WARNING,
            "DVC: outside of selectllm, every user of this machine can write to its site cache",
            f"Run `dvc config --local core.site_cache_dir {folder}`.",
        )


def _changed_outputs(changes: Iterable[Any]) -> Iterator[str]:
    """Yield the outputs that changed although their stage did not run, each with its state."""
    for change in changes:
        if isinstance(change, Mapping):
            for path, what in change.get("changed outs", {}).items():
                yield f"{path} ({what})"


def _params(workspace: Path) -> Iterator[Diagnosis]:
    try:
        overrides.check(workspace, workspace / PARAMS_FILE)
    except CurationError as error:
        yield Diagnosis.of(error)
    else:
        yield Diagnosis(Status.OK, f"{PARAMS_FILE}: every key is known and in range")


def _routes(workspace: Path) -> Iterator[Diagnosis]:
    """Check that the routes in use can judge, and that no other route's model is retired soon."""
    from tasks.estimate.longest_prompt import worst_sizes  # noqa: PLC0415
    from tasks.estimate.route_readiness import Readiness  # noqa: PLC0415

    try:
        values = read_params(workspace / PARAMS_FILE)
        readiness = Readiness(values, date.today())
        found = readiness.findings(worst_sizes(values, workspace))
        others = readiness.endings_of_others()
    except CurationError:
        return  # `_params` has reported it
    for finding in [*found, *others]:
        status = Status.WRONG if finding.is_fatal else Status.WARNING
        yield Diagnosis(status, f"{finding.where}: {finding.what}", finding.fix)
    if not found:
        names = ", ".join(f"{route.alias} ({route.model})" for route in readiness.routes)
        yield Diagnosis(Status.OK, f"routes in use: {names} can be called")


def _journal(workspace: Path) -> Iterator[Diagnosis]:
    """Check that the journal can be written now, since a lock would stop a run halfway."""
    shared = list(shared_journal(workspace))
    if shared:
        yield from shared
        return
    path = workspace / STATE_DIR / JOURNAL
    fault = database_fault(path)
    if fault:
        yield Diagnosis(Status.WRONG, f"journal: {path}: {fault}", UNLOCK)
    else:
        what = f"{path} is writable" if path.exists() else "no journal yet"
        yield Diagnosis(Status.OK, f"journal: {what}")


def _tracking(workspace: Path) -> Iterator[Diagnosis]:
    """Check that the next run can be recorded in MLflow."""
    fault = tracking_fault(workspace)
    if fault:
        yield Diagnosis(Status.WRONG, f"MLflow: {fault.where}: {fault.what}", fault.fix)
    else:
        yield Diagnosis(Status.OK, f"MLflow: {hide(tracking_uri(workspace))} can be used")


def _telemetry() -> Diagnosis:
    if os.environ.get("DO_NOT_TRACK", "").lower() in ("", "true", "1"):
        return Diagnosis(Status.OK, "telemetry: off in everything that selectllm starts")
    fix = "Set DO_NOT_TRACK=true, or unset it."
    return Diagnosis(Status.WARNING, "telemetry: DO_NOT_TRACK turns it on", fix)
