"""The fetch step copies any source with its provenance, or refuses it without showing secrets."""

import functools
import gzip
import http.server
import json
import sqlite3
import threading

import fsspec
import pytest

from tasks.fetch.remote import copy_files
from tasks.fetch.size_limit import SizeLimit
from tasks.fetch.step import check, work
from tasks.lib.core.errors import CurationError, DataError, ParamError
from tasks.lib.core.stage import Stage
from tests.workspaces import StepWorkspace

LINE = b'{"instruction": "Say hello."}\n'


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """Return a function that fetches a source, and returns the copies by name and provenance."""
    monkeypatch.chdir(tmp_path)
    space = StepWorkspace(tmp_path)

    def run(source, **changes):
        where = "data/fetch" if source is not None else "data/sample/instructions.jsonl"
        space.update(fetch={"source": source, **changes}, ingest={"source": where})
        Stage("fetch", tmp_path).run(work)
        folder = tmp_path / "data/fetch"
        files = {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }
        return files, json.loads(files.pop("_fetched.json"))["files"]

    return run


def test_if_there_is_no_source_the_provenance_is_empty(fetch):
    assert fetch(None) == ({}, [])


def test_a_file_and_a_folder_of_fsspec_are_copied_with_what_identifies_them(fetch):
    memory = fsspec.filesystem("memory")
    memory.pipe({"/pool/a.jsonl": LINE, "/pool/deep/b.csv.gz": gzip.compress(b"a", mtime=0)})
    memory.pipe({"/pool/README.md": b"#", "/pool/_SUCCESS": b"", "/pool/.hidden.jsonl": b"x"})
    files, provenance = fetch("memory://pool")
    assert files == {"a.jsonl": LINE, "deep/b.csv.gz": gzip.compress(b"a", mtime=0)}
    assert provenance[0]["url"] == "memory:///pool/a.jsonl"
    assert provenance[0]["bytes"] == len(LINE)
    assert len(provenance[0]["blake2b"]) == 32
    files, _ = fetch("memory://pool/a.jsonl")
    assert list(files) == ["a.jsonl"]
    files, _ = fetch("memory://pool/*.jsonl")
    assert list(files) == ["a.jsonl"]


