"""What is wrong with this set-up, and how to mend it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import flows
from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.workspace import STATE_DIR, find_root
from flows.errors import FlowError
from flows.tracking.store import OWN_TABLES, database_fault, tracking_uri

FREE_GB = 2
MALWARE = {"litellm": ("1.82.7", "1.82.8")}
TELEMETRY = ("DO_NOT_TRACK", "true")


class Verdict(StrEnum):
    """How a check ended; only ``wrong`` makes the doctor exit with 1."""

    OK = "ok"
    ODD = "odd"
    WRONG = "wrong"


class Finding(NamedTuple):
    """What one check found, and how to mend it (empty when nothing is to mend)."""

    verdict: Verdict
    what: str
    mend: str = ""


def examine(start: Path) -> Iterator[Finding]:
    """Findings, the most basic first; without a workspace the later checks are left out."""
    yield _python()
    yield from _packages()
    try:
        root = find_root(start)
    except FlowError as error:
        yield Finding(Verdict.WRONG, *str(error).split("\n", 1))
        return
    checks: tuple[Callable[[Path], Iterator[Finding]], ...] = (
        _git,
        _dvc,
        _params,
        _databases,
        _disk,
    )
    for check in checks:
        yield from check(root)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(
            Verdict.WRONG, f"Python {version}", "Use 3.11 to 3.13: `make demo PYTHON=python3.11`."
        )
    return Finding(Verdict.OK, f"Python {version}")


def _packages() -> Iterator[Finding]:
    """Every requirement of ours is installed, in a version that is not known to be harmful."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    wanted = [Requirement(text) for text in _requirements()]
    wrong = []
    for need in wanted:
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{need.name} is missing")
            continue
        if found in MALWARE.get(need.name, ()):
            wrong.append(f"{need.name} {found} is known malware: remove it, change your keys")
        elif not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need.name} {found} is not {need.specifier}")
    if wrong:
        mend = "Run `pip install -c constraints.txt -e .`."
        yield from (Finding(Verdict.WRONG, text, mend) for text in wrong)
    else:
        yield Finding(Verdict.OK, f"{len(wanted)} packages as pyproject.toml wants them")


def _requirements() -> list[str]:
    """Read our requirements from the pyproject.toml next to the code, else from the metadata.

    The metadata of an editable install is as old as the install: a bound added since is not in it.
    """
    path = Path(flows.__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(path.read_text()).get("project", {}) if path.exists() else {}
    if project.get("name") == "selectllm":
        return list(project["dependencies"])
    return importlib.metadata.requires("selectllm") or []


def _git(root: Path) -> Iterator[Finding]:
    done = subprocess.run(
        ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield Finding(Verdict.WRONG, f"Git: {done.stderr.strip()}", "Mend the repository.")
        return
    changed = len(done.stdout.splitlines())
    if changed:
        what = f"Git: {changed} uncommitted changes"
        yield Finding(Verdict.ODD, what, "Commit them, or a run cannot be traced to its code.")
    else:
        yield Finding(Verdict.OK, "Git: clean")


def _dvc(root: Path) -> Iterator[Finding]:
    """DVC answers, and its links are such that an edit in place cannot reach the cache."""
    try:
        stale = dvc.status(root)
    except FlowError as error:
        yield Finding(Verdict.WRONG, str(error), "Mend what DVC names.")
        return
    what = f"{len(stale)} stages to run: {', '.join(stale)}" if stale else "up to date"
    yield Finding(Verdict.OK, f"DVC: {what}")
    done = subprocess.run(
        [*dvc.COMMAND, "config", "cache.type"],
        cwd=root,
        env=dvc.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    links = done.stdout.strip()
    if set(links.split(",")) <= {"reflink", "copy"} and links:
        yield Finding(Verdict.OK, f"DVC: cache.type is {links}")
    else:
        yield Finding(
            Verdict.WRONG,
            f"DVC: cache.type is {links or 'not set'}; an edit of a link corrupts the cache unseen",
            "Run `dvc config cache.type reflink,copy`, then `dvc checkout --relink`.",
        )


def _params(root: Path) -> Iterator[Finding]:
    try:
        overrides.check(root, root / "params.yaml")
    except FlowError as error:
        yield Finding(Verdict.WRONG, *str(error).split("\n", 1))
    else:
        yield Finding(Verdict.OK, "params.yaml: every key known and in range")


def _databases(root: Path) -> Iterator[Finding]:
    """Each database of ours can be written now; a lock would stop a run in its middle."""
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    files = {"Prefect": home / "prefect.db", "journal": root / STATE_DIR / "journal.sqlite"}
    if tracking_uri(root).startswith("sqlite:///"):
        files["MLflow"] = Path(tracking_uri(root).removeprefix("sqlite:///"))
    for name, path in files.items():
        if not path.exists():
            yield Finding(Verdict.OK, f"{name}: no database yet")
            continue
        fault = database_fault(path, OWN_TABLES if name == "MLflow" else None)
        if fault:
            mend = "End the process that holds it (`fuser` names it), or mend its rights."
            yield Finding(Verdict.WRONG, f"{name}: {fault}", mend)
        else:
            yield Finding(Verdict.OK, f"{name}: {path} can be written")
    if len({path.resolve() for path in files.values()}) < len(files):
        yield Finding(Verdict.WRONG, "two tools share one database file", "Give each its own.")


def _disk(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free / 1e9
    verdict = Verdict.OK if free >= FREE_GB else Verdict.ODD
    mend = "" if verdict is Verdict.OK else "Make room, or `dvc gc -w` old versions."
    yield Finding(verdict, f"disk: {free:.0f} GB free", mend)
    if os.environ.get(TELEMETRY[0], "").lower() not in ("", TELEMETRY[1], "1"):
        mend = f"Set {TELEMETRY[0]}={TELEMETRY[1]}, or unset it."
        yield Finding(Verdict.ODD, f"telemetry: {TELEMETRY[0]} turns it on", mend)
    else:
        yield Finding(Verdict.OK, "telemetry: off in everything that selectllm starts")
