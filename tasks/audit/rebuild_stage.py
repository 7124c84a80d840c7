"""Rebuild the outputs of a stage that calls no model, and compare them."""

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.audit.differences import Difference, changed_code
from tasks.audit.dvc_lock import LOCK_FILE, Lock
from tasks.audit.same_content import first_difference, is_rounding
from tasks.lib.core.dvc_yaml import read_stage
from tasks.lib.core.errors import CheckFailed, CurationError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params
from tasks.lib.core.stage import Stage

OF_VECTORS = ("choose", "measure")
"""The stages with numbers that depend on the processor, since they are sums over vectors."""

ORIGINS = {"choose": "the ballots and vectors"}


class Rebuilt(NamedTuple):
    """The result of comparing a stage's outputs with their rebuilt versions."""

    differences: list[Difference]
    rounded: list[str]  # outputs that differ only in the last digits of numbers


class _Elsewhere(Stage):
    """A stage that writes its outputs to another folder, and logs nothing."""

    def __init__(self, name: str, root: Path, folder: Path) -> None:
        super().__init__(name, root)
        self.scratch = self._folder = folder

    def out(self, tail: str) -> Path:
        """Return where to write an output."""
        return self._folder / PurePosixPath(tail).name


def rebuild_stage(lock: Lock, name: str) -> Rebuilt:
    """Run a stage's code on the workspace's files, and compare all outputs."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _silence():
                step = importlib.import_module(f"tasks.{name}.step")
                step.work(_Elsewhere(name, lock.root, Path(folder)))
        except CheckFailed as error:  # its own fix names a temporary folder
            return Rebuilt([Difference(error.where, error.what, _fix(lock, name))], [])
        except CurationError as error:
            where = error.where.removeprefix(f"{lock.root}/")
            return Rebuilt([Difference(where, error.what, error.fix)], [])
        except Exception as error:  # an edited input may break the step in any way
            what = f"the step cannot use its inputs: {type(error).__name__}: {error}"
            return Rebuilt([Difference(name, what, _fix(lock, name))], [])
        return compare(lock, name, Path(folder), ORIGINS.get(name, "the selection"))


def compare(lock: Lock, stage: str, folder: Path, origin: str) -> Rebuilt:
    """Compare a stage's outputs with their rebuilt versions in a folder."""
    differences: list[Difference] = []
    rounded: list[str] = []
    for number, (ours, rebuilt) in enumerate(_pairs(lock, stage, folder)):
        name, difference = str(ours.relative_to(lock.root)), first_difference(ours, rebuilt)
        # The first output has the most digits; if they all agree, the others must agree exactly.
        may_round = stage in OF_VECTORS and (rounded or not number)
        if difference and may_round and is_rounding(ours, rebuilt):
            rounded.append(name)
        elif difference:
            what = f"the file differs when rebuilt from {origin}: {difference}"
            differences.append(Difference(name, what, _fix(lock, stage)))
    return Rebuilt(differences, rounded)


def why_not(lock: Lock, stage: str) -> str:
    """Return why a stage's outputs cannot be rebuilt; empty if they can."""
    files = [f.path for f in lock.files if f.stage == stage and not f.is_code]
    if not set(_outs(lock, stage)) <= set(files):
        return "it has not run yet"
    missing = [path for path in files if not (lock.root / path).exists()]
    if missing:
        return f"{missing[0]} is missing; run `dvc pull` or `dvc checkout`"
    values = read_params(lock.root / PARAMS_FILE)
    changed = [key for key, value in lock.params(stage).items() if lookup(values, key) != value]
    return f"{changed[0]} has changed in params.yaml since it ran" if changed else ""


def _pairs(lock: Lock, stage: str, folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the path of each file that a stage writes or should write, and of its new version."""
    for out in _outs(lock, stage):
        ours, rebuilt = lock.root / out, folder / PurePosixPath(out).name
        if rebuilt.is_dir():
            names = {file.name for part in (ours, rebuilt) for file in part.glob("*")}
            yield from ((ours / name, rebuilt / name) for name in sorted(names))
        else:
            yield ours, rebuilt


def _outs(lock: Lock, stage: str) -> list[str]:
    """Return the outputs that dvc.yaml declares, since someone may have edited dvc.lock."""
    values = read_params(lock.root / PARAMS_FILE)
    return [out.path for out in read_stage(lock.root, stage, values).outs]


@contextmanager
def _silence() -> Iterator[None]:
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _fix(lock: Lock, stage: str) -> str:
    code = ", ".join(changed_code(lock, stage))
    if code:
        return f"Code has changed since then: {code}. Run `dvc repro {stage}` to rebuild it."
    return (
        f"Someone edited it, or a file that it is made from, together with {LOCK_FILE}; or "
        f"this processor breaks near ties in a different way. Run `dvc repro -f {stage}` to "
        "rebuild it."
    )
