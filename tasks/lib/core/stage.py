"""The shell around every step: declared paths only, whole outputs or none, one clear ending."""

import errno
import logging
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from ruamel.yaml import YAML

from tasks.lib.core.errors import CurationError, DataError, GraphError
from tasks.lib.core.events import EventLog, Events, Progress, log
from tasks.lib.core.locks import end_with_dvc, sole_writer
from tasks.lib.core.params import PARAMS_FILE, read_params

STATE_DIR = ".selectllm"
JOURNAL = "journal.sqlite"  # in the state folder
INTERRUPTED = 130

QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "true",
}
"""No telemetry, no price map or ``.env`` fetched behind the user's back."""


class Stage:
    """One stage of dvc.yaml, as its step sees it.

    Attributes:
        name: The stage's name.
        values: The whole of params.yaml.
        params: The declared parameters by dotted key, as params.yaml has them.
        state: The folder for what must survive a run (journal, stored vectors), the same for
            all copies of a workspace that DVC makes for experiments.
        scratch: The folder for what tells of the last run alone, such as a failed verdict; each
            variant of a comparison has its own.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.values: Mapping[str, Any] = read_params(root / PARAMS_FILE)
        self.state = Path(os.environ.get("DVC_ROOT") or root) / STATE_DIR
        self.scratch = Path(os.environ.get("SELECTLLM_SCRATCH") or self.state)
        self._root = root
        graph = YAML(typ="safe").load((root / "dvc.yaml").read_text(encoding="utf-8"))
        declared = graph["stages"][name]
        keys = [_filled(key, self.values) for key in declared.get("params", [])]
        self.params = {key: _value(self.values, key) for key in keys}
        self._deps = [_path(entry) for entry in declared.get("deps", [])]
        self._outs = [
            _path(entry)
            for kind in ("outs", "metrics", "plots")
            for entry in declared.get(kind, [])
        ]
        self._parts: dict[Path, Path] = {}
        self._events = Events(name)

    def dep(self, tail: str) -> Path:
        """The declared dependency whose path ends with `tail`, such as ``ingest/pool.parquet``.

        Raises:
            GraphError: No dependency, or more than one, ends so.
            DataError: It is declared and does not exist.
        """
        path = self._root / self._find(tail, self._deps, "deps")
        if not path.exists():
            raise DataError(
                "the file that this step reads is missing",
                where=str(path),
                fix=f"Run `dvc repro {self.name}`, which makes what comes before.",
            )
        return path

    def out(self, tail: str) -> Path:
        """Where to write the declared output that ends with `tail`.

        The path is a sibling that takes the output's name only when the whole step has worked;
        make it a file, or a folder, as dvc.yaml means it.

        Raises:
            GraphError: No output, or more than one, ends so.
        """
        target = self._root / self._find(tail, self._outs, "outs")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = self._parts[target] = target.with_name(f".{target.name}.part")
        _remove(part)
        return part

    def progress(self, total: int, unit: str) -> Progress:
        """A counter that shows how far this step is."""
        return Progress(self._events, self.name, total, unit)

    def run(self, work: Callable[["Stage"], None]) -> None:
        """Do the work and publish its outputs, all of them or none."""
        self._events.write("started")
        with sole_writer(self._root / STATE_DIR / "step.lock"):
            try:
                work(self)
                for target, part in self._parts.items():
                    if target.is_dir():  # only a file can be renamed over
                        shutil.rmtree(target)
                    os.replace(part, target)
            finally:
                for part in self._parts.values():
                    _remove(part)

    def ended(self, exit_code: int, reason: str = "") -> None:
        """Tell how the step ended: its own exit code, and why."""
        self._events.write("ended", exit_code=exit_code, reason=reason)

    def _find(self, tail: str, declared: list[str], kind: str) -> str:
        wanted = PurePosixPath(tail).parts
        found = [path for path in declared if PurePosixPath(path).parts[-len(wanted) :] == wanted]
        if len(found) == 1:
            return found[0]
        raise GraphError(
            f"tasks/{self.name}.py uses {tail}, which matches {len(found)} declared {kind}",
            where=f"dvc.yaml: stages.{self.name}.{kind}",
            fix=f"Declare the path there once (declared now: {', '.join(declared)}).",
        )


def run_step(name: str, work: Callable[[Stage], None]) -> NoReturn:
    """Run one step as a program, in the current folder, and exit as it ended.

    Exit status: 0 done; 1 a check failed; 2 bad input; 130 interrupted.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    log.addHandler(EventLog(Events(name)))
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    end_with_dvc()
    try:
        stage = Stage(name, Path.cwd())
    except CurationError as error:
        log.error("%s", error)
        Events(name).write("ended", exit_code=error.exit_code, reason=str(error))
        raise SystemExit(error.exit_code) from None
    raise SystemExit(_outcome(stage, work))


def _outcome(stage: Stage, work: Callable[[Stage], None]) -> int:
    """Run the stage; log and tell how it ended; return the exit status."""
    try:
        stage.run(work)
    except CurationError as error:
        exit_code, reason = error.exit_code, str(error)
    except KeyboardInterrupt:
        exit_code, reason = INTERRUPTED, "interrupted; run it again to go on"
    except OSError as error:
        if not _is_full(error):
            raise
        exit_code = DataError.exit_code
        place = error.filename or f"stage {stage.name}"
        reason = f"{place}: {error.strerror or error}\n  Make room, then run this again."
    else:
        exit_code, reason = 0, ""
    if reason:
        log.error("%s", reason)
    with suppress(OSError):
        stage.ended(exit_code, reason)
    return exit_code


def _is_full(error: OSError) -> bool:
    """Whether it tells of a disk, quota or file-size limit, or of a read-only place."""
    codes = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
    return error.errno in codes or "No space left" in str(error)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _path(entry: str | Mapping[str, Any]) -> str:
    """The path of a dvc.yaml entry, which is a string or a mapping of one path to its options."""
    return entry if isinstance(entry, str) else next(iter(entry))


def _filled(key: str, values: Mapping[str, Any]) -> str:
    """A key of dvc.yaml with each ``${section.key}`` replaced by its value."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: str(_value(values, found[1])), key)


def _value(values: Any, key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
