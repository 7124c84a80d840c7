"""Find files, parameters and answers that have changed since a selection was made."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tasks.audit.dvc_lock import LOCK_FILE, Lock, LockedFile, dvc_md5, how_to_restore
from tasks.lib.core.params import PARAMS_FILE, lookup, read_params
from tasks.lib.documents.judgement import Judgement
from tasks.lib.journal.models import Answer
from tasks.lib.journal.reader import JournalReader

STAGES = ("llm_select", "choose")
"""The stages that make the selection."""

N_NAMED = 3  # answers in a message
COPY_JOURNAL = (
    "Copy the journal from the machine where the selection was made, or set llm_select.journal to "
    "the database that was used."
)


class Difference(NamedTuple):
    """A change since the selection was made."""

    file: str
    what: str
    fix: str


def changed_files(lock: Lock) -> Iterator[Difference]:
    """Yield the files that do not match their hashes in dvc.lock, without repeats.

    The inputs and outputs of the selection must exist; files of other stages are checked only if
    they exist.
    """
    hashes: dict[str, str | None] = {}
    reported: set[str] = set()
    for file in lock.files:
        if file.is_code or file.path in reported:
            continue
        if file.path not in hashes:
            path = lock.root / file.path
            hashes[file.path] = dvc_md5(path) if path.is_file() or path.is_dir() else None
        md5 = hashes[file.path]
        if md5 is None and file.stage in STAGES:
            reported.add(file.path)
            yield Difference(file.path, "the file is missing", how_to_restore(file.path))
        if md5 not in (None, file.md5):
            reported.add(file.path)
            yield Difference(file.path, _changed(file, str(md5)), how_to_restore(file.path))


def _changed(file: LockedFile, md5: str) -> str:
    verb = "wrote" if file.is_out else "read"
    return (
        f"the file has changed since {file.stage} {verb} it: its md5 is {md5}, but {LOCK_FILE} has "
        f"{file.md5}"
    )


def changed_params(lock: Lock) -> Iterator[Difference]:
    """Yield the parameters that have changed since the selection was made."""
    values = read_params(lock.root / PARAMS_FILE)
    made_with = {key: value for stage in STAGES for key, value in lock.params(stage).items()}
    for key, value in made_with.items():
        now = lookup(values, key)
        if now != value:
            what = f"{key} is {now!r}, but the selection was made with {value!r}"
            fix = "Set it back, or select again with `selectllm run`."
            yield Difference(PARAMS_FILE, what, fix)


def changed_code(lock: Lock, stage: str) -> list[str]:
    """Return a stage's modules and folders of modules that have changed."""
    code = [file for file in lock.files if file.stage == stage and file.is_code]
    return [
        file.path
        for file in code
        if not (lock.root / file.path).exists() or dvc_md5(lock.root / file.path) != file.md5
    ]


def changed_answers(
    judgements: Iterable[Judgement], journal: JournalReader
) -> Iterator[Difference]:
    """Yield one difference if answers named in the judgements are missing, one if any have changed.

    Raises:
        DataError: The journal cannot be used.
    """
    keys: set[str] = set()
    missing: list[str] = []
    changed: list[str] = []
    for judgement in judgements:
        for used in judgement.answers:
            if used.key not in keys:
                keys.add(used.key)
                name = f"{used.key} (prompt {judgement.prompt})"
                answer = journal.answer(used.key)
                if answer is None:
                    missing.append(name)
                elif answer.digest != used.digest or not _is_billed(answer, journal):
                    changed.append(name)
    where = str(journal.path)
    if missing and len(missing) == len(keys):
        what = (
            f"the journal contains none of the {len(keys):,} answers; it belongs to other "
            "selections"
        )
        yield Difference(where, what, COPY_JOURNAL)
    elif missing:
        yield Difference(where, f"answers are missing: {_first(missing)}", COPY_JOURNAL)
    if changed:
        yield Difference(where, f"answers were changed: {_first(changed)}", COPY_JOURNAL)


def _is_billed(answer: Answer, journal: JournalReader) -> bool:
    """Return whether an answer has the tokens and price of the call that produced it."""
    cost = journal.cost_of_answer(answer.key)
    return cost is None or all(
        getattr(answer, name) == cost[i] for i, name in enumerate(cost._fields)
    )


def _first(names: list[str]) -> str:
    first = ", ".join(names[:N_NAMED])
    return f"{first} and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else first
