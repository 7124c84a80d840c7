"""What a run needs outside its files is checked within seconds, before any work."""

import contextlib
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows import service_checks
from flows.cli import doctor, machine_checks
from flows.cli.diagnosis import Status
from flows.cli.supervise import supervise
from flows.dvc import command as dvc
from flows.no_proxy import LOOPBACK, proxied_loopback, with_direct_loopback
from flows.service_checks import database_fault, http_fault
from flows.tracking.store import tracking_fault
from tasks.lib.core.errors import DataError
from tests.workspaces import PROJECT, free_port


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Let nothing of this machine's environment in."""
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def listening():
    """Yield the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def answering(status):
    """Yield the port of a server that answers each request with a status."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "fault"),
    [(200, ""), (401, ""), (404, "something else"), (502, "502"), (504, "504")],
)
def test_a_server_is_usable_if_its_health_check_answers_and_it_gets_no_login(status, fault):
    with answering(status) as (port, asked):
        found = http_fault(f"http://joe:secret@127.0.0.1:{port}/api/")
    assert fault in found
    assert bool(found) == bool(fault)
    assert asked == [("/api/health", None)]


UNUSABLE = {
    "http://127.0.0.1:{closed}": "refused",
    "http://127.0.0.1:{silent}": "no answer within 0.",
    "http://[broken": "",
    "http://": "",
    "https://127.0.0.1:{silent}/x": "no answer within 0.",
    "postgresql+psycopg://joe:secret-word@127.0.0.1:{closed}/db": "refused",
    "postgresql+psycopg://joe:secret-word@127.0.0.1:{silent}/db": "no answer within 0.",
    "postgresql+nodriver://joe:secret-word@127.0.0.1/db": "nodriver",
    "mysql+pymysql://joe:secret-word@127.0.0.1/db": "pymysql",
    "sqlite:///{damaged}": "not a database",
}


@pytest.mark.parametrize("uri", UNUSABLE)
def test_a_store_that_cannot_be_used_is_found_within_seconds(uri, tmp_path, monkeypatch):
    (tmp_path / "damaged.db").write_bytes(b"no database" * 100)
    if "silent" in uri:
        monkeypatch.setattr(service_checks, "PATIENCE_S", 0.1)
    with listening() as silent:
        names = {"closed": free_port(), "silent": silent, "damaged": tmp_path / "damaged.db"}
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(**names))
        fault = tracking_fault(tmp_path)
    assert fault
    assert UNUSABLE[uri] in fault.what
    assert "secret-word" not in str(fault)
    assert len(str(fault).splitlines()) == 2


@pytest.mark.parametrize("uri", ["", "databricks", "file:///tmp/x", "sqlite:///no/such.db"])
def test_a_store_that_needs_no_server_is_not_asked(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_fault(tmp_path) is None


def test_damage_inside_a_database_is_found(tmp_path):
    path = tmp_path / "some.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE flow_run (id)")
        database.executemany("INSERT INTO flow_run VALUES (?)", [("x" * 900,)] * 200)
    assert database_fault(path) == ""
    content = bytearray(path.read_bytes())
    content[40_000:90_000] = b"U" * 50_000
    path.write_bytes(content)
    assert "the file is damaged" in database_fault(path)
    path.write_bytes(content[:20_000])
    assert database_fault(path)


def found(workspace, word):
    """Return the diagnosis that begins with a word."""
    return next(d for d in machine_checks.surroundings(workspace) if d.what.startswith(word))


@pytest.mark.parametrize("kind", ["dead API", "damaged database", "file as home", "read-only"])
def test_a_run_stops_before_its_work_if_it_cannot_be_orchestrated(kind, tmp_path, monkeypatch):
    from prefect.settings import (  # noqa: PLC0415  a second
        PREFECT_API_URL,
        PREFECT_SERVER_DATABASE_CONNECTION_URL,
        temporary_settings,
    )

    path = tmp_path / "home/prefect.db"
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    url = f"http://joe:secret-word@127.0.0.1:{free_port()}/api"
    if kind == "damaged database":
        path.parent.mkdir()
        path.write_bytes(b"no database" * 100)
    elif kind == "file as home":
        path.parent.write_text("")
    elif kind == "read-only":
        (workspace / ".selectllm").write_text("")
    settings = {PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{path}"}
    settings |= {PREFECT_API_URL: url} if kind == "dead API" else {}
    with temporary_settings(settings), pytest.raises(DataError) as stopped:
        machine_checks.require_surroundings(workspace)
    assert "secret-word" not in str(stopped.value)
    assert stopped.value.fix
    assert len(str(stopped.value).splitlines()) == 2


@pytest.mark.parametrize("content", [b"[[[", b"\xff\xfe", b"active = "])
def test_profiles_of_prefect_that_cannot_be_read_are_one_sentence(content, tmp_path, monkeypatch):
    (tmp_path / "profiles.toml").write_bytes(content)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert found(tmp_path, "Prefect").status is Status.WRONG
    with pytest.raises(DataError, match=r"profiles\.toml"):
        service_checks.require_prefect_settings()


def test_too_little_memory_is_a_warning_that_names_the_figures(tmp_path, monkeypatch):
    group = tmp_path / "cgroup"
    group.mkdir()
    monkeypatch.setattr(machine_checks, "CGROUP", group)
    (group / "memory.current").write_text("1000000000\n")
    (group / "memory.max").write_text("1250000000\n")
    assert found(tmp_path, "memory")[:2] == (
        Status.WARNING,
        "memory: only 0.25 GB free; a run takes about 1 GB",
    )
    (group / "memory.max").write_text("max\n")
    assert machine_checks.free_memory() > 250_000_000
    limits = {resource.RLIMIT_AS: (10**7, 10**7)}
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    assert machine_checks.free_memory() == 0


@pytest.mark.parametrize("free", [0, 10**9])
def test_a_full_disk_is_found(free, tmp_path, monkeypatch):
    usage = machine_checks.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _: usage)
    assert found(tmp_path, "disk").status is (Status.WARNING if free else Status.WRONG)


