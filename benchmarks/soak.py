"""Schedule runs on one Prefect server for a long time, with a fault in a third of them.

    python -m benchmarks.soak --runs 50 --keep FOLDER

`prefect server start`, `selectllm serve` and `mlflow server` run throughout. The runs are created
one after the other, as a schedule creates them, and each has new prompts to send. Faults, drawn
from a seed: the provider fails, a process of the run is killed, MLflow does not answer. After each
run, the servers' memory, open files and processes are measured, and the sizes of the
databases. The last lines compare the beginning with the end.
"""

import argparse
import contextlib
import csv
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks import paid_workspace
from tests.behaviours import FAULTS, fails, faulty, honest
from tests.fake_provider import FakeProvider
from tests.workspaces import Workspace, free_port, wait_until

N_RECORDS = 60
FAULT_KINDS = (
    "provider down",
    "provider faulty",
    "kill step",
    "kill dvc",
    "kill flow",
    "no MLflow",
)
CRITERIA = "tasks/llm_select/criteria.txt"
VICTIMS = {"kill step": "tasks.llm_select", "kill dvc": "dvc", "kill flow": "prefect.engine"}
WITHIN_S = 400.0


def main() -> None:
    """Run the soak, and print a row for each run and the comparison."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path, help="an empty folder for the workspace and logs")
    given = arguments.parse_args()
    with (
        contextlib.nullcontext(given.keep)
        if given.keep
        else tempfile.TemporaryDirectory() as folder
    ):
        soak(Path(folder).resolve(), given.runs, random.Random(given.seed))


def soak(root: Path, n_runs: int, rng: random.Random) -> None:
    """Start the servers, run, and print."""
    home = root / "home"
    home.mkdir(parents=True)
    with FakeProvider(latency_s=(0.05, 0.2)) as provider:
        space = paid_workspace.make(root / "workspace", home, provider, N_RECORDS)
        with servers(space, home, root) as running:
            Soak(space, home, provider, running, rng).run(n_runs)


@contextlib.contextmanager
def servers(space: Workspace, home: Path, root: Path) -> Iterator[dict[str, psutil.Process]]:
    """Start the three servers, and stop them at the end."""
    ports = free_port(), free_port()
    space.env["PREFECT_API_URL"] = f"http://127.0.0.1:{ports[0]}/api"
    space.env["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    space.env["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{ports[1]}"
    space.env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven processes that we do not use
    store = f"sqlite:///{home / 'mlflow.db'}"
    python = [sys.executable, "-m"]
    commands = {
        "prefect": [*python, "prefect", "server", "start", "--port", str(ports[0])],
        "mlflow": [
            *(*python, "mlflow", "server", "--backend-store-uri", store, "--workers", "1"),
            *("--artifacts-destination", str(home / "artifacts"), "--port", str(ports[1])),
        ],
        "serve": [*python, "flows.cli", "serve"],
    }
    health = {
        "prefect": f"{space.env['PREFECT_API_URL']}/health",
        "mlflow": f"{space.env['MLFLOW_TRACKING_URI']}/health",
    }
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (root / f"{name}.log").open("wb") as log:
                started[name] = subprocess.Popen(
                    command, cwd=space.root, env=space.env, stdout=log, stderr=log, process_group=0
                )
            if name in health:
                wait_until(lambda url=health[name]: is_up(url), within_s=600, poll_s=0.5)
        yield {name: psutil.Process(process.pid) for name, process in started.items()}
    finally:
        for process in reversed(started.values()):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in started.values():
            process.wait(timeout=120)


def is_up(url: str) -> bool:
    """Return whether a server answers its health check."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, trust_env=False).status_code == 200
    return False


