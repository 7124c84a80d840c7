"""Get a data set that dvc.yaml declares as ``ds://NAME``, from another DVC repository.

DVC records its revision in dvc.lock, and ingest becomes stale when `dvc ds update` changes it. The
files of a revision never change, so they are fetched once and stored in the state folder.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.lib.core.dvc_yaml import DVC_FILE, load_yaml
from tasks.lib.core.errors import DataError, nearest
from tasks.lib.core.events import log

SCHEME = "ds://"
LOCK_FILE = "dvc.lock"


def find_dataset(source: str) -> Mapping[str, Any]:
    """Return the data set's entry in dvc.yaml.

    Raises:
        DataError: No data set has this name, or it is not from a DVC repository.
    """
    name = source.removeprefix(SCHEME)
    declared = {entry["name"]: entry for entry in load_yaml(Path(DVC_FILE)).get("datasets", [])}
    if name not in declared:
        raise DataError(
            f"{DVC_FILE} has no data set {name}{nearest(name, declared)}",
            where=source,
            fix=f"Add it: `dvc ds add {name} --dvc REPOSITORY --path PATH`.",
        )
    entry: Mapping[str, Any] = declared[name]
    if entry["type"] != "dvc":
        raise DataError(
            f"expected a data set of type dvc, not {entry['type']}",
            where=source,
            fix=f"Copy it from its URL with -S ingest.source={entry['url']}",
        )
    return entry


def get_dataset(source: str, state: Path) -> Path:
    """Return the file or folder with the data set at its locked revision; fetch it if needed.

    Raises:
        DataError: The data set is unknown, has no locked revision, or cannot be fetched.
    """
    entry = find_dataset(source)
    name = entry["name"]
    locked = {e["name"]: e for e in load_yaml(Path(LOCK_FILE)).get("datasets", [])}
    if name not in locked:
        raise DataError(
            f"{LOCK_FILE} has no locked revision of the data set",
            where=source,
            fix=f"Run `dvc ds update {name}`.",
        )
    revision = locked[name]["rev_lock"]
    path = entry.get("path") or ""
    target = state / "datasets" / f"{name}-{revision[:12]}" / (Path(path).name or name)
    if not target.exists():
        part = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        log.info("ingest: fetching %s at %s", source, revision[:9])
        words = ["get", entry["url"], path or ".", "--rev", revision, "-o", str(part), "--force"]
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words],
            capture_output=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise DataError(
                f"DVC could not fetch the data set: {done.stderr.strip()}",
                where=source,
                fix="Check that the repository and its remote can be reached from here.",
            )
        os.replace(part, target)
    return target
