"""Queries to a real PostgreSQL server, where its programs are installed."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.fetch.size_limit import SizeLimit
from tasks.fetch.sql import PASSWORD, copy_query
from tasks.lib.core.errors import DataError

psycopg = pytest.importorskip("psycopg", reason="needs the extra postgres")
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]), None)
OWNER = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PROGRAMS or shutil.which("initdb")), reason="needs the PostgreSQL server's programs"
    ),
]

ROWS = """
    CREATE TABLE q (
        id serial, prompt text, meta jsonb, tags text[], price numeric, at timestamptz, raw bytea
    );
    INSERT INTO q (prompt, meta, tags, price, at, raw)
    SELECT 'Question ' || n || ': 100% at 10:30?', '{"topic": "time"}', ARRAY['a', 'b'], 1.50,
        '2026-01-01 12:00+00', '\\xff'
    FROM generate_series(0, 2499) AS n;
"""


class Server(NamedTuple):
    """A running server: its database's URL, and a connection that may write."""

    url: str
    connection: "psycopg.Connection[tuple[object, ...]]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = Path("/tmp") / f"selectllm-{os.getpid()}-{tmp_path_factory.mktemp('pg').name}"
    folder.mkdir()
    (folder / "password").write_text("s3cret")
    if OWNER:
        for path in (folder, folder / "password"):
            shutil.chown(path, OWNER)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    try:
        _program(folder, "initdb", "-U", "reader", "-A", "scram-sha-256", "--pwfile=password", "db")
        _program(folder, "pg_ctl", "-D", "db", "-l", "log", "-o", options, "-w", "start")
        where = f"host=127.0.0.1 port={port} user=reader password=s3cret dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(ROWS)
            yield Server(f"postgresql+psycopg://reader@127.0.0.1:{port}/postgres", connection)
    finally:
        subprocess.run(
            [_path("pg_ctl"), "-D", "db", "-m", "immediate", "stop"],
            cwd=folder,
            user=OWNER,
            capture_output=True,
            check=False,
        )
        shutil.rmtree(folder)


def _program(folder: Path, name: str, *arguments: str) -> None:
    with (folder / f"{name}.out").open("w") as output:  # the server would keep a pipe open
        subprocess.run(
            [_path(name), *arguments],
            cwd=folder,
            user=OWNER,
            stdout=output,
            stderr=output,
            check=True,
        )


def _path(name: str) -> str:
    return str(PROGRAMS / name) if PROGRAMS else name


@pytest.fixture
def fetch(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PASSWORD, "s3cret")

    def fetch_rows(query: str) -> list[dict[str, object]]:
        target = tmp_path / "rows.jsonl"
        provenance = copy_query(query, server.url, tmp_path, target, SizeLimit(100))
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        assert provenance["rows"] == len(rows)
        assert "s3cret" not in str(provenance)
        return rows

    return fetch_rows


def test_the_rows_of_a_query_are_copied_with_their_types(fetch):
    rows = fetch("SELECT * FROM q WHERE prompt LIKE '%100% at 10:30%' ORDER BY id")
    assert len(rows) == 2500
    assert rows[7] == {
        "id": 8,
        "prompt": "Question 7: 100% at 10:30?",
        "meta": {"topic": "time"},
        "tags": ["a", "b"],
        "price": "1.50",
        "at": rows[7]["at"],
        "raw": "\\xff",
    }
    assert str(rows[7]["at"]).startswith("2026-01-01T")


def test_casts_are_not_parameters(fetch):
    assert fetch("SELECT '7'::int AS prompt, meta->>'topic' AS t FROM q ORDER BY id LIMIT 1") == [
        {"prompt": 7, "t": "time"}
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT x FROM q", 'column "x" does not exist'),
        ("DELETE FROM q RETURNING id", "syntax error"),  # no cursor
        ("SELECT setval('q_id_seq', 9)", "read-only transaction"),
        ("SELECT id, prompt AS id FROM q", "two columns named id"),
        ("SELECT * FROM q WHERE id < 0", "returns no rows"),
        ("SELECT 1 / (id - 2000) FROM q ORDER BY id", "division by zero"),
    ],
)
def test_a_query_that_fails_is_a_clear_error_and_changes_nothing(server, fetch, query, message):
    with pytest.raises(DataError, match=message):
        fetch(query)
    assert server.connection.execute("SELECT count(*) FROM q").fetchone() == (2500,)


def test_a_wrong_password_is_a_clear_error_that_does_not_contain_it(fetch, monkeypatch):
    monkeypatch.setenv(PASSWORD, "wr0ng")
    with pytest.raises(DataError, match="password authentication failed") as caught:
        fetch("SELECT 1")
    assert "wr0ng" not in str(caught.value)
