"""Contents of files, and functions that read and classify rows as the ingest step does."""

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.ingest.classify_rows import Ingest, KeptRow, classify_rows
from tasks.ingest.readers import ReadOptions, read_rows
from tasks.ingest.rows import Fault, Rows
from tasks.ingest.source_files import list_files
from tasks.ingest.step import work
from tasks.ingest.unpack_limit import ReadBound, ReadLimits
from tasks.lib.core.schemas import POOL
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tests.workspaces import StepWorkspace

SECTION = {
    "source": "pool.jsonl",
    "files": None,
    "table": {},
    "columns": {},
    "turn": "last",
    "exclude": {},
    "exclude_file": "none.jsonl",
    "decontaminate": "none.jsonl",
    "max_field_chars": 1000,
    "max_dropped": 0.05,
    "max_unpacked_mb": 1000,
    "max_unpack_ratio": 200,
    "max_row_chars": 16_000_000,
    "max_columns": 10_000,
}
NAMED = {"annotated": "none.jsonl", "targets": "none.jsonl"}
TEXT = {"instruction": "Say hé", "input": "a\nb"}
LIMITS = ReadLimits(1000, 200, 16_000_000, 10_000)


def line(text):
    return json.dumps({"instruction": text}) + "\n"


def as_parquet(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def as_zip(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def read_file(path: Path, table=None, limits=LIMITS) -> Rows:
    """Yield the rows of a source of one file."""
    files = list_files(path, None)
    return read_rows(*files.files[0], ReadOptions(table or {}, ReadBound(files.n_bytes, limits)))


@pytest.fixture
def read_as(tmp_path):
    """Return a function that writes a file of this name and returns its rows and their lines."""

    def write_and_read(name, content, **table):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_file(path, table))

    return write_and_read


def drops(rows):
    """Return the line of each faulty row, and the reason to drop it."""
    return [(line, row.reason) for line, row in rows if isinstance(row, Fault)]


def results(rows, **changes):
    """Return the result of each row; they are numbered from 1."""
    params = Ingest.model_validate({**SECTION, **changes})
    return list(classify_rows(enumerate(rows, start=1), params, "pool.jsonl", "line {}".format))


def record(row, **changes):
    (kept,) = results([row], **changes)
    assert isinstance(kept, KeptRow), kept
    return kept.record


def reasons(rows, **changes):
    """Return the reason of each dropped row, and None for a kept one."""
    return [getattr(result, "reason", None) for result in results(rows, **changes)]


def parts(row, **changes):
    return record(row, **changes)[1:4]


def pool_of(root: Path, path: Path, **changes: Any) -> list[Any]:
    """Return the records that ingest makes of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("none.jsonl").touch()
        StepWorkspace(root).update(ingest={**SECTION, "source": path.name, **changes})
        Stage("ingest", root).run(work)
    rows = read_table(root / "data/ingest/pool.parquet", POOL).to_pylist()
    return [SimpleNamespace(**row) for row in rows]
