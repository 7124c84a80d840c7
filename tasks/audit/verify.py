"""Prove that a selection follows from its pool, its vectors and the answers in the journal."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.audit.differences import (
    COPY_JOURNAL,
    STAGES,
    Difference,
    changed_answers,
    changed_code,
    changed_files,
    changed_params,
    first_difference,
)
from tasks.audit.dvc_lock import Lock
from tasks.audit.rebuild import rebuild
from tasks.choose.step import choose
from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import BALLOTS, SELECTED
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.core.tables import count_rows
from tasks.lib.documents.judgement import read_judgements
from tasks.lib.documents.usage import Usage
from tasks.lib.journal.reader import JournalReader


class Proof(NamedTuple):
    """The result of `verify`; the selection is proven if there are no differences."""

    differences: list[Difference]
    n_files: int  # compared with dvc.lock
    n_selected: int  # 0 if there are differences
    n_answers: int  # 0 if a file has changed
    partial: str | None  # the parameter that cut the selection short


def verify(root: Path) -> Proof:
    """Check the selection in `root`, and return the differences; use no network and write nothing.

    First, every file is compared with its hash in dvc.lock. Then each answer that a judgement names
    is compared with its digest. Then the code of the two steps rebuilds the ballots from the
    journal, and the selection from the ballots and the vectors, and every output of both steps is
    compared. A check runs only if the earlier checks find no difference.

    Raises:
        DataError: Nothing was selected here yet, or dvc.lock cannot be read.
        ParamError: params.yaml cannot be read.
    """
    lock = Lock(root)
    usage_path = lock.out("llm_select/usage.json", must_exist=False)
    paths = {lock.root / file.path for file in lock.files if not file.is_code}
    n_files = sum(path.exists() for path in paths)
    differences = [*changed_files(lock), *changed_params(lock)]
    if differences:
        return Proof(differences, n_files, 0, 0, None)
    try:
        usage = Usage.read(usage_path)
    except DataError as error:  # an earlier SelectLLM wrote it
        return Proof([Difference.of(error)], n_files, 0, 0, None)
    try:
        differences = list(_in_journal(lock, usage))
    except DataError as error:  # about the journal, since no other file has changed
        differences = [Difference.of(error)]
    n_selected = 0 if differences else count_rows(lock.out("choose/selected.parquet"), SELECTED)
    return Proof(differences, n_files, n_selected, usage.calls, usage.partial)


def _in_journal(lock: Lock, usage: Usage) -> Iterator[Difference]:
    path = Stage(STAGES[0], lock.root).state / JOURNAL
    if not path.exists():
        fix = f"{COPY_JOURNAL} DVC does not cache it."
        yield Difference(str(path), "the journal is missing", fix)
        return
    judgements = read_judgements(lock.out("llm_select/judgements.jsonl"))
    with closing(JournalReader(path)) as journal:
        differences = list(changed_answers(judgements, journal))
    differences = differences or list(_in_ballots(lock, usage, path))
    yield from differences or _in_choice(lock)


def _in_ballots(lock: Lock, usage: Usage, journal: Path) -> Iterator[Difference]:
    judged = None
    if usage.partial:
        judged = {row["prompt"] for row in lock.rows("llm_select/ballots.parquet", BALLOTS)}
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = rebuild(lock.root, _into(folder), judged)
        if rebuilt.answers_digest != usage.answers_digest:
            yield Difference(str(journal), _other_answers(rebuilt.calls, usage.calls), COPY_JOURNAL)
            return
        yield from _in_outputs(lock, STAGES[0], "the journal", _into(folder))


def _in_choice(lock: Lock) -> Iterator[Difference]:
    stage = Stage(STAGES[1], lock.root)
    with tempfile.TemporaryDirectory() as folder:
        choose(stage, _into(folder))
        yield from _in_outputs(lock, stage.name, "the ballots and vectors", _into(folder))


def _into(folder: str) -> Callable[[str], Path]:
    return lambda tail: Path(folder) / PurePosixPath(tail).name


def _in_outputs(
    lock: Lock, stage: str, origin: str, rebuilt: Callable[[str], Path]
) -> Iterator[Difference]:
    """Yield the outputs of a stage that differ from their rebuilt versions."""
    for file in lock.files:
        if file.stage == stage and file.is_out:
            difference = first_difference(lock.root / file.path, rebuilt(file.path))
            if difference:
                what = f"the file differs when rebuilt from {origin}: {difference}"
                yield Difference(file.path, what, _fix(lock, stage))


def _other_answers(n_rebuilt: int, n_used: int) -> str:
    if n_rebuilt < n_used:
        return f"answers are missing: rebuilding used {n_rebuilt:,} of {n_used:,}"
    if n_rebuilt > n_used:
        return f"it has {n_rebuilt:,} answers, but the selection was made from {n_used:,}"
    return "the answer of an attention check was changed"


def _fix(lock: Lock, stage: str) -> str:
    code = ", ".join(changed_code(lock, stage))
    if code:
        return f"Code has changed since then: {code}. Run `dvc repro {stage}` to make it again."
    return f"Someone edited it and dvc.lock. Run `dvc repro -f {stage}` to make it again."