def test_the_sources_of_a_list_are_copied_in_order(fetch, tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.jsonl").write_bytes(LINE + name.encode())
    url = (tmp_path / "a").as_uri()
    files, provenance = fetch(["b/same.jsonl", f"{url}/same.jsonl"])
    assert files == {"1-same.jsonl": LINE + b"b", "2-same.jsonl": LINE + b"a"}
    assert [file["name"] for file in provenance] == list(files)


def test_the_same_source_gives_the_same_bytes(fetch, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINE)
    fetch(["a.jsonl"])
    first = (tmp_path / "data/fetch/_fetched.json").read_bytes()
    fetch(["a.jsonl"])
    assert (tmp_path / "data/fetch/_fetched.json").read_bytes() == first


@pytest.fixture
def server(tmp_path):
    """Serve a folder over HTTP, with an ETag."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("ETag", '"v1"')
            super().end_headers()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_file_over_http_is_copied_with_its_etag_and_without_its_signature(fetch, server):
    folder, url = server
    (folder / "pool.jsonl").write_bytes(LINE)
    files, (provenance,) = fetch(f"{url}/pool.jsonl?signature=s3cret")
    assert files == {"pool.jsonl": LINE}
    assert provenance["etag"] == "v1"
    assert provenance["url"] == f"{url}/pool.jsonl"
    with pytest.raises(DataError, match="cannot be read") as caught:
        fetch(f"{url}/gone.jsonl?signature=s3cret")
    assert "s3cret" not in str(caught.value)


def test_several_splits_are_refused_and_the_message_says_how_to_choose_one(fetch):
    memory = fsspec.filesystem("memory")
    names = ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    memory.pipe({f"/hub/data/{name}.jsonl": LINE for name in names})
    with pytest.raises(DataError, match="several splits") as caught:
        fetch("memory://hub")
    assert "*train*" in caught.value.fix
    files, _ = fetch("memory://hub/data/*train*")
    assert list(files) == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("memory://nowhere/x.jsonl", "cannot be read"),
        ("nosuch://x/y.jsonl", "Protocol not known"),
        ("no/such.jsonl", "cannot be read"),
        ("https://user:s3cret@127.0.0.1:9/x.jsonl", "contains a password"),
        ("memory://odd/model.bin", "not a known format"),
        ("memory://empty/*.jsonl", "no data file"),
    ],
)
def test_a_source_that_cannot_be_copied_is_refused(fetch, source, message):
    fsspec.filesystem("memory").pipe("/odd/model.bin", b"x")
    with pytest.raises(CurationError, match=message) as caught:
        fetch(source)
    assert "s3cret" not in str(caught.value)


def test_a_missing_driver_names_the_extra(fetch):
    pytest.importorskip("fsspec")
    try:
        import s3fs  # noqa: F401, PLC0415
    except ImportError:
        with pytest.raises(DataError, match="s3") as caught:
            fetch("s3://bucket/x.jsonl")
        assert "selectllm[s3]" in caught.value.fix


def test_a_copy_above_the_limit_is_stopped(fetch):
    fsspec.filesystem("memory").pipe("/big/a.jsonl", b"x" * 2_000_000)
    with pytest.raises(DataError, match=r"fetch\.max_mb"):
        fetch("memory://big/a.jsonl", max_mb=1)


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path):
    source, folder = tmp_path / "a.jsonl", tmp_path / "copies"
    source.write_bytes(LINE * 9)
    folder.mkdir()

    class Rewriting(SizeLimit):
        """Replaces the file by another one of the same size while it is copied."""

        def add(self, n_bytes, where):
            part = tmp_path / "part"
            part.write_bytes(LINE.upper() * 9)
            part.replace(source)

    with pytest.raises(DataError, match="changed while it was being copied"):
        copy_files([source.as_posix()], folder, Rewriting(1))


@pytest.fixture
def database(tmp_path):
    with sqlite3.connect(tmp_path / "pool.db") as connection:
        connection.execute("CREATE TABLE q (id INTEGER, prompt TEXT, at TEXT, raw BLOB)")
        rows = [(n, f"Question {n}: 10:30?", "2026-01-01", b"\xff") for n in range(3000)]
        connection.executemany("INSERT INTO q VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return "sqlite:///pool.db"


def test_the_rows_of_a_query_are_copied(fetch, database):
    query = "SELECT prompt, raw FROM q WHERE prompt LIKE 'Q%10:30%' ORDER BY id"
    files, (provenance,) = fetch(f"sql:{query}", database=database)
    rows = [json.loads(line) for line in files["rows.jsonl"].splitlines()]
    assert len(rows) == 3000
    assert rows[7] == {"prompt": "Question 7: 10:30?", "raw": "\\xff"}
    assert provenance == {
        "name": "rows.jsonl",
        "database": database,
        "query": query,
        "rows": 3000,
    }


def test_a_query_without_an_order_logs_a_warning(fetch, database, caplog):
    fetch("sql:SELECT prompt FROM q", database=database)
    assert "no ORDER BY" in caplog.text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT x FROM q", "no such column: x"),
        ("DELETE FROM q", "readonly"),
        ("SELECT id, prompt AS id FROM q", "two columns named id"),
        ("SELECT * FROM q WHERE id < 0", "returns no rows"),
        ("SELECT zeroblob(200000000) AS prompt", "too big"),
    ],
)
def test_a_query_that_gives_no_rows_is_refused(fetch, database, query, message):
    with pytest.raises(DataError, match=message):
        fetch(f"sql:{query} -- order by", database=database)


def test_a_password_comes_only_from_the_environment(fetch, monkeypatch):
    monkeypatch.setenv("SELECTLLM_DB_PASSWORD", "s3cret")
    for url in ("postgresql://u:pw@h/d", "postgresql://u@h/d?password=pw"):
        with pytest.raises(ParamError, match="contains a password") as caught:
            fetch("sql:SELECT 1", database=url)
        assert "SELECTLLM_DB_PASSWORD" in caught.value.fix
    with pytest.raises(DataError) as caught:
        fetch("sql:SELECT 1", database="postgresql+psycopg://u@127.0.0.1:1/d")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"fetch": {"source": "memory://x/y.jsonl"}}, "where the copy will be"),
        ({"ingest": {"source": "data/fetch"}}, "nothing is copied there"),
        ({"fetch": {"max_mb": 0}}, r"fetch\.max_mb"),
        (
            {"fetch": {"source": "sql:SELECT 1"}, "ingest": {"source": "data/fetch"}},
            r"fetch\.database is not set",
        ),
        (
            {
                "fetch": {"source": "sql:SELECT 1", "database": "nonsense"},
                "ingest": {"source": "data/fetch"},
            },
            "expected the URL of a database",
        ),
    ],
)
def test_params_are_checked_before_a_run(tmp_path, monkeypatch, sections, message):
    monkeypatch.chdir(tmp_path)
    StepWorkspace(tmp_path).update(**sections)
    with pytest.raises(ParamError, match=message):
        check(Stage("fetch", tmp_path).values)


def test_a_missing_sqlite_file_is_not_created(fetch, tmp_path):
    with pytest.raises(DataError, match="no SQLite file"):
        fetch("sql:SELECT 1", database="sqlite:///gone.db")
    assert not (tmp_path / "gone.db").exists()