class Soak:
    """Runs, the faults in them, and what is measured after each."""

    def __init__(
        self,
        space: Workspace,
        home: Path,
        provider: FakeProvider,
        servers: dict[str, psutil.Process],
        rng: random.Random,
    ) -> None:
        self.space, self.home, self.provider = space, home, provider
        self.servers, self.rng = servers, rng
        self.api = httpx.Client(
            base_url=f"{space.env['PREFECT_API_URL']}/", timeout=120, trust_env=False
        )

    def run(self, n_runs: int) -> None:
        """Make the runs; write a row for each to soak.csv and to the terminal."""
        deployment = wait_until(self._deployment, within_s=600, poll_s=1.0)
        faults = self._faults(n_runs)
        rows = []
        with (self.home / "soak.csv").open("w") as file:
            for number, fault in enumerate(faults, 1):
                state, seconds = self._one(deployment, number, fault)
                row = {
                    "run": number,
                    "fault": fault,
                    "state": state,
                    "seconds": round(seconds, 1),
                } | self._measure()
                writer = csv.DictWriter(file, list(row))
                if number == 1:
                    writer.writeheader()
                writer.writerow(row)
                file.flush()
                print(*row.values(), flush=True)
                rows.append(row)
        compare(rows)

    def _faults(self, n_runs: int) -> list[str]:
        n_faults = n_runs // 3
        kinds = [FAULT_KINDS[i % len(FAULT_KINDS)] for i in range(n_faults)] + [""] * (
            n_runs - n_faults
        )
        self.rng.shuffle(kinds)
        return kinds

    def _deployment(self) -> str | None:
        found = self.api.post("deployments/filter", json={}).json()
        return next((each["id"] for each in found if each["name"] == "nightly"), None)

    def _one(self, deployment: str, number: int, fault: str) -> tuple[str, float]:
        """Cause a fault in a run that is due now; return its state and the seconds it took."""
        with (self.space.root / CRITERIA).open("a") as criteria:
            criteria.write(f"Prefer records of the kind {number}.\n")
        self.provider.behave = {
            "provider down": fails(503),
            "provider faulty": faulty(sorted(set(FAULTS) - {"time-out"}), rate=0.4, seed=number),
        }.get(fault, honest)
        mlflow = [self.servers["mlflow"], *self.servers["mlflow"].children(recursive=True)]
        for process in mlflow if fault == "no MLflow" else ():
            process.suspend()
        start = time.monotonic()
        run_id: str = wait_until(lambda: self._new_run(deployment), poll_s=1.0)
        if fault in VICTIMS:
            self._kill(VICTIMS[fault])
        state: dict[str, Any] = wait_until(
            lambda: self._ended(run_id), within_s=WITHIN_S, poll_s=0.5
        )
        for process in mlflow:
            process.resume()
        wait_until(lambda: len(self._children()) == 0, poll_s=0.5)
        return state["name"], time.monotonic() - start

    def _new_run(self, deployment: str) -> str | None:
        """Make a run due now, and return its id; return None if the database is locked."""
        made = self.api.post(
            f"deployments/{deployment}/create_flow_run", json={"state": {"type": "SCHEDULED"}}
        )
        if made.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        made.raise_for_status()
        return str(made.json()["id"])

    def _ended(self, run_id: str) -> dict[str, Any] | None:
        state: dict[str, Any] = self.api.get(f"flow_runs/{run_id}").json()["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    def _children(self) -> list[psutil.Process]:
        """Return the processes of a run: those below the process that serves the deployments."""
        (program,) = self.servers["serve"].children()
        return program.children(recursive=True)

    def _kill(self, word: str) -> None:
        """Kill a process of the run, amid the calls."""
        n_before = len(self.provider.calls)
        wait_until(
            lambda: len(self.provider.calls) > n_before + self.rng.randrange(5), within_s=WITHIN_S
        )
        for process in self._children():
            with contextlib.suppress(psutil.Error):
                if any(part == word for part in process.cmdline()):
                    process.kill()
                    return
        raise SystemExit(f"found no process {word}")

    def _measure(self) -> dict[str, Any]:
        """Return what the servers hold, and the sizes of what is stored, in MB."""
        row: dict[str, Any] = {}
        for name, process in self.servers.items():
            tree = [process, *process.children(recursive=True)]
            row[f"{name} MB"] = round(sum(p.memory_info().rss for p in tree) / 1e6, 1)
            row[f"{name} files"] = sum(p.num_fds() for p in tree)
            row[f"{name} processes"] = len(tree)
        stores = {
            "prefect.db": self.home.glob("prefect.db*"),
            "mlflow.db": self.home.glob("mlflow.db*"),
            "journal": self.space.root.glob(".selectllm/journal.sqlite*"),
            "state folder": (p for p in (self.space.root / ".selectllm").rglob("*") if p.is_file()),
            "cache": (p for p in (self.space.root / ".dvc/cache").rglob("*") if p.is_file()),
        }
        return row | {
            name: round(sum(p.stat().st_size for p in paths) / 1e6, 3)
            for name, paths in stores.items()
        }


def compare(rows: list[dict[str, Any]]) -> None:
    """Print the medians of the second fifth and of the last fifth, and the difference per run."""
    fifth = max(1, len(rows) // 5)
    early, late = rows[fifth : 2 * fifth], rows[-fifth:]
    n_between = late[0]["run"] - early[0]["run"]
    print("\n| what | early | late | growth per run |\n|---|---|---|---|")
    for name in list(rows[0])[3:]:
        before, after = (statistics.median(row[name] for row in part) for part in (early, late))
        print(
            f"| {name} | {before:.6g} | {after:.6g} | {(after - before) / max(1, n_between):.3f} |"
        )


if __name__ == "__main__":
    os.nice(5)
    main()
