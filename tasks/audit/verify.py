"""Proof that a selection follows from its pool, its prompts and the answers in the journal."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tasks.audit.differences import (
    STAGE,
    Difference,
    changed_answers,
    changed_code,
    changed_files,
    changed_params,
    journal_missing,
)
from tasks.audit.dvc_lock import Lock
from tasks.audit.file_diff import first_difference
from tasks.audit.frozen import Frozen
from tasks.audit.rebuild import rebuild
from tasks.lib.core.errors import DataError
from tasks.lib.core.schemas import PICKS
from tasks.lib.core.stage import JOURNAL, Stage

FROM_COPY = "Copy the journal from where the selection was made."


class Proof(NamedTuple):
    """What came of it; a selection is proven if nothing speaks against it."""

    differences: list[Difference]
    n_files: int  # that were held against dvc.lock
    n_selected: int  # 0, as the next two, where a file is not as it was
    n_answers: int
    partial: str | None  # why it is but a part of what was asked for


def verify(root: Path) -> Proof:
    """What speaks against the selection in `root`, with no network, no key and nothing written.

    First every file is held against its hash in dvc.lock, then each answer that a receipt names
    against the digest there, then the selection is rebuilt from the journal by the code that made
    it, and compared row by row. Each of the three is only tried when the one before finds nothing.

    Raises:
        DataError: Nothing was selected here, or dvc.lock cannot be read.
        ParamError: params.yaml cannot be read.
    """
    lock = Lock(root)
    bill_path = lock.out("llm_select/usage.json", must_exist=False)
    paths = {lock.root / file.path for file in lock.files() if not file.is_code}
    n_files = sum(path.exists() for path in paths)
    differences = [*changed_files(lock), *changed_params(lock)]
    if differences:
        return Proof(differences, n_files, 0, 0, None)
    bill = json.loads(bill_path.read_text(encoding="utf-8"))
    try:
        differences = list(_against_journal(lock, bill))
    except DataError as error:  # of the journal, since all other files are as they were
        differences = [Difference.of(error)]
    return Proof(differences, n_files, bill["selected"], bill["calls"], bill["partial"])


def _against_journal(lock: Lock, bill: Mapping[str, Any]) -> Iterator[Difference]:
    path = Stage(STAGE, lock.root).state / JOURNAL
    if not path.exists():
        yield journal_missing(path)
        return
    if "answers_digest" not in bill:
        what = "an earlier SelectLLM wrote it, which kept no digests of answers"
        fix = f"`dvc repro {STAGE}` writes it anew; no answer is paid for twice."
        yield Difference("usage.json", what, fix)
        return
    with closing(Frozen(path)) as journal, lock.out("llm_select/receipt.jsonl").open() as lines:
        differences = list(changed_answers(map(json.loads, lines), journal))
    yield from differences or _against_rebuilt(lock, bill, path)


def _against_rebuilt(lock: Lock, bill: Mapping[str, Any], journal: Path) -> Iterator[Difference]:
    decided = None
    if bill["partial"]:
        picks = lock.rows("llm_select/picks.parquet", PICKS)
        decided = {(row["round"], row["prompt"]) for row in picks}
    with tempfile.TemporaryDirectory() as folder:

        def out(tail: str) -> Path:
            return Path(folder) / PurePosixPath(tail).name

        try:
            again = rebuild(lock.root, out, decided)
        except IndexError:  # picks that no prompt of that size can have had
            yield Difference(str(journal), "an answer picks a slot that was not shown", FROM_COPY)
            return
        if again["answers_digest"] != bill["answers_digest"]:
            yield Difference(str(journal), _other_answers(again, bill), FROM_COPY)
            return
        for file in lock.files():
            if file.stage == STAGE and file.is_out:
                other = first_difference(lock.root / file.path, out(file.path))
                if other:
                    yield Difference(file.path, f"the journal gives another: {other}", _mend(lock))


def _other_answers(again: Mapping[str, Any], bill: Mapping[str, Any]) -> str:
    n_met, n_known = again["calls"], bill["calls"]
    if n_met < n_known:
        return f"answers are missing: rebuilding met {n_met:,} of {n_known:,}"
    if n_met > n_known:
        return f"it answers {n_met:,} of the questions, and {n_known:,} answers made the selection"
    return "an answer was changed that led to the selection: of an earlier round or of a check"


def _mend(lock: Lock) -> str:
    code = ", ".join(changed_code(lock))
    if code:
        return f"Other code made it, since {code} changed: `dvc repro {STAGE}` makes it anew."
    return f"It was changed and so was dvc.lock; `dvc repro -f {STAGE}` makes it anew."
