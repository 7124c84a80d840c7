"""Servers on the loopback interface that the tests of services start: PostgreSQL, S3 and others.

A test whose server is not installed is skipped, unless `make test-services` runs it, which installs
all of them.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workspaces import free_port

PASSWORD = "s3cret-of-the-database"
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]), None)
OWNER = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root


def require(is_there: object, what: str) -> None:
    """Skip the test if what it needs is not there; fail it if it must be."""
    if is_there:
        return
    if os.environ.get("SELECTLLM_SERVICES"):
        pytest.fail(f"needs {what}, which `make test-services` installs")
    pytest.skip(f"needs {what}")


@dataclass(frozen=True)
class PostgreSQL:
    """A running server, with a superuser named reader.

    Attributes:
        folder: The folder of its files.
        port: Its port on 127.0.0.1.
    """

    folder: Path
    port: int

    def new_database(self) -> str:
        """Create an empty database; return its name."""
        name = f"d{secrets.token_hex(6)}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return name

    def execute(self, database: str, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        import psycopg  # noqa: PLC0415

        where = f"host=127.0.0.1 port={self.port} user=reader password={PASSWORD}"
        with psycopg.connect(f"{where} dbname={database}", autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str, driver: str = "postgresql+psycopg", *, login: str = "") -> str:
        """Return the URL of a database; without a password unless `login` has one."""
        return f"{driver}://{login or 'reader'}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop the server at once, as a crash would."""
        program(self.folder, "pg_ctl", "-D", "db", "-m", "immediate", "stop")

    def start(self) -> None:
        """Start the server."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        program(self.folder, "pg_ctl", "-D", "db", "-l", "log", "-o", options, "-w", "start")


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Start a server with an empty cluster, and remove it at the end."""
    require(PROGRAMS or shutil.which("initdb"), "the PostgreSQL server's programs")
    folder = Path("/tmp") / f"selectllm-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    if OWNER:
        for path in (folder, folder / "password"):
            shutil.chown(path, OWNER)
    server = PostgreSQL(folder, free_port())
    try:
        user = ("-U", "reader", "-A", "scram-sha-256", "--pwfile=password")
        program(folder, "initdb", *user, "-E", "UTF8", "--no-sync", "db")
        server.start()
        yield server
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it may not run
            server.stop()
        shutil.rmtree(folder)


def program(folder: Path, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs in a folder."""
    path = str(PROGRAMS / name) if PROGRAMS else name
    with (folder / f"{name}.out").open("w") as output:  # the server would keep a pipe open
        subprocess.run(
            [path, *arguments], cwd=folder, user=OWNER, stdout=output, stderr=output, check=True
        )


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Return a running PostgreSQL server."""
    with running_postgresql() as server:
        yield server
