"""No password or key is printed, logged or stored, and only its owner can read a database."""

import base64
import os
import stat
from contextlib import closing
from urllib.parse import quote

import pytest

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.events import Events, read_events
from tasks.lib.core.hiding import HIDDEN, hide
from tasks.lib.gateway.credentials import redact
from tasks.lib.journal.schema import connect
from tasks.lib.sqlite_store import SqliteStore

KEY = "pk+Abc/def-ghi?1234%56"

LOGINS = {
    "postgresql://joe:secret@host:5432/db": f"postgresql://{HIDDEN}@host:5432/db",
    "mysql+pymysql://joe:a/b@c@host/db": f"mysql+pymysql://{HIDDEN}@host/db",
    "ssh://joe:s@cret@host:22/x": f"ssh://{HIDDEN}@host:22/x",
    "'https://token@host.example'": f"'https://{HIDDEN}@host.example'",
    "http://:secret@127.0.0.1:4200/api": f"http://{HIDDEN}@127.0.0.1:4200/api",
    "http://127.0.0.1:8080/pkg@v1": "http://127.0.0.1:8080/pkg@v1",
    "https://host/pkg@v1?mail=a@b.c": "https://host/pkg@v1?mail=a@b.c",
    "gs://bucket and joe@host": "gs://bucket and joe@host",
}


@pytest.mark.parametrize("url", LOGINS)
def test_the_login_in_a_url_is_hidden_and_the_rest_of_it_is_not(url):
    assert hide(url) == LOGINS[url]
    assert hide(f"no answer from {url}, sorry") == f"no answer from {LOGINS[url]}, sorry"


def encoded():
    """Yield the key as servers echo it, also inside longer texts of every alignment."""
    yield KEY
    yield quote(KEY, safe="")
    yield "".join(f"%{byte:02X}" for byte in KEY.encode())
    yield KEY.encode().hex()
    yield "".join(f"\\u{ord(char):04x}" for char in KEY)
    yield "".join(f"&#{ord(char)};" for char in KEY)
    for before in ("", "a", "ab", "Bearer "):
        for after in ("", "z", "yz"):
            whole = f"{before}{KEY}{after}".encode()
            yield base64.b64encode(whole).decode()
            yield base64.urlsafe_b64encode(whole).decode()


@pytest.mark.parametrize("text", list(encoded()))
def test_a_key_is_hidden_in_each_encoding(text, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", KEY)
    for hidden in (hide(f"wrong: {text}!"), redact(f"wrong: {text}!")):
        assert not [text[i : i + 8] for i in range(4, len(text) - 11) if text[i : i + 8] in hidden]
    assert KEY not in redact(f"wrong: {text}!", KEY)


def test_the_password_of_a_url_in_the_environment_is_hidden_alone(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://joe:s%40cret-word@host/db")
    monkeypatch.setenv("HTTPS_PROXY", "http://joe:proxy-word@host:3128")
    assert hide("'s@cret-word', s%40cret-word") == f"'{HIDDEN}', {HIDDEN}"
    assert hide("407 for proxy-word") == f"407 for {HIDDEN}"


def test_errors_and_events_hide_secrets(monkeypatch, tmp_path):
    monkeypatch.setenv("SELECTLLM_EVENTS", str(tmp_path / "events.jsonl"))
    url = "https://joe:secret-word@host"
    error = ParamError(f"no answer from {url}", where=f"fetch: {url}", fix=f"Start {url}.")
    Events("fetch").logged(20, f"reading {url}")
    Events("fetch").ended(2, str(error))
    shown = f"{error!r}{error}{error.what}{read_events(tmp_path / 'events.jsonl')}"
    assert "host" in shown
    assert "secret-word" not in shown
    assert "secret-word" not in str(DataError.parse(f"fetch: no answer from {url}\n  Start it."))


def modes(folder):
    """Return the permissions of every database in a folder, and of its side files."""
    files = [path for path in folder.iterdir() if ".sqlite" in path.name]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}


@pytest.fixture
def readable_by_all():
    """Let new files be readable by all users."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("readable_by_all")
def test_only_the_owner_can_read_the_journal_and_stored_vectors(tmp_path):
    store = SqliteStore(tmp_path / "vectors.sqlite", "rows", "key TEXT, value TEXT")
    store.put([("a", "b")])
    with closing(connect(tmp_path / "journal.sqlite")) as journal:
        journal.execute("INSERT INTO spending VALUES ('x', 1)")
        assert {"vectors.sqlite", "journal.sqlite", "journal.sqlite-wal"} <= set(modes(tmp_path))
        assert set(modes(tmp_path).values()) == {0o600}


@pytest.mark.usefixtures("readable_by_all")
def test_an_existing_journal_is_closed_to_others_but_a_shared_one_stays_open_to_its_group(tmp_path):
    path = tmp_path / "journal.sqlite"
    for mode, private in ((0o644, 0o600), (0o660, 0o660), (0o666, 0o600)):
        with closing(connect(path)) as journal:
            journal.execute("PRAGMA user_version").fetchone()
            for file in tmp_path.glob("journal.sqlite*"):
                file.chmod(mode)
            connect(path).close()
            assert set(modes(tmp_path).values()) == {private}
