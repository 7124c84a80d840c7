"""The only Prefect task: run one stage with DVC and report how it ended."""

import logging
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
from flows.dvc.events import EventTail
from flows.prefect_log import shorten_errors
from tasks.lib.core.dvc_yaml import StageSpec
from tasks.lib.core.errors import CheckFailed, CurationError, StageFailed
from tasks.lib.core.events import EVENTS_VARIABLE, RUN_VARIABLE, Ended, read_events
from tasks.lib.core.format_text import visible
from tasks.lib.core.hiding import hide
from tasks.lib.core.inputs import DeclaredInputs
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params
from tasks.lib.core.stage import STATE_DIR

POLL_S = 0.1
KEPT_LINES = 40  # of the output of DVC and the step, shown if the stage fails
STOP_WITHIN_S = 2.5


@dataclass(frozen=True)
class Run:
    """One run of the whole graph.

    Attributes:
        workspace: The folder that the run works in.
        lock: The file descriptor of the run lock, which child processes inherit.
        user_workspace: The user's folder, whose state folder contains all paid answers; the same as
            `workspace` unless the run has its own workspace.
        sets: The keys that the run's parameters set, on one line; empty if there are none.
    """

    workspace: Path
    id: str
    lock: int
    user_workspace: Path
    sets: str = ""


shorten_errors()


class Done(NamedTuple):
    """How a stage's task ended, and how long it took."""

    state: State[Any]
    seconds: float


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return whether the step died; a step that gave a reason would fail again in the same way."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, StageFailed) and failure.died


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_worth_retrying)
def run_stage(stage: StageSpec, run: Run, *, is_current: bool) -> State[Any]:
    """Bring one stage up to date with `dvc repro`, unless DVC reports that it is current.

    DVC is the only cache, so the state says what happened: Completed if the step ran; Cached if its
    outputs were already there or came from DVC's cache; Failed if the step ended with an error (the
    state contains a StageFailed with the step's own message and exit status).
    """
    if is_current:
        return _cached("unchanged")
    events = run.workspace / STATE_DIR / "events" / f"{run.id}-{stage.name}.jsonl"
    events.parent.mkdir(parents=True, exist_ok=True)
    events.unlink(missing_ok=True)  # left by an earlier attempt
    before = _snapshot(run.workspace, stage)
    try:
        exit_code, lines = _repro(stage, run, events)
    except CurationError as error:  # params.yaml can no longer be read
        return Failed(message=str(error), data=error)
    reported, _ = read_events(events)
    ended = next((event for event in reported if isinstance(event, Ended)), None)
    if exit_code:
        has_reason = ended is not None and bool(ended.exit_code)
        # The state contains the reason, which is enough for a user's mistake.
        level = logging.DEBUG if has_reason else logging.ERROR
        get_run_logger().log(level, "%s", visible(hide("\n".join(lines))))
        failure = _failure(stage, ended, has_started=bool(reported))
        return Failed(message=str(failure), data=failure)
    if reported:
        return Completed(message="ran")
    same = before == _snapshot(run.workspace, stage)
    return _cached("unchanged" if same else "restored from DVC's cache")


def _cached(message: str) -> State[Any]:
    return Completed(name="Cached", message=message)


def stage_task(stage: StageSpec) -> Task[Any, Any]:
    """Return the task of one stage, with its name, description and number of retries."""
    return run_stage.with_options(
        name=stage.name,
        description=stage.desc,
        task_run_name=stage.name,
        retries=stage.retries,
        retry_delay_seconds=2,
    )


class Reproduced(NamedTuple):
    """The exit status of `dvc repro`, and the last lines that it printed."""

    exit_code: int
    lines: list[str]


def _repro(stage: StageSpec, run: Run, events: Path, *options: str) -> Reproduced:
    """Run `dvc repro` on this stage alone; run it again if an input changed before DVC hashed it.

    The step refuses inputs that change while it runs, but DVC hashes them only after the step ends.
    """
    values = read_params(run.workspace / PARAMS_FILE)
    params = {key: lookup(values, key) for key in stage.params}
    inputs = DeclaredInputs(run.workspace, stage.deps, params)
    done = _repro_once(stage, run, events, *options)
    if done.exit_code or not events.exists():
        return done
    try:
        inputs.check_unchanged()
    except CurationError as error:
        get_run_logger().warning("%s runs again: %s", stage.name, error.what)
        events.unlink()
        return _repro(stage, run, events, "--force")
    return done


def _repro_once(stage: StageSpec, run: Run, events: Path, *options: str) -> Reproduced:
    """Run `dvc repro` on this stage alone, and pass on its step's events.

    The option -q is never used, since it also hides error messages.
    """
    # DVC sets DVC_ROOT to the same folder in the copies that it makes for experiments.
    env = dvc.environment(run.workspace) | {
        "DVC_ROOT": str(run.user_workspace),
        "SELECTLLM_SCRATCH": str(run.workspace / STATE_DIR),
        EVENTS_VARIABLE: str(events),
        RUN_VARIABLE: run.id,
    }
    process = subprocess.Popen(
        [*dvc.COMMAND, "repro", "--single-item", *options, stage.name],
        cwd=run.workspace,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        process_group=0,
        pass_fds=(run.lock,),
    )
    try:
        lines = _follow(process, EventTail(stage.name, events))
        return Reproduced(process.wait(), lines)
    except BaseException:
        _stop(process)
        raise


def _follow(process: subprocess.Popen[str], events: EventTail) -> list[str]:
    """Pass on the step's events until DVC closes its output; return the output's last lines."""
    lines: deque[str] = deque(maxlen=KEPT_LINES)

    def pump() -> None:
        lines.extend(line.rstrip() for line in process.stdout or ())

    pumping = threading.Thread(target=pump, daemon=True)
    pumping.start()
    while pumping.is_alive():
        pumping.join(POLL_S)
        events.poll()
    return [line for line in lines if line]


def _stop(process: subprocess.Popen[str]) -> None:
    """Interrupt DVC and its step, as Ctrl-C does; kill them if they take too long to end."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        return


def _snapshot(workspace: Path, stage: StageSpec) -> list[tuple[int, int] | None]:
    """Return the outputs' modification times and inodes, which change if DVC restores them."""
    paths = [workspace / out.path for out in stage.outs]
    stats = [path.stat() if path.exists() else None for path in paths]
    return [(s.st_mtime_ns, s.st_ino) if s else None for s in stats]


def _failure(stage: StageSpec, ended: Ended | None, *, has_started: bool) -> StageFailed:
    """Return the error of a failed stage: the step's own, or that the step or DVC stopped early."""
    if ended and ended.exit_code:
        failure = StageFailed.parse(ended.reason)
        failure.exit_code = ended.exit_code
        failure.is_check = ended.exit_code == CheckFailed.exit_code
        return failure
    where = f"stage {stage.name}"
    if not has_started:
        return StageFailed(
            "DVC stopped before the step started; its output in the log says why",
            where=where,
            fix="Run `selectllm doctor`.",
        )
    failure = StageFailed(
        "the step died before it could give a reason", where=where, fix="Run it again to continue."
    )
    failure.died = True
    return failure
