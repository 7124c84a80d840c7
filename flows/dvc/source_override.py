"""Support any source in ``-S ingest.source=SOURCE``, by setting the keys that make DVC version it.

DVC can hash one file or folder as a dependency of ingest. A glob pattern, or a list of files in one
folder, becomes that folder and a choice of files. The fetch stage first copies any other source.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.lib.core.dvc_yaml import DVC_FILE, read_stage
from tasks.lib.core.params import lookup

FETCH = "fetch"
_MAGIC = re.compile(r"[*?\[]")
_REMOTE = re.compile(r"(?!ds://)(\w+://|sql:)")


def keys_of_source(workspace: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other keys, with values, that must be set for the source in ``ingest.source``."""
    source = lookup(values, "ingest.source")
    if not (workspace / DVC_FILE).exists() or FETCH not in values:  # a graph without that stage
        return {}
    (out,) = read_stage(workspace, FETCH, values).outs
    if source == out.path:
        return {}
    is_local = isinstance(source, str) and not _REMOTE.match(source)
    if is_local and (not _MAGIC.search(source) or (workspace / source).exists()):
        return {} if lookup(values, "fetch.source") is None else {"fetch.source": None}
    sources = [source] if isinstance(source, str) else list(source)
    folder = _folder(workspace, sources)
    if folder is None:
        return {"fetch.source": source, "ingest.source": out.path, "ingest.files": None}
    names = [str(Path(os.path.relpath(path, folder)).as_posix()) for path in sources]
    return {"ingest.source": folder, "ingest.files": names, "fetch.source": None}


def _folder(workspace: Path, sources: Sequence[Any]) -> str | None:
    """Return the folder that contains all sources.

    None if there are several folders, or if the folder contains the workspace.
    """
    if not all(isinstance(source, str) and not _REMOTE.match(source) for source in sources):
        return None
    folders = {str(Path(_MAGIC.split(f"{source}")[0] + "x").parent) for source in sources}
    if len(folders) != 1:
        return None
    folder = folders.pop()
    holds_workspace = workspace.resolve().is_relative_to((workspace / folder).resolve())
    return None if holds_workspace else folder
