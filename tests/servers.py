"""Servers on the loopback interface that the tests of services start: PostgreSQL, S3 and others.

A test whose server is not installed is skipped, unless `make test-services` runs it, which installs
all of them.
"""

import contextlib
import getpass
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.workspaces import free_port, wait_until

PASSWORD = "s3cret-of-the-database"
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]), None)
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
MLFLOW_HOST = "mlflow.example:5000"
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


@contextlib.contextmanager
def running(folder: Path, port: int, *command: str, **env: str) -> Iterator[Path]:
    """Start a server, wait until its port is open, yield its log, and stop it at the end."""
    log = folder / f"{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=os.environ | env, stdout=output, stderr=output, process_group=0
        )
    try:
        wait_until(lambda: is_open(port), within_s=300, evidence=log.read_text)
        yield log
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def is_open(port: int) -> bool:
    """Return whether something listens at a port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass(frozen=True)
class Remote:
    """A storage for DVC's cache.

    Attributes:
        url: Its URL.
        options: The options that `dvc remote modify` sets.
        env: The environment variables that it needs.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[Remote]:
    """Start a server that speaks S3, with one bucket."""
    require(importlib.util.find_spec("moto"), "selectllm[services]")
    require(importlib.util.find_spec("dvc_s3"), "dvc-s3")
    import boto3  # noqa: PLC0415

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    keys = {"aws_access_key_id": "tester", "aws_secret_access_key": "s3cret-of-the-bucket"}
    with running(folder, port, sys.executable, "-m", "moto.server", "-H", "127.0.0.1", f"-p{port}"):
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(
            Bucket="selectllm"
        )
        env = {name.upper(): value for name, value in keys.items()}
        yield Remote("s3://selectllm/cache", {"endpointurl": url}, env)


@contextlib.contextmanager
def running_ssh(folder: Path) -> Iterator[Remote]:
    """Start an SSH server that lets this user in with a new key."""
    require(SSHD, "the program sshd")
    require(importlib.util.find_spec("dvc_ssh"), "dvc-ssh")
    for name in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "key.pub", "PidFile": "none", "StrictModes": "no",
        "UsePAM": "no", "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with running(folder, port, str(SSHD), "-D", "-e", "-f", str(config)):
        (folder / "cache").mkdir()
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder / 'cache'}"
        yield Remote(url, {"keyfile": str(folder / "key")})


@contextlib.contextmanager
def running_mlflow(folder: Path, database: str) -> Iterator[str]:
    """Start an MLflow server as docs/how-to/services.md says; yield its URL on loopback.

    It also answers requests whose address is `MLFLOW_HOST`.
    """
    port = free_port()
    env = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = (sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port))
    hosts = ("--host", "127.0.0.1", "--allowed-hosts", f"{MLFLOW_HOST},127.0.0.1:{port}")
    store = ("--artifacts-destination", str(folder / "artifacts"))
    with running(folder, port, *command, *hosts, *store, **env):
        yield f"http://127.0.0.1:{port}"
