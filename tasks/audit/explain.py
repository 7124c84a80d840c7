"""The story of one record, from its line in the source to the selection or to where it ended."""

import json
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

from tasks.audit.dvc_lock import Lock
from tasks.audit.frozen import Frozen
from tasks.audit.lookup import find
from tasks.audit.rounds import Contest
from tasks.lib.core.errors import DataError
from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import DEDUPE_DROPPED, POOL
from tasks.lib.core.stage import JOURNAL, STATE_DIR


class Fate(StrEnum):
    """What became of a row of the source."""

    SELECTED = "selected"
    REJECTED = "rejected"
    """It was shown, and others were picked."""
    UNDECIDED = "undecided"
    """It was shown to nobody, since the selection is partial."""
    DUPLICATE = "duplicate"
    DROPPED = "dropped"


def explain(root: Path, name: str) -> dict[str, Any]:
    """The story of what `name` names, ready for JSON; nothing is asked and nothing is written.

    ``fate`` is one of `Fate`. ``dropped`` holds line, reason and detail of a row that never became
    a record; else ``record`` holds it, ``duplicate_of`` the record that it repeats, ``duplicates``
    those that repeat it, ``rounds`` the prompts that it stood in with all their candidates, and
    ``receipt`` what its selection rests on, its place in the selection and the words of the
    answers included, where the journal has them.

    Args:
        root: The workspace.
        name: A record's id, its first digits, or ``line:N`` of the source.

    Raises:
        ParamError: Nothing bears this name.
        DataError: A file is missing or not as its step writes it.
    """
    lock = Lock(root)
    found = find(lock, name)
    if found.id is None:
        return {"fate": Fate.DROPPED.value, "dropped": found.dropped}
    repeats = _repeats(lock, found.id)
    story: dict[str, Any] = {
        "id": found.id,
        "fate": Fate.DUPLICATE.value,
        "record": _record(lock, found.id),
        **repeats,
    }
    if not repeats["duplicate_of"]:
        bill = json.loads(lock.out("llm_select/usage.json").read_text(encoding="utf-8"))
        story["rounds"] = Contest.read(lock, bill).rounds_of(found.id)
        story["receipt"] = _receipt(lock, found.id)
        story["fate"] = _fate(story).value
    return story


def _record(lock: Lock, record_id: str) -> dict[str, Any]:
    """A record as the pool has it, the columns of its own among the others' in ``extra``."""
    (row,) = lock.rows("ingest/pool.parquet", POOL, id=record_id)
    return row | {"extra": json.loads(row["extra"])}


def _repeats(lock: Lock, record_id: str) -> dict[str, Any]:
    of = lock.rows("dedupe/dropped.parquet", DEDUPE_DROPPED, id=record_id)
    by = lock.rows("dedupe/dropped.parquet", DEDUPE_DROPPED, of_id=record_id)
    duplicate_of = None
    if of:
        original = _record(lock, of[0]["of_id"])
        duplicate_of = {
            "id": original["id"],
            "reason": of[0]["reason"],
            "similarity": of[0]["similarity"],
            "source": original["source"],
            "text": record_text(original["instruction"], original["input"]),
        }
    names = ("id", "reason", "similarity")
    return {
        "duplicate_of": duplicate_of,
        "duplicates": [{name: row[name] for name in names} for row in by],
    }


def _receipt(lock: Lock, record_id: str) -> dict[str, Any] | None:
    """Its line of receipt.jsonl, with its place and its answers' words; None if it has none."""
    with lock.out("llm_select/receipt.jsonl").open(encoding="utf-8") as lines:
        for place, line in enumerate(lines, 1):
            if record_id in line and json.loads(line)["id"] == record_id:
                receipt: dict[str, Any] = json.loads(line)
                answers = _with_words(lock.root, receipt["answers"])
                return {"place": place, **receipt, "answers": answers}
    return None


def _with_words(root: Path, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        with closing(Frozen(root / STATE_DIR / JOURNAL)) as journal:
            found = [journal.answer(each["key"]) for each in answers]
    except DataError:  # `verify` says what is wrong with it
        found = [None] * len(answers)
    return [
        each | {"text": answer.text if answer else None}
        for each, answer in zip(answers, found, strict=True)
    ]


def _fate(story: dict[str, Any]) -> Fate:
    if story["receipt"]:
        return Fate.SELECTED
    last = [each for this in story["rounds"][-1:] for each in this["candidates"]]
    ranks = {each["id"]: each["rank"] for each in last}
    was_beaten = any(ranks.values()) and not ranks[story["id"]]  # else its next prompt is to come
    return Fate.REJECTED if was_beaten else Fate.UNDECIDED
