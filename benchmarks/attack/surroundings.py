"""G: proxies, servers, databases, folders, disks and streams that do not work."""

import contextlib
import functools
import os
import random
import resource
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from benchmarks.attack import trial
from benchmarks.attack.trial import Finding, broken
from tests.fake_provider import FakeProvider
from tests.money_desk import MoneyDesk
from tests.workspaces import PROJECT, Workspace, free_port, lay_out

COMMANDS = (
    *("tasks.llm_select", "tasks.llm_select", "tasks.ingest", "tasks.dedupe", "tasks.choose"),
    *("doctor", "doctor", "plan", "estimate", "verify", "journal sum", "run", "run"),
)
SECRET_FREE = {"DVC_ROOT": trial.UNSET, "PREFECT_API_URL": trial.UNSET}


@functools.cache
def toy() -> Workspace:
    """Return a repository with the two stages of tests/toy, made once."""
    root = Path(tempfile.mkdtemp(prefix="toy-"))
    shutil.copytree(PROJECT / "tests/toy", root / "toy")
    lay_out(root / "toy", "tasks/__init__.py", "tasks/__main__.py", "tasks/lib", "flows")
    return Workspace.commit(root / "toy", root)


class Case:
    """A workspace, an environment and limits, which the faults change."""

    def __init__(self, rng: random.Random, root: Path, opened: contextlib.ExitStack) -> None:
        self.rng, self.root, self.opened = rng, root, opened
        self.env = dict(SECRET_FREE)
        self.limits: list[tuple[int, int]] = []
        self.stdout = ""

    def dead(self) -> str:
        """Return an address at which nothing listens."""
        return f"127.0.0.1:{free_port()}"

    def silent(self) -> str:
        """Return the address of a server that accepts connections and never answers."""
        server = self.opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        return f"127.0.0.1:{server.getsockname()[1]}"

    def odd(self) -> str:
        """Return the address of a server that answers everything with some status and text."""
        rng = self.rng
        status, body = (
            rng.choice((200, 401, 404, 500, 503)),
            rng.choice((b"", b"<html>", b"[]", b"{}")),
        )

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_CONNECT = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.opened.callback(server.shutdown)
        return f"127.0.0.1:{server.server_port}"

    def address(self) -> str:
        """Return the address of a server that is of no use."""
        return self.rng.choice((self.dead, self.silent, self.odd))()


