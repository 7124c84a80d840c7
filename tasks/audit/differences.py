"""Files, parameters and answers that are no longer those a selection rests on."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.audit.dvc_lock import LOCK_FILE, Lock, Locked, dvc_md5, restored
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.documents.receipt import Receipt
from tasks.lib.journal.reader import JournalReader

STAGE = "llm_select"
N_NAMED = 3  # answers in a message


class Difference(NamedTuple):
    """Something that has changed."""

    file: str
    what: str
    fix: str

    @classmethod
    def of(cls, error: DataError) -> "Difference":
        """Return what an error says about a file."""
        return cls(error.where, error.what, error.fix)


def changed_files(lock: Lock) -> Iterator[Difference]:
    """Yield the files whose bytes are not those in dvc.lock, each once.

    The inputs and outputs of the selection have to exist; files of other stages are checked if
    they exist.
    """
    hashes: dict[str, str | None] = {}
    reported: set[str] = set()
    for file in lock.files():
        if file.is_code or file.path in reported:
            continue
        if file.path not in hashes:
            path = lock.root / file.path
            hashes[file.path] = dvc_md5(path) if path.exists() else None
        md5 = hashes[file.path]
        if md5 is None and file.stage == STAGE:
            reported.add(file.path)
            yield Difference(file.path, "it is missing", restored(file.path))
        if md5 not in (None, file.md5):
            reported.add(file.path)
            yield Difference(file.path, _other(file, str(md5)), restored(file.path))


def _other(file: Locked, md5: str) -> str:
    verb = "wrote" if file.is_out else "read"
    return f"not the bytes that {file.stage} {verb}: md5 {md5}, in {LOCK_FILE} {file.md5}"


def changed_params(lock: Lock) -> Iterator[Difference]:
    """Yield the parameters of the selection that have another value in params.yaml now."""
    values = read_params(lock.root / PARAMS_FILE)
    for key, value in lock.params(STAGE).items():
        now: Any = values
        for part in key.split("."):
            now = now.get(part) if isinstance(now, Mapping) else None
        if now != value:
            what = f"{key} is {now!r}, and the selection was made with {value!r}"
            fix = "Set it back, or select again with `selectllm run`."
            yield Difference(PARAMS_FILE, what, fix)


def changed_code(lock: Lock) -> list[str]:
    """Return the modules of the selection, and folders of them, that have changed since."""
    return [
        file.path
        for file in lock.files()
        if file.stage == STAGE and file.is_code and dvc_md5(lock.root / file.path) != file.md5
    ]


def changed_answers(receipts: Iterable[Receipt], journal: JournalReader) -> Iterator[Difference]:
    """Yield what is wrong with the answers that the receipts name: missing, or not the same.

    Raises:
        DataError: The journal cannot be used.
    """
    keys: set[str] = set()
    missing: list[str] = []
    changed: list[str] = []
    for receipt in receipts:
        for used in receipt.answers:
            if used.key not in keys:
                keys.add(used.key)
                name = f"{used.key} (record {receipt.id}, prompt {receipt.prompt})"
                answer = journal.answer(used.key)
                if answer is None:
                    missing.append(name)
                elif answer.digest != used.digest:
                    changed.append(name)
    where, fix = str(journal.path), "Copy the journal from where the selection was made."
    if missing and len(missing) == len(keys):
        what = f"it has none of the {len(keys):,} answers: it belongs to other selections"
        yield Difference(where, what, fix)
    elif missing:
        yield Difference(where, f"answers are missing: {_first(missing)}", fix)
    if changed:
        yield Difference(where, f"answers were changed: {_first(changed)}", fix)


def _first(names: list[str]) -> str:
    first = ", ".join(names[:N_NAMED])
    return f"{first} and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else first


def first_difference(ours: Path, rebuilt: Path) -> str:
    """Return where two files begin to differ; empty if their content is the same."""
    was, now = ours.read_bytes(), rebuilt.read_bytes()
    if was == now:
        return ""
    if ours.suffix != ".parquet":
        pairs = zip_longest(was.splitlines(), now.splitlines())
        return f"line {next(i for i, (a, b) in enumerate(pairs, 1) if a != b)} differs"
    tables = pq.ParquetFile(ours).read(), pq.ParquetFile(rebuilt).read()
    return "" if tables[0].equals(tables[1]) else _first_row(*tables)


def _first_row(ours: pa.Table, rebuilt: pa.Table) -> str:
    if ours.num_rows != rebuilt.num_rows:
        return f"{rebuilt.num_rows:,} rows instead of {ours.num_rows:,}"
    for row, (was, now) in enumerate(zip(ours.to_pylist(), rebuilt.to_pylist(), strict=True), 1):
        names = [name for name in was if was[name] != now[name]]
        if names:
            return f"{names[0]} of row {row} is {now[names[0]]} instead of {was[names[0]]}"
    return "the columns differ"
