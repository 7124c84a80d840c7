"""Check what a run needs outside the workspace's files: Prefect, memory, disk and proxies."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from flows.cli import console
from flows.cli.diagnosis import Diagnosis, Status
from flows.no_proxy import proxied_loopback
from flows.service_checks import (
    database_fault,
    http_fault,
    port_fault,
    require_prefect_settings,
)
from tasks.lib.core.errors import CurationError, DataError
from tasks.lib.core.hiding import hide
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.private_file import make_private
from tasks.lib.core.stage import STATE_DIR

FREE_GB, FULL_GB = 2.0, 0.1
MEMORY_GB = 1.0  # what embedding the sample takes, with Prefect's server next to it
PREFECT_TABLES = {"flow_run", "task_run", "alembic_version"}
CGROUP = Path("/sys/fs/cgroup")
OWN_SERVER = "unset PREFECT_API_URL, so that each run starts its own"
ONLY_HISTORY = "it contains only the history of runs, and the next run creates a new one"
POSTGRESQL = 5432  # its port


def require_surroundings(workspace: Path) -> None:
    """Print what may go wrong as warnings, and raise the first finding that would stop the run.

    Raises:
        DataError: Prefect or a shared journal cannot be used, or the disk is full or read-only.
    """
    for found in surroundings(workspace):
        if found.status is Status.WRONG:
            where, _, what = found.what.partition(": ")
            raise DataError(what, where=where, fix=found.fix)
        if found.status is Status.WARNING:
            console.warning(found.what, found.fix)
    if _has_shared_journal(workspace):
        from tasks.estimate.journal_admin import share_own_journal  # noqa: PLC0415  a second

        if copied := share_own_journal(workspace):
            console.note(f"journal: {copied}")
    if database := own_file(*prefect_urls()):
        database.parent.mkdir(parents=True, exist_ok=True)
        make_private(database)


def surroundings(workspace: Path) -> Iterator[Diagnosis]:
    """Run each check, which takes seconds at most, and yield what it finds."""
    yield _disk(workspace)
    yield _memory()
    yield _proxy()
    yield _prefect()


def shared_journal(workspace: Path) -> Iterator[Diagnosis]:
    """Yield whether the journal's database can be used; nothing if the journal is a file."""
    try:
        if not _has_shared_journal(workspace):
            return
        from tasks.estimate.journal_admin import check_shared_journal  # noqa: PLC0415  a second

        url, is_lacking = check_shared_journal(workspace)
    except CurationError as error:
        yield Diagnosis(Status.WRONG, f"journal: {hide(error.where)}: {error.what}", error.fix)
        return
    yield Diagnosis(Status.OK, f"journal: the database {hide(url)} can be used")
    if is_lacking:
        what = "journal: the database lacks calls that are in this machine's own journal"
        yield Diagnosis(Status.WARNING, what, "Run `selectllm run`, which copies them.")


def _has_shared_journal(workspace: Path) -> bool:
    section = read_params(workspace / PARAMS_FILE).get("llm_select") or {}
    return section.get("journal") is not None


def _disk(workspace: Path) -> Diagnosis:
    if fault := _unwritable(workspace / STATE_DIR):
        return Diagnosis(Status.WRONG, f"disk: {fault}", "Make it a folder that you can write to.")
    free = shutil.disk_usage(workspace).free / 1e9
    if free >= FREE_GB:
        return Diagnosis(Status.OK, f"disk: {free:.0f} GB free")
    status = Status.WRONG if free < FULL_GB else Status.WARNING
    fix = "Free space, or remove old versions with `dvc gc -w`."
    return Diagnosis(status, f"disk: only {free:.2f} GB free at {workspace}", fix)


def _memory() -> Diagnosis:
    free = free_memory() / 1e9
    if free >= MEMORY_GB:
        return Diagnosis(Status.OK, f"memory: {free:.0f} GB free")
    what = f"memory: only {free:.2f} GB free; a run takes about {MEMORY_GB:g} GB"
    fix = "Close other programs, or raise the limit of this container or shell."
    return Diagnosis(Status.WARNING, what, fix)


def free_memory() -> int:
    """Return the bytes that the machine, container and shell still allow this process to use."""
    limits = [psutil.virtual_memory().available]
    maximum, current = CGROUP / "memory.max", CGROUP / "memory.current"
    if maximum.exists() and (text := maximum.read_text().strip()) != "max":
        limits.append(int(text) - int(current.read_text()))
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space - psutil.Process().memory_info().vms)
    return max(0, min(limits))


def _proxy() -> Diagnosis:
    missing = proxied_loopback(os.environ)
    if not missing:
        return Diagnosis(Status.OK, "proxy: not used for this machine")
    what = f"proxy: NO_PROXY lacks {', '.join(missing)}, so other tools cannot reach servers here"
    return Diagnosis(Status.WARNING, what, f"Add them: NO_PROXY={','.join(missing)}.")


def _prefect() -> Diagnosis:
    try:
        url, database = prefect_urls()
    except DataError as error:
        return Diagnosis(Status.WRONG, f"Prefect: {error.where}: {error.what}", error.fix)
    path = own_file(url, database)
    if url:
        where, fault = f"the API at {hide(url)}", http_fault(url)
        fix = f"Start that server, or {OWN_SERVER}."
    elif path:
        where, fault = str(path), database_fault(path, PREFECT_TABLES) or _unwritable(path.parent)
        fix = f"Free or repair it, or move it away: {ONLY_HISTORY}."
    else:
        parts = urlsplit(database)
        where = f"the database {hide(database)}"
        fault = port_fault(parts.hostname or "localhost", parts.port or POSTGRESQL)
        fix = "Start it, or correct PREFECT_SERVER_DATABASE_CONNECTION_URL."
    if fault:
        return Diagnosis(Status.WRONG, f"Prefect: {where} cannot be used: {fault}", fix)
    return Diagnosis(Status.OK, f"Prefect: {where} can be used")


def _unwritable(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    return "" if folder.is_dir() and os.access(folder, os.W_OK) else f"{folder} is not writable"


class PrefectUrls(NamedTuple):
    """The URLs of Prefect's API (empty if each run starts its own server) and of its database."""

    api: str
    database: str


def prefect_urls() -> PrefectUrls:
    """Return the URLs in Prefect's settings: the environment, a profile, or its defaults.

    Raises:
        DataError: A setting is wrong, or Prefect's profiles file cannot be read.
    """
    require_prefect_settings()
    from prefect.settings import get_current_settings  # noqa: PLC0415  takes a second

    settings = get_current_settings()
    database = settings.server.database.connection_url
    return PrefectUrls(settings.api.url or "", database.get_secret_value() if database else "")


def own_file(url: str, database: str) -> Path | None:
    """Return the database file of the server that a run starts for itself; None if it has none."""
    scheme, _, path = database.partition(":///")
    return Path(path) if not url and scheme.startswith("sqlite") else None
