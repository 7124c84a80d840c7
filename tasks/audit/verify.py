"""Prove that a run's outputs follow from its pool, its vectors and the journal's answers."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tasks.audit.check_schemas import damaged_files
from tasks.audit.differences import (
    COPY_JOURNAL,
    STAGES,
    Difference,
    changed_answers,
    changed_files,
    changed_params,
)
from tasks.audit.dvc_lock import Lock, how_to_restore
from tasks.audit.rebuild import rebuild
from tasks.audit.rebuild_stage import compare, rebuild_stage, why_not
from tasks.lib.core.errors import CurationError
from tasks.lib.core.schemas import BALLOTS, PROMPTS, SELECTED, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import count_rows, read_table
from tasks.lib.documents.judgement import read_judgements
from tasks.lib.documents.usage import Usage
from tasks.lib.journal.location import Place, journal_place
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.verdicts import PickMethod

MAX_RECORDS = {"choose": None, "validate": 100_000, "export": None, "measure": 2_000}
MAX_RECORDS["report"] = 50_000
"""The stages to rebuild after llm_select, in order, each with the largest number of unique records
for which this takes only seconds; None means any number."""

EARLIER = "their outputs are only compared with dvc.lock; `dvc repro -f` rebuilds them"
METHODS = "its outputs are only compared with dvc.lock, since its methods may call a model"


class NotRebuilt(NamedTuple):
    """A stage with outputs that were only compared with dvc.lock, and the reason."""

    stage: str
    why: str


class Proof(NamedTuple):
    """The result of `verify`; what was rebuilt is proven if there are no differences."""

    differences: list[Difference]
    n_files: int  # compared with dvc.lock
    n_selected: int = 0  # 0 if there are differences
    n_answers: int = 0  # 0 if a file has changed
    has_journal: bool = True  # False: the offline judge, which is free, answered again
    partial: str | None = None  # the parameter that cut the selection short
    rebuilt: Sequence[str] = ()  # stages
    not_rebuilt: Sequence[NotRebuilt] = ()
    rounded: Sequence[str] = ()  # outputs that differ only in the last digits of decimal numbers


def verify(root: Path, *, with_slow: bool = False) -> Proof:
    """Check the run in `root`, and return the differences; use no network and write nothing.

    First, every file is compared with its hash in dvc.lock, and each output with its schema. Then
    each answer that a judgement names is compared with its digest. Then the steps' code rebuilds
    the ballots from the journal, the selection from the ballots and the vectors, and the result,
    the exports, the metrics and the report from the selection. All of these outputs are compared.
    A check runs only if the earlier checks find no difference.

    Args:
        root: The workspace.
        with_slow: Whether to rebuild outputs even if this takes minutes.

    Raises:
        DataError: Nothing has been selected here yet, or dvc.lock cannot be read.
        ParamError: params.yaml cannot be read.
    """
    lock = Lock(root)
    usage_path = lock.out("llm_select/usage.json", must_exist=False)
    paths = {lock.root / file.path for file in lock.files if not file.is_code}
    proof = Proof([], sum(path.exists() for path in paths))
    differences = [*changed_files(lock), *changed_params(lock)] or list(damaged_files(lock))
    if differences:
        return proof._replace(differences=differences)
    usage = Usage.read(usage_path)
    proof = proof._replace(n_answers=usage.calls, partial=usage.partial)
    stage = Stage(STAGES[0], lock.root)
    try:
        place = journal_place(stage.state, stage.values)
        proof = proof._replace(has_journal=not isinstance(place, Path) or place.exists())
        differences = list(_in_journal(lock, usage, place, proof.has_journal))
    except CurationError as error:
        differences = [Difference(error.where, error.what, error.fix)]
    if differences:
        shown = [d._replace(file=d.file.removeprefix(f"{root}/")) for d in differences]
        return proof._replace(differences=shown)
    return _with_later_stages(proof, lock, with_slow=with_slow)


def _in_journal(lock: Lock, usage: Usage, place: Place, has_journal: bool) -> Iterator[Difference]:
    differences: list[Difference] = []
    if has_journal:
        judgements = read_judgements(lock.out("llm_select/judgements.jsonl"))
        with closing(JournalReader(place)) as journal:
            differences += changed_answers(judgements, journal)
    elif any(n for method, n in usage.methods.items() if method != PickMethod.OFFLINE):
        fix = f"{COPY_JOURNAL} DVC does not cache it."
        differences.append(Difference(str(place), "the journal is missing", fix))
    yield from differences or _in_ballots(lock, usage, place)


def _in_ballots(lock: Lock, usage: Usage, journal: Place) -> Iterator[Difference]:
    judged = None
    if usage.partial:
        judged = {row["prompt"] for row in lock.rows("llm_select/ballots.parquet", BALLOTS)}
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = rebuild(lock.root, lambda tail: Path(folder) / PurePosixPath(tail).name, judged)
        if rebuilt.answers_digest == usage.answers_digest:
            yield from compare(lock, STAGES[0], Path(folder), "the journal").differences
        elif not _are_prompts_judged(lock):
            path = lock.out("cluster/prompts.parquet").relative_to(lock.root)
            what = "the prompts are not those that the judge answered"
            yield Difference(str(path), what, how_to_restore(str(path)))
        else:
            yield Difference(str(journal), _other_answers(rebuilt.calls, usage.calls), COPY_JOURNAL)


def _are_prompts_judged(lock: Lock) -> bool:
    """Return whether every judgement is about a prompt with the same records in its slots."""
    shown: dict[int, list[str]] = {}
    for row in read_table(lock.out("cluster/prompts.parquet"), PROMPTS).to_pylist():
        shown.setdefault(row["prompt"], []).append(row["id"])
    judgements = read_judgements(lock.out("llm_select/judgements.jsonl"))
    return all(shown.get(judgement.prompt) == list(judgement.ids) for judgement in judgements)


def _with_later_stages(proof: Proof, lock: Lock, *, with_slow: bool) -> Proof:
    """Rebuild the stages after llm_select, up to the first one with a difference."""
    n_records = count_rows(lock.out("dedupe/unique.parquet"), UNIQUE)
    rebuilt: list[str] = [STAGES[0]]
    rounded: list[str] = []
    skipped = [NotRebuilt("fetch, ingest, dedupe, embed, cluster", EARLIER)]
    skipped.append(NotRebuilt("baseline", METHODS))
    for stage, most in MAX_RECORDS.items():
        why = why_not(lock, stage)
        if not (why or with_slow):
            why = why_later(stage, n_records, most, is_other_processor=bool(rounded))
        if why:
            skipped.append(NotRebuilt(stage, why))
            continue
        done = rebuild_stage(lock, stage)
        if done.differences:
            return proof._replace(differences=done.differences)
        rebuilt.append(stage)
        rounded += done.rounded
    n_selected = count_rows(lock.out("choose/selected.parquet"), SELECTED)
    return proof._replace(
        n_selected=n_selected, rebuilt=rebuilt, not_rebuilt=skipped, rounded=rounded
    )


def why_later(stage: str, n_records: int, most: int | None, *, is_other_processor: bool) -> str:
    """Return why a stage is rebuilt only on request; empty if it is always rebuilt."""
    on_request = "`selectllm verify --all` rebuilds it"
    if most is not None and n_records > most:
        return f"{n_records:,} records take minutes; {on_request}"
    if stage == "measure" and is_other_processor:
        return (
            "this is another kind of processor, which may break near ties differently; "
            f"{on_request}"
        )
    return ""


def _other_answers(n_rebuilt: int, n_used: int) -> str:
    if n_rebuilt < n_used:
        return f"answers are missing: rebuilding used {n_rebuilt:,} of {n_used:,}"
    if n_rebuilt > n_used:
        return f"it has {n_rebuilt:,} answers, but the selection was made from {n_used:,}"
    return "the answer to an attention check was changed, or the price of an unusable reply"
