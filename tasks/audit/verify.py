"""Prove that a selection follows from its pool, its prompts and the answers in the journal."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.audit.differences import (
    COPY_JOURNAL,
    STAGE,
    Difference,
    changed_answers,
    changed_code,
    changed_files,
    changed_params,
    first_difference,
)
from tasks.audit.dvc_lock import Lock
from tasks.audit.rebuild import rebuild
from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import PICKS
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.documents.receipt import read_receipts
from tasks.lib.documents.usage import Usage
from tasks.lib.journal.reader import JournalReader


class Proof(NamedTuple):
    """The result of `verify`; the selection is proven if there are no differences."""

    differences: list[Difference]
    n_files: int  # compared with dvc.lock
    n_selected: int  # 0 if a file has changed, as is n_answers
    n_answers: int
    partial: str | None  # the parameter that cut the selection short


def verify(root: Path) -> Proof:
    """Check the selection in `root` and return the differences; needs no network, writes nothing.

    First every file is compared with its hash in dvc.lock, then each answer that a receipt names
    with its digest in the receipt. Then the selection is rebuilt from the journal by the code that
    made it, and compared row by row. A step runs only if the one before finds no difference.

    Raises:
        DataError: Nothing was selected here, or dvc.lock cannot be read.
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
    return Proof(differences, n_files, usage.selected, usage.calls, usage.partial)


def _in_journal(lock: Lock, usage: Usage) -> Iterator[Difference]:
    path = Stage(STAGE, lock.root).state / JOURNAL
    if not path.exists():
        fix = "Copy it from where the selection was made; it is outside DVC's cache."
        yield Difference(str(path), "the journal is missing", fix)
        return
    receipts = read_receipts(lock.out("llm_select/receipt.jsonl"))
    with closing(JournalReader(path)) as journal:
        differences = list(changed_answers(receipts, journal))
    yield from differences or _in_rebuilt(lock, usage, path)


def _in_rebuilt(lock: Lock, usage: Usage, journal: Path) -> Iterator[Difference]:
    decided = None
    if usage.partial:
        picks = lock.rows("llm_select/picks.parquet", PICKS)
        decided = {(row["round"], row["prompt"]) for row in picks}
    with tempfile.TemporaryDirectory() as folder:

        def out(tail: str) -> Path:
            return Path(folder) / PurePosixPath(tail).name

        rebuilt = rebuild(lock.root, out, decided)
        if rebuilt.answers_digest != usage.answers_digest:
            yield Difference(str(journal), _other_answers(rebuilt.calls, usage.calls), COPY_JOURNAL)
            return
        for file in lock.files:
            if file.stage == STAGE and file.is_out:
                difference = first_difference(lock.root / file.path, out(file.path))
                if difference:
                    what = f"the journal leads to another one: {difference}"
                    yield Difference(file.path, what, _fix(lock))


def _other_answers(n_rebuilt: int, n_used: int) -> str:
    if n_rebuilt < n_used:
        return f"answers are missing: rebuilding used {n_rebuilt:,} of {n_used:,}"
    if n_rebuilt > n_used:
        return f"it answers {n_rebuilt:,} questions, and the selection was made from {n_used:,}"
    return "an answer behind the selection was changed: of an earlier round or of a check"


def _fix(lock: Lock) -> str:
    code = ", ".join(changed_code(lock))
    if code:
        return f"Other code made it, since {code} changed; `dvc repro {STAGE}` makes it again."
    return f"It was changed, and so was dvc.lock; `dvc repro -f {STAGE}` makes it again."
