"""Copy a source that cannot be read in place, and record where each file comes from.

DVC then versions the copy. DVC reruns this step if the fetch section changes, but not if a remote
file changes. To copy the source again, run ``dvc repro --force --single-item fetch``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.fetch.remote import copy_files
from tasks.fetch.size_limit import SizeLimit
from tasks.fetch.sql import SQL, check_database, copy_query
from tasks.lib.core.dvc_yaml import read_stage
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, Params, load_section, lookup
from tasks.lib.core.stage import Stage

PROVENANCE = "_fetched.json"  # ingest skips names with an underscore
ROWS = "rows.jsonl"


class Fetch(Params):
    """The fetch section of params.yaml: what to copy, and the maximum size."""

    source: str | list[str] | None
    database: str | None
    max_mb: int = Field(ge=1)


def check(values: Mapping[str, Any]) -> Fetch:
    """Return the fetch section, after checking that ingest reads what fetch copies.

    Raises:
        ParamError: A value is wrong, or fetch.source and ingest.source do not match.
    """
    params = load_section(values, "fetch", Fetch)
    (folder,) = (out.path for out in read_stage(Path.cwd(), "fetch", values).outs)
    is_read = lookup(values, "ingest.source") == folder
    if params.source is not None and not is_read:
        raise ParamError(
            f"fetch.source is set, but ingest.source is not {folder}, where the copy will be put",
            where=PARAMS_FILE,
            fix=f"Set ingest.source to {folder}, or fetch.source to null.",
        )
    if params.source is None and is_read:
        raise ParamError(
            f"ingest.source is {folder}, but fetch.source is null, so nothing is copied there",
            where=PARAMS_FILE,
            fix="Set ingest.source with -S ingest.source=SOURCE.",
        )
    if isinstance(params.source, str) and params.source.startswith(SQL):
        check_database(params.database)
    return params


def work(stage: Stage) -> None:
    """Copy the source if there is one, and write the provenance of the copies."""
    params = check(stage.values)
    folder = stage.out("fetch")
    folder.mkdir()
    limit = SizeLimit(params.max_mb)
    files: list[dict[str, Any]] = []
    if isinstance(params.source, str) and params.source.startswith(SQL):
        query, root = params.source.removeprefix(SQL).strip(), stage.state.parent
        files = [copy_query(query, str(params.database), root, folder / ROWS, limit)]
    elif params.source is not None:
        sources = [params.source] if isinstance(params.source, str) else params.source
        files = copy_files(sources, folder, limit)
    provenance = {"files": files}
    (folder / PROVENANCE).write_text(
        json.dumps(provenance, ensure_ascii=False, indent=1, sort_keys=True) + "\n",
        encoding="utf-8",
    )
    if params.source is not None:
        n_files = "1 file" if len(files) == 1 else f"{len(files):,} files"
        log.info("fetch: %s, %s bytes", n_files, f"{limit.n_bytes:,}")
