"""Run a step with only its declared paths; publish all of its outputs or none; report status."""

import errno
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from tasks.lib.core.dvc_yaml import DVC_FILE, read_stage
from tasks.lib.core.errors import INTERRUPTED, CurationError, DataError, GraphError
from tasks.lib.core.events import EventLog, Events, Progress, VisibleFormatter, log
from tasks.lib.core.inputs import DeclaredInputs
from tasks.lib.core.locks import exit_with_parent, write_lock
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params

STATE_DIR = ".selectllm"
JOURNAL = "journal.sqlite"  # in the state folder

_FIXES = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        "Free some space there or make it writable, then run this again.",
    ),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
        "Move away the file where a folder should be, or the folder where a file should be.",
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE),
        "Raise the limit of open files with `ulimit -n 4096`, then run this again.",
    ),
    errno.EIO: "Check the disk, then run this again.",
}
"""What to do about operating system errors that are not a step's fault, by error code."""

QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "true",
}
"""Environment variables that turn off telemetry, hidden downloads and ``.env`` files."""


class Stage:
    """One stage of dvc.yaml, as its step sees it.

    Attributes:
        name: The stage's name.
        values: The full contents of params.yaml.
        params: The declared parameters by dotted key, with their values in params.yaml.
        state: The folder for data that must outlive a run, such as the journal and stored vectors.
            All copies of a workspace that DVC makes for experiments share it.
        scratch: The folder for data about the last run only, such as a failed validation. Each
            variant of a comparison has its own.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.values: Mapping[str, Any] = read_params(root / PARAMS_FILE)
        self.state = Path(os.environ.get("DVC_ROOT") or root) / STATE_DIR
        self.scratch = Path(os.environ.get("SELECTLLM_SCRATCH") or self.state)
        self._root = root
        spec = read_stage(root, name, self.values)
        self.params = {key: lookup(self.values, key) for key in spec.params}
        self._deps, self._outs = spec.deps, tuple(out.path for out in spec.outs)
        self._parts: dict[Path, Path] = {}
        self._events = Events(name)

    def dep(self, tail: str) -> Path:
        """Return the declared dependency that ends with `tail`, such as ``ingest/pool.parquet``.

        Raises:
            GraphError: No dependency, or more than one, ends with `tail`.
            DataError: The dependency is declared but does not exist.
        """
        path = self._root / self._find(tail, self._deps, "deps")
        if not path.exists():
            raise DataError(
                "this step needs the file, but it does not exist",
                where=str(path),
                fix=f"Run `dvc repro {self.name}`, which runs the earlier stages first.",
            )
        return path

    def out(self, tail: str) -> Path:
        """Return where to write the declared output that ends with `tail`.

        This is a temporary path next to the output, renamed only after the whole step succeeds.
        The step must create a file or a folder there, whichever dvc.yaml declares.

        Raises:
            GraphError: No output, or more than one, ends with `tail`.
        """
        target = self._root / self._find(tail, self._outs, "outs")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = self._parts[target] = target.with_name(f".{target.name}.part")
        _remove(part)
        return part

    def progress(self, total: int, unit: str) -> Progress:
        """Return a counter that reports this step's progress."""
        return Progress(self._events, self.name, total, unit)

    def run(self, work: Callable[["Stage"], None]) -> None:
        """Do the step's work, then publish all of its outputs or none.

        Raises:
            DataError: A dependency changed during the work.
            ParamError: A declared parameter changed during the work.
        """
        self._events.started()
        with write_lock(self._root / STATE_DIR / "step.lock"):
            inputs = DeclaredInputs(self._root, self._deps, self.params)
            try:
                try:
                    work(self)
                except (OSError, ValueError, DataError):
                    inputs.check_unchanged()  # a change explains most errors in reading
                    raise
                inputs.check_unchanged()
                for target, part in self._parts.items():
                    if target.is_dir():  # os.replace overwrites only files
                        shutil.rmtree(target)
                    os.replace(part, target)
            finally:
                for part in self._parts.values():
                    _remove(part)

    def _find(self, tail: str, declared: Sequence[str], kind: str) -> str:
        parts = PurePosixPath(tail).parts
        matches = [path for path in declared if PurePosixPath(path).parts[-len(parts) :] == parts]
        if len(matches) == 1:
            return matches[0]
        raise GraphError(
            f"expected exactly one declared path for {tail}, found {len(matches)}",
            where=f"{DVC_FILE}: stages.{self.name}.{kind}",
            fix=f"Declare it exactly once; currently declared: {', '.join(declared)}.",
        )


def run_step(name: str, work: Callable[[Stage], None]) -> NoReturn:
    """Run one step as a program in the current folder, and exit with its status.

    Exit status: 0 success; 1 a check failed; 2 bad input; 130 interrupted.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.INFO)
    events = Events(name)
    log.addHandler(EventLog(events))
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    exit_with_parent()
    exit_code, reason = _outcome(name, work)
    if reason:
        sys.stderr.write(f"{reason}\n")  # not logged, since the last event contains it too
    with suppress(OSError):
        events.ended(exit_code, reason)
    raise SystemExit(exit_code)


def _outcome(name: str, work: Callable[[Stage], None]) -> tuple[int, str]:
    """Run the step; return its exit status and, if it failed, the reason."""
    try:
        Stage(name, Path.cwd()).run(work)
    except CurationError as error:
        return error.exit_code, str(error)
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted\n  Run it again to continue."
    except OSError as error:
        is_full = "No space left" in str(error)  # as Arrow puts it, with no error code
        fix = _FIXES.get(errno.ENOSPC if is_full else error.errno or 0)
        if fix is None:
            raise
        place = str(error.filename or f"stage {name}")
        failure = DataError(error.strerror or str(error), where=place, fix=fix)
        return failure.exit_code, str(failure)
    return 0, ""


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
