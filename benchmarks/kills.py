"""Start a run, kill a process of it at a random moment, and resume, again and again.

    python -m benchmarks.kills --cycles 30 --seed 0

Each cycle begins with the same workspace, in which the stages before the judge have run. It kills
the step, DVC, the flow, the command, the worker that started the flow, or the Prefect server, in
turn. A resumed run must buy no answer twice, except for calls that were in flight, and its outputs
must be byte-identical to those of an undisturbed run.
"""

import argparse
import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from benchmarks import paid_workspace
from benchmarks.soak import is_up
from tests.fake_provider import FakeProvider
from tests.workspaces import Workspace, free_port, wait_until

N_RECORDS = 100
VICTIMS = {  # a word of the command line
    "step": "tasks.llm_select",
    "dvc": "dvc",
    "flow": "flows.curate",
    "command": "flows.cli",
    "worker": "worker",
    "server": "prefect.server.api.server:create_app",
}
OUTPUTS = ("data/llm_select", "data/choose")
OWN = ("usage.json",)  # it says how many calls had no reply, which is the truth about the kill


class Moment(NamedTuple):
    """When a process is killed: after some calls of the provider, or after some seconds."""

    n_calls: int
    seconds: float


class Outcome(NamedTuple):
    """The facts about a cycle; `wrong` is empty if nothing was lost, bought twice or changed."""

    victim: str
    n_calls_at_kill: int
    n_twice: int
    n_in_flight: int
    seconds_to_end: float  # from the kill until no process of the run is left
    seconds: float
    wrong: str


def main() -> int:
    """Run the cycles, print a row for each, and return 1 if any is wrong."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--cycles", type=int, default=30)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder).resolve()) as bench:
        print("| cycle | killed | calls before | bought twice | in flight | s to end | s | wrong |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        wrong = 0
        for number in range(given.cycles):
            found = bench.cycle(list(VICTIMS)[number % len(VICTIMS)], rng)
            print(f"| {number + 1} | {' | '.join(map(str, found))} |", flush=True)
            wrong += bool(found.wrong)
    print(
        f"\n{given.cycles - wrong} of {given.cycles} cycles lost nothing and bought nothing twice"
    )
    return int(wrong > 0)


@contextlib.contextmanager
def prefect_server(env: dict[str, str], log_file: Path) -> Iterator[str]:
    """Run a Prefect server, and yield the URL of its API."""
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, process_group=0)
    url = f"http://127.0.0.1:{port}/api"
    try:
        wait_until(lambda: is_up(f"{url}/health"), within_s=600, poll_s=0.5)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=120)


class Bench:
    """A finished run to compare with, and the workspace from which each cycle starts."""

    def __init__(self, root: Path) -> None:
        self.root, self.base = root, root / "base"
        (root / "home").mkdir()
        with FakeProvider() as provider:
            self.port = provider.port
            self.env = paid_workspace.make(self.base, root / "home", provider, N_RECORDS).env
            self.server = prefect_server(self.env, root / "server.log")
            whole = self._copy("undisturbed")
            whole.dvc("repro", "-q", "choose")
            self.n_questions = len(provider.n_answers)
        self.expected = content(whole.root)

    def __enter__(self) -> Self:
        self.env["PREFECT_API_URL"] = self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)

    def cycle(self, victim: str, rng: random.Random) -> Outcome:
        """Start, kill, and resume a run in a fresh copy of the workspace."""
        start = time.monotonic()
        space = self._copy("killed")
        moment = Moment(rng.randrange(self.n_questions), rng.uniform(0, 0.5))
        wrong: list[str] = []
        with FakeProvider(latency_s=(0.1, 0.3), port=self.port) as provider:
            starter = self._start(space, victim)
            limit = time.monotonic() + 300
            while len(provider.calls) < moment.n_calls and time.monotonic() < limit:
                time.sleep(0.002)
            time.sleep(moment.seconds)
            kill(space, starter, VICTIMS[victim])
            n_calls, killed = len(provider.calls), time.monotonic()
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not running(space, starter), within_s=120)
            seconds_to_end = round(time.monotonic() - killed, 1)
            wrong += [f"{p.cmdline()[-2:]} still runs" for p in running(space, starter)]
            end(space, starter)
            n_lost = lost(space)
            resumed = space.selectllm("run", check=False)
            n_twice = provider.n_answers.total() - self.n_questions
            n_lost = max(n_lost, lost(space))
        if resumed.returncode:
            wrong.append(
                f"the resumed run ended with {resumed.returncode}: {resumed.stderr[-300:]}"
            )
        if len(provider.n_answers) != self.n_questions:
            wrong.append(f"{len(provider.n_answers)} of {self.n_questions} questions are answered")
        if n_twice > n_lost:
            wrong.append(f"{n_twice} bought twice, but {n_lost} in flight")
        if content(space.root) != self.expected:
            wrong.append("other bytes")
        seconds = round(time.monotonic() - start, 1)
        return Outcome(victim, n_calls, n_twice, n_lost, seconds_to_end, seconds, "; ".join(wrong))

    def _copy(self, name: str) -> Workspace:
        root = self.root / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.base, root, symlinks=True)
        return Workspace(root, dict(self.env))

    def _start(self, space: Workspace, victim: str) -> subprocess.Popen[str]:
        if victim == "server":  # the run starts one of its own
            del space.env["PREFECT_API_URL"]
        if victim != "worker":
            return space.start("run")
        prefect = (sys.executable, "-m", "prefect", "--no-prompt")
        space.run(*prefect, "work-pool", "create", "selectllm", "--type", "process", "--overwrite")
        space.run(*prefect, "deploy", "--name", "nightly")
        space.run(*prefect, "deployment", "run", "curate/nightly")
        return subprocess.Popen(
            [*prefect[:3], "worker", "start", "--pool", "selectllm"],
            cwd=space.root, env=space.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            text=True, process_group=0,
        )  # fmt: skip


def kill(space: Workspace, starter: subprocess.Popen[str], word: str) -> None:
    """Kill the process with this word in its command line, if it still runs."""
    for process in running(space, starter):
        with contextlib.suppress(psutil.Error):
            if word in process.cmdline():
                process.kill()
                return


def running(space: Workspace, starter: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of a run, which may have lost their parents."""
    starter.poll()  # so that it is no zombie
    return space.processes()


def end(space: Workspace, starter: subprocess.Popen[str]) -> None:
    """End what still runs, so that the next run can start."""
    for process in running(space, starter):
        with contextlib.suppress(psutil.Error):
            process.kill()
    starter.wait()
    if starter.stdout:
        starter.stdout.close()


def lost(space: Workspace) -> int:
    """Return the number of calls in the journal to which no reply is known."""
    path = space.root / ".selectllm/journal.sqlite"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path)) as db:
        query = "SELECT count(*) FROM calls WHERE outcome IN ('open', 'lost')"
        return int(db.execute(query).fetchone()[0])


def content(root: Path) -> dict[str, bytes]:
    """Return the outputs of the judge and of the choice."""
    files = (file for part in OUTPUTS for file in (root / part).glob("*") if file.is_file())
    return {file.name: file.read_bytes() for file in files if file.name not in OWN}


if __name__ == "__main__":
    sys.exit(main())
