"""The only Prefect task: run one stage through DVC, and say what became of it."""

import os
import signal
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed, Failed

from flows.dvc import command as dvc
from flows.dvc.events import Hearing, read_events
from flows.dvc.graph import Stage
from flows.dvc.workspace import STATE_DIR
from flows.errors import StageFailed

POLL_S = 0.1
KEPT_LINES = 40  # of DVC's and the step's output, shown when the stage fails
STOP_WITHIN_S = 2.5


@dataclass(frozen=True)
class Run:
    """One run of the whole graph.

    Attributes:
        root: The workspace that it runs in.
        id: Its id.
        lock: The descriptor of the lock that its children hold.
        home: The user's workspace, whose state folder holds what was paid for; the same as `root`
            unless the run has a workspace of its own.
        sets: What its parameters set, on one line; empty when it takes params.yaml as it is.
    """

    root: Path
    id: str
    lock: int
    home: Path
    sets: str = ""


class Done(NamedTuple):
    """How a stage's task ended, and how long it took."""

    state: State[Any]
    seconds: float


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Only a step that died is run again; one that said why would say the same twice."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.died


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_worth_retrying)
def run_stage(stage: Stage, run: Run, *, is_current: bool) -> State[Any]:
    """Bring one stage up to date with `dvc repro`; `is_current` when DVC has said that it is.

    DVC is the only cache, so the state comes from what happened: Completed when the step ran,
    Cached when its outputs were already there or came back from DVC's cache, Failed when the step
    ended with an error (the state holds a StageFailed with the step's own words and exit status).
    """
    if is_current:
        return _cached("unchanged")
    events = run.root / STATE_DIR / "events" / f"{run.id}-{stage.name}.jsonl"
    events.parent.mkdir(parents=True, exist_ok=True)
    events.unlink(missing_ok=True)  # of an earlier attempt
    before = _snapshot(run.root, stage)
    exit_code = _repro(stage, run, events)
    told, _ = read_events(events)
    ended = next((e for e in told if e["event"] == "ended"), None)
    if exit_code:
        failure = _failure(stage, ended, bool(told))
        return Failed(message=str(failure), data=failure)
    if told:
        return Completed(message="ran")
    same = before == _snapshot(run.root, stage)
    return _cached("unchanged" if same else "restored from DVC's cache")


def _cached(message: str) -> State[Any]:
    return Completed(name="Cached", message=message)


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
    """Run `dvc repro` on this stage alone, what its step tells passed on; its exit status.

    Never with -q, which hides the text of an error as well.
    """
    env = dvc.environment() | {
        "DVC_ROOT": str(run.home),  # as DVC sets it in the copies it makes for experiments
        "SELECTLLM_SCRATCH": str(run.root / STATE_DIR),
        "SELECTLLM_EVENTS": str(events),
        "SELECTLLM_RUN_ID": run.id,
    }
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
        lines = _follow(process, Hearing(stage, events))
        exit_code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if exit_code:
        get_run_logger().error("%s", "\n".join(lines))
    return exit_code


def _follow(process: subprocess.Popen[str], hearing: Hearing) -> list[str]:
    """Pass on what the step tells until DVC closes its output; the last lines of that output."""
    lines: deque[str] = deque(maxlen=KEPT_LINES)

    def pump() -> None:
        lines.extend(line.rstrip() for line in process.stdout or ())

    pumping = threading.Thread(target=pump, daemon=True)
    pumping.start()
    while pumping.is_alive():
        pumping.join(POLL_S)
        hearing.listen()
    return [line for line in lines if line]


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
        f"stage {stage.name}: DVC stopped before the step started; its words above say why\n"
        "  Try `selectllm doctor`."
    )