def proxy(case: Case) -> str:
    """Set proxies that do not work."""
    for name in case.rng.sample(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"], 2):
        case.env[name] = f"{case.rng.choice(('http', 'socks5', 'nonsense'))}://{case.address()}"
    case.env["NO_PROXY"] = case.rng.choice(("", "example.org", "127.0.0.1", "*"))
    return "proxy"


def prefect_url(case: Case) -> str:
    """Name a Prefect server that does not work."""
    url = case.rng.choice((
        f"http://{case.address()}/api", f"https://{case.address()}/api", "http://", "nonsense",
        "http://[::1", f"http://{case.address()}", "http://no-such-host.invalid/api", "ftp://x/api",
    ))  # fmt: skip
    case.env["PREFECT_API_URL"] = url
    return "PREFECT_API_URL"


def mlflow_url(case: Case) -> str:
    """Name an MLflow store that does not work."""
    case.env["MLFLOW_TRACKING_URI"] = case.rng.choice((
        f"http://{case.address()}", f"https://{case.address()}", "nonsense://x", "sqlite:////no/x.db",
        f"postgresql://joe@{case.address()}/d", "http://no-such-host.invalid", "databricks",
        "\x1b[31m",
        f"sqlite:///{case.root}/damaged.db", f"file://{case.root}/params.yaml",
    ))  # fmt: skip
    (case.root / "damaged.db").write_bytes(case.rng.randbytes(5000))
    return "MLFLOW_TRACKING_URI"


def prefect_home(case: Case) -> str:
    """Damage Prefect's folder."""
    home = case.root / "home"
    home.mkdir()
    kind = case.rng.randrange(4)
    if kind == 0:
        (home / "prefect.db").write_bytes(case.rng.randbytes(case.rng.choice((0, 10, 5000))))
    elif kind == 1:
        home.rmdir()
        home.write_text("")
    elif kind == 2:
        (home / "profiles.toml").write_bytes(case.rng.choice((b"[", b"\xff\xfe", b"active = 5")))
    else:
        (home / "prefect.db").mkdir()
    case.env["PREFECT_HOME"] = str(home)
    return f"Prefect's home {kind}"


def variables(case: Case) -> str:
    """Set variables that many programs read."""
    odd = {
        "HOME": ("/no/such", "", trial.UNSET), "TMPDIR": ("/no/such", "/dev/null", ""),
        "LC_ALL": ("C", "xx_XX", "tr_TR.UTF-8"), "PYTHONIOENCODING": ("ascii", "utf-16"),
        "TERM": ("dumb", "x\x1b"), "COLUMNS": ("1", "x", "0", "99999"), "NO_COLOR": ("1",),
        "PATH": ("/no/such", ""), "SELECTLLM_EVENTS": ("/no/such/x", "/", "/dev/full"),
        "SELECTLLM_SCRATCH": ("/dev/null/x",), "DVC_ROOT": ("/no/such", "/dev/null", ""),
        "GIT_DIR": ("/no/such",), "OMP_NUM_THREADS": ("0", "x"), "TZ": ("Nowhere/X",),
        "XDG_CONFIG_HOME": ("/dev/null",), "LITELLM_LOG": ("DEBUG", "x"), "PYTHONUTF8": ("0",),
        "PREFECT_LOGGING_LEVEL": ("x", "DEBUG"), "DVC_SITE_CACHE_DIR": ("/dev/null",),
    }  # fmt: skip
    names = case.rng.sample(list(odd), case.rng.randint(1, 3))
    for name in names:
        case.env[name] = case.rng.choice(odd[name])
    return " ".join(f"{name}={case.env[name]!r}" for name in names)


def stored(case: Case) -> str:
    """Damage what is kept between runs."""
    state = case.root / ".selectllm"
    name = case.rng.choice(("journal.sqlite", "journal.sqlite", "journal.lock", "step.lock", ""))
    path = state / name
    if not name:
        shutil.rmtree(state, ignore_errors=True)
        state.write_text("")
        return "a file as the state folder"
    state.mkdir(exist_ok=True)
    kind = case.rng.choice(("noise", "empty", "folder", "other database", "link", "newer"))
    if kind == "folder":
        path.mkdir()
    elif kind in ("other database", "newer"):
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE answers (x)")
            db.execute(f"PRAGMA user_version = {99 if kind == 'newer' else 0}")
            db.execute(f"PRAGMA application_id = {0x534C4C4D if kind == 'newer' else 7}")
    elif kind == "link":
        path.symlink_to("/no/such/folder/x")
    else:
        path.write_bytes(case.rng.randbytes(9000) if kind == "noise" else b"")
    return f"{name}: {kind}"


def files(case: Case) -> str:
    """Damage a file of the project, or an input."""
    there = [p for p in case.root.rglob("*") if p.is_file() and ".git/" not in str(p)]
    there = [
        p for p in there if p.suffix in (".yaml", ".parquet", ".npy", ".json", ".jsonl", ".lock")
    ]
    there += [p for p in (case.root / ".dvc/config", case.root / ".git/HEAD") if p.exists()]
    there = [p for p in there if "tasks/" not in str(p) and not p.is_symlink()]
    path = case.rng.choice(sorted(there))
    content = path.read_bytes()
    kind = case.rng.choice(("gone", "folder", "noise", "cut", "empty", "not UTF-8", "bomb", "tabs"))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.write_bytes({
            "noise": case.rng.randbytes(3000), "cut": content[: len(content) // 2], "empty": b"",
            "not UTF-8": b"\xff\xfe" + content, "tabs": content.replace(b"  ", b"\t"),
            "bomb": b"a: &a [1,1]\n" + b"".join(
                b"%c: &%c [*%c,*%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 120)
            ),
        }[kind])  # fmt: skip
    return f"{path.relative_to(case.root)}: {kind}"


def folders(case: Case) -> str:
    """Put a file where a folder is needed, or a folder that nobody can write to."""
    name = case.rng.choice(
        ("data/llm_select", "data/ingest", "data/dedupe", ".selectllm", "mlruns")
    )
    path = case.root / name
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return f"a file as {name}"


def full_disk(case: Case) -> str:
    """Mount a disk of a few kilobytes, or limit the size of files."""
    name = case.rng.choice(
        ("data/llm_select", "data/ingest", ".selectllm", "tmp", "limit", "limit")
    )
    if name == "limit":
        size = case.rng.choice((20_000, 100_000))
        case.limits.append((resource.RLIMIT_FSIZE, size))
        return f"files of at most {size} bytes"
    path = case.root / name
    path.mkdir(parents=True, exist_ok=True)
    size = case.rng.choice(("4k", "64k"))
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=8", "none", str(path))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "a disk that cannot be mounted"
    case.opened.callback(lambda: subprocess.run(("umount", "-l", str(path)), check=False))
    if name == "tmp":
        case.env["TMPDIR"] = str(path)
    return f"{name} on a disk of {size}"


def few_files(case: Case) -> str:
    """Allow few open files."""
    n = case.rng.choice((16, 32, 64))
    case.limits.append((resource.RLIMIT_NOFILE, n))
    return f"at most {n} open files"


def streams(case: Case) -> str:
    """Take the standard output away."""
    case.stdout = case.rng.choice(("full", "closed", "broken pipe"))
    return f"stdout: {case.stdout}"


FAULTS: tuple[Callable[[Case], str], ...] = (
    *(proxy, prefect_url, mlflow_url, prefect_home, variables, variables, variables, stored),
    *(stored, files, files, files, folders, full_disk, full_disk, few_files, streams),
)


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Run a command in broken surroundings."""
    command = rng.choice(COMMANDS)
    space = root / "space"
    with contextlib.ExitStack() as opened:
        provider = opened.enter_context(FakeProvider())
        _make(space, command, provider)
        case = Case(rng, space, opened)
        case.env["PREFECT_HOME"] = str(root / "prefect")
        chosen = rng.sample(FAULTS, rng.choice((1, 1, 2)))
        words = [fault(case) for fault in dict.fromkeys(chosen)]
        module, *arguments = (
            command.split() if command.startswith("tasks") else ("flows.cli", *command.split())
        )
        if module == "tasks.llm_select":
            module = "benchmarks.attack.quick_step"
        ran = trial.run(module, *arguments, cwd=space, env=case.env, limits=case.limits,
                        patience=patience, stdout=case.stdout, log=root / "log")  # fmt: skip
        found = list(trial.ending(ran))
        found += _parts(space)
    return f"{command} with {'; '.join(words)}", found


def _make(space: Path, command: str, provider: FakeProvider) -> None:
    if command == "run":
        shutil.copytree(toy().root, space, symlinks=True)
        return
    desk = MoneyDesk(space, 6)
    desk.set(provider.deployment(), max_attempts=2, timeout_s=5.0)
    (space / "flows").symlink_to(PROJECT / "flows")
    (space / "pool.jsonl").write_text('{"instruction": "Say a word."}\n' * 3)
    desk.update(ingest={"source": "pool.jsonl"})
    subprocess.run(("git", "init", "-q"), cwd=space, check=True)
    lay_out(space, ".dvc/config", ".dvcignore")


def _parts(space: Path) -> Iterator[Finding]:
    """Yield the partial outputs that a step left."""
    for path in space.glob("data/*/.*part"):
        yield broken(f"a partial output is left: {path.name}")


os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
