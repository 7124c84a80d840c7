"""Queries to a real PostgreSQL server, where its programs are installed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.fetch.size_limit import SizeLimit
from tasks.fetch.sql import PASSWORD, copy_query
from tasks.lib.core.errors import DataError
from tests.servers import PASSWORD as SECRET
from tests.servers import PostgreSQL, running_postgresql

pytest.importorskip("psycopg", reason="needs the extra postgres")

pytestmark = pytest.mark.slow

ROWS = """
    CREATE TABLE q (
        id serial, prompt text, meta jsonb, tags text[], price numeric, at timestamptz, raw bytea
    );
    INSERT INTO q (prompt, meta, tags, price, at, raw)
    SELECT 'Question ' || n || ': 100% at 10:30?', '{"topic": "time"}', ARRAY['a', 'b'], 1.50,
        '2026-01-01 12:00+00', '\\xff'
    FROM generate_series(0, 2499) AS n;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        server.execute("postgres", ROWS)
        yield server


@pytest.fixture
def fetch(server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PASSWORD, SECRET)

    def fetch_rows(query: str) -> list[dict[str, object]]:
        target = tmp_path / "rows.jsonl"
        provenance = copy_query(query, server.url("postgres"), tmp_path, target, SizeLimit(100))
        rows = [json.loads(line) for line in target.read_text().splitlines()]
        assert provenance["rows"] == len(rows)
        assert SECRET not in str(provenance)
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
    assert server.execute("postgres", "SELECT count(*) FROM q") == [(2500,)]


def test_a_wrong_password_is_a_clear_error_that_does_not_contain_it(fetch, monkeypatch):
    monkeypatch.setenv(PASSWORD, "wr0ng")
    with pytest.raises(DataError, match="password authentication failed") as caught:
        fetch("SELECT 1")
    assert "wr0ng" not in str(caught.value)