PROXIED = [
    ({}, []),
    ({"HTTP_PROXY": ""}, []),
    ({"HTTP_PROXY": "http://p"}, list(LOOPBACK)),
    ({"https_proxy": "http://p", "NO_PROXY": "a.example, 127.0.0.1"}, ["localhost", "::1"]),
    ({"ALL_PROXY": "http://p", "no_proxy": "*"}, []),
    ({"all_proxy": "socks5://p", "no_proxy": "127.0.0.1,localhost,::1"}, []),
]


@pytest.mark.parametrize(("env", "missing"), PROXIED)
def test_no_proxy_is_used_for_this_machine(env, missing):
    assert proxied_loopback(env) == missing
    direct = with_direct_loopback(env)
    assert proxied_loopback(direct) == []
    assert {name: direct[name] for name in env if name.lower() != "no_proxy"}.items() <= env.items()
    assert "NO_PROXY" not in env or "a.example" in direct["no_proxy"]


def test_a_supervised_run_reaches_this_machine_without_the_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "a.example")
    with monkeypatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)
        assert (
            supervise(["/bin/sh", "-c", 'test "$NO_PROXY" = "a.example,127.0.0.1,localhost,::1"'])
            == 0
        )


@pytest.mark.slow
@pytest.mark.parametrize("start", ["cli doctor", "cli.start flows.curate"])
def test_a_wrong_setting_of_prefect_is_one_sentence(start):
    module, word = start.split()
    stopped = subprocess.run(
        [sys.executable, "-m", f"flows.{module}", word], cwd=PROJECT, capture_output=True,
        text=True, check=False, env=os.environ | {"PREFECT_LOGGING_LEVEL": "x"},
    )  # fmt: skip
    assert stopped.returncode == 2
    assert re.fullmatch(
        r"Stopped\nPrefect's LoggingSettings: level: .* found 'X'\n  Correct .*\n", stopped.stderr
    )


@pytest.mark.slow
def test_a_run_ends_with_an_error_soon_after_its_own_prefect_server_dies():
    program = """
import subprocess, sys, time
from flows import lost_server
lost_server.WATCH_EVERY_S = lost_server.STOP_WITHIN_S = 0.02
with lost_server.end_with_own_server():
    try:
        while True:
            command = ["sh", "-c", "read x; exit", lost_server.SERVER]
            server = subprocess.Popen(command, stdin=subprocess.PIPE)
            time.sleep(0.1)
            server.kill()
            server.wait()
    except KeyboardInterrupt:
        print("the stage ends")
        time.sleep(600)  # like Prefect's attempts to reach its server
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "the stage ends\n"), done.stderr
    assert "Prefect: the server that this run started has died\n  Run it again" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-16", "cp037"])
def test_the_output_of_dvc_is_read_in_any_encoding_of_the_terminal(encoding, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    assert dvc.run(tmp_path, "--version").stdout.startswith("3.")


@pytest.mark.parametrize("path", ["", "/usr/bin:/bin", str(Path(sys.executable).parent)])
def test_the_doctor_says_to_activate_if_dvc_would_find_another_python(path, monkeypatch):
    monkeypatch.setenv("PATH", path)
    found = next(d for d in doctor.diagnose(PROJECT) if "`dvc repro`" in d.what)
    is_ours = path == str(Path(sys.executable).parent)
    assert found.status is (Status.OK if is_ours else Status.WARNING)
    assert ("/activate` first." in found.fix) is not is_ours


def test_in_the_environment_of_make_a_command_runs_steps_without_activation(tmp_path):
    """Python runs the line at its start, and DVC passes its PATH on to the steps."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv/lib").glob("python3.*/site-packages")
    shutil.copy(PROJECT / "flows/dvc/selectllm.pth", packages)
    show = "import shutil; print(shutil.which('python'))"
    done = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", show],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "venv/bin/python")
    assert done.stderr == ""
