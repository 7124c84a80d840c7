"""The only Prefect task: run one stage through DVC, and say what became of it."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed, Failed

from flows import dvc
from flows.errors import StageFailed
from flows.graph import Stage
from flows.workspace import STATE_DIR

POLL_S = 0.1
STOP_WITHIN_S = 2.5


@dataclass(frozen=True)
class Run:
    """One run of the whole graph: its workspace, its id, and the lock its children hold."""

    root: Path
    id: str
    lock: int


class Done(NamedTuple):
    """How a stage's task ended, and how long it took."""

    state: State[Any]
    seconds: float


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Only a step that died is run again; one that said why would say the same twice."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.died


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_worth_retrying)
def run_stage(stage: Stage, run: Run) -> State[Any]:
    """Bring one stage up to date with `dvc repro`.

    DVC is the only cache, so the state comes from what happened: Completed when the step ran,
    Cached when its outputs were already there or came back from DVC's cache, Failed when the step
    ended with an error (the state holds a StageFailed with the step's own words and exit status).
    """
    events = run.root / STATE_DIR / "events" / f"{run.id}-{stage.name}.jsonl"
    events.parent.mkdir(parents=True, exist_ok=True)
    events.unlink(missing_ok=True)  # of an earlier attempt
    before = _snapshot(run.root, stage)
    exit_code = _repro(stage, run, events)
    told = list(_read(events))
    ended = next((e for e in told if e["event"] == "ended"), None)
    if exit_code:
        failure = _failure(stage, ended, bool(told))
        return Failed(message=str(failure), data=failure)
    if told:
        return Completed(message="ran")
    same = before == _snapshot(run.root, stage)
    return Completed(name="Cached", message="unchanged" if same else "restored from DVC's cache")


def stage_task(stage: Stage) -> Task[Any, Any]:
    """The task of one stage: its name, description and number of retries."""
    return run_stage.with_options(
        name=stage.name,
        description=stage.desc,
        task_run_name=stage.name,
        retries=stage.retries,
        retry_delay_seconds=2,
    )


def _repro(stage: Stage, run: Run, events: Path) -> int:
    """Run `dvc repro` on this stage alone, its lines and progress shown; its exit status.

    Never with -q, which hides the text of an error as well.
    """
    env = dvc.environment() | {"SELECTLLM_EVENTS": str(events), "SELECTLLM_RUN_ID": run.id}
    process = subprocess.Popen(
        [*dvc.COMMAND, "repro", "--single-item", stage.name],
        cwd=run.root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
        pass_fds=(run.lock,),
    )
    try:
        _show(process, _Progress(stage, events))
        return process.wait()
    except BaseException:
        _stop(process)
        raise


def _show(process: subprocess.Popen[str], progress: "_Progress") -> None:
    """Pass on DVC's lines and the step's progress until DVC closes its output."""
    logger = get_run_logger()
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def pump() -> None:
        for line in process.stdout or ():
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            progress.look()
            continue
        if line is None:
            progress.look()
            return
        if line:
            logger.info("%s", line)


def _stop(process: subprocess.Popen[str]) -> None:
    """End DVC and its step as Ctrl-C does, by force if that takes too long."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        return


class _Progress:
    """Shows the last progress event of a step as a Prefect progress artifact."""

    def __init__(self, stage: Stage, events: Path) -> None:
        self._stage, self._events, self._offset = stage, events, 0
        self._artifact: Any = None

    def look(self) -> None:
        """Read what the step has told since the last look."""
        if not self._events.exists() or self._events.stat().st_size == self._offset:
            return
        told = [e for e in _read(self._events, self._offset) if e["event"] == "progress"]
        self._offset = self._events.stat().st_size
        if not told:
            return
        percent = 100.0 * told[-1]["done"] / max(told[-1]["total"], 1)
        if self._artifact is None:
            what = f"{self._stage.name}: {told[-1]['total']:,} {told[-1]['unit']}"
            self._artifact = create_progress_artifact(percent, description=what)
        else:
            update_progress_artifact(self._artifact, percent)


def _read(events: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """The whole lines of an events file from a byte on."""
    if events.exists():
        with events.open("rb") as file:
            file.seek(offset)
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def _snapshot(root: Path, stage: Stage) -> list[tuple[int, int] | None]:
    """What tells an output that was restored from one that was left alone."""
    paths = [root / out.path for out in stage.outs]
    stats = [path.stat() if path.exists() else None for path in paths]
    return [(s.st_mtime_ns, s.st_ino) if s else None for s in stats]


def _failure(stage: Stage, ended: dict[str, Any] | None, started: bool) -> StageFailed:
    """Why a stage failed: what its step said last, or that it or DVC said nothing."""
    if ended and ended["exit_code"]:
        return StageFailed(ended["reason"], ended["exit_code"])
    if started:
        return StageFailed(
            f"stage {stage.name} died before it could say why\n  Run it again to go on.", died=True
        )
    return StageFailed(
        f"stage {stage.name}: DVC stopped before the step started; its lines above say why\n"
        "  Try `selectllm doctor`."
    )
