"""What speaks against a selection: files, parameters and answers that are not those it rests on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.audit.dvc_lock import LOCK_FILE, Lock, Locked, dvc_md5, restored
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.journal.journal import Journal

STAGE = "llm_select"
N_NAMED = 3  # of faulty answers


class Difference(NamedTuple):
    """Something that is not as it was."""

    file: str
    what: str
    fix: str

    @classmethod
    def of(cls, error: DataError) -> "Difference":
        """The fault that reading a file met."""
        return cls(error.where, error.what, error.fix)


def changed_files(lock: Lock) -> Iterator[Difference]:
    """The files that do not have the bytes that dvc.lock names, each once.

    Those that the selection was made from and those that it wrote have to be there; those of
    other stages are looked at where they lie.
    """
    found: dict[str, str | None] = {}
    told: set[str] = set()
    for file in lock.files():
        if file.is_code or file.path in told:
            continue
        if file.path not in found:
            path = lock.root / file.path
            found[file.path] = dvc_md5(path) if path.exists() else None
        md5 = found[file.path]
        if md5 is None and file.stage == STAGE:
            told.add(file.path)
            yield Difference(file.path, "it is missing", restored(file.path))
        if md5 not in (None, file.md5):
            told.add(file.path)
            yield Difference(file.path, _other(file, str(md5)), restored(file.path))


def _other(file: Locked, md5: str) -> str:
    verb = "wrote" if file.is_out else "read"
    return f"not the bytes that {file.stage} {verb}: md5 {md5}, in {LOCK_FILE} {file.md5}"


def changed_params(lock: Lock) -> Iterator[Difference]:
    """The parameters of the selection that params.yaml does not have any more."""
    values = read_params(lock.root / PARAMS_FILE)
    for key, value in lock.params(STAGE).items():
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, Mapping) else None
        if now != value:
            what = f"{key} is {now!r}, and the selection was made with {value!r}"
            fix = "Put it back, or select anew with `selectllm run`."
            yield Difference(PARAMS_FILE, what, fix)


def changed_code(lock: Lock) -> list[str]:
    """The modules of the selection, and folders of them, that have changed since."""
    return [
        file.path
        for file in lock.files()
        if file.stage == STAGE and file.is_code and dvc_md5(lock.root / file.path) != file.md5
    ]


def changed_answers(
    receipts: Iterable[Mapping[str, Any]], journal: Journal
) -> Iterator[Difference]:
    """What is wrong with the answers that the receipts name: gone, or not the same.

    Raises:
        DataError: The journal cannot be used.
    """
    keys: set[str] = set()
    missing: list[str] = []
    changed: list[str] = []
    for receipt in receipts:
        for named in receipt["answers"]:
            if named["key"] not in keys:
                keys.add(named["key"])
                words = f"{named['key']} (record {receipt['id']}, prompt {receipt['prompt']})"
                answer = journal.answer(named["key"])
                if answer is None:
                    missing.append(words)
                elif answer.digest != named["digest"]:
                    changed.append(words)
    where = str(journal.path)
    fix = "Copy the journal from where the selection was made."
    if missing and len(missing) == len(keys):
        words = f"it holds none of the {len(keys):,} answers: it is of other selections"
        yield Difference(where, words, fix)
    elif missing:
        yield Difference(where, f"answers are missing: {_some(missing)}", fix)
    if changed:
        yield Difference(where, f"answers were changed: {_some(changed)}", fix)


def _some(words: list[str]) -> str:
    named = ", ".join(words[:N_NAMED])
    return f"{named} and {len(words) - N_NAMED:,} more" if len(words) > N_NAMED else named


def journal_missing(path: Path) -> Difference:
    """That there is no journal."""
    fix = "Copy it from where the selection was made; it is outside DVC's cache."
    return Difference(str(path), "the journal is missing", fix)
