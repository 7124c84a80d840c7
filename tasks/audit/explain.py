"""Explain what happened to a record, from its line in the source to the selection."""

import json
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

from tasks.audit.check_schemas import damaged_files
from tasks.audit.dvc_lock import Lock
from tasks.audit.lookup import find
from tasks.audit.rivals_and_cover import best_cover, prompt_of
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.errors import CurationError, DataError
from tasks.lib.core.params import PARAMS_FILE, read_params
from tasks.lib.core.records import RecordTexts, read_turns
from tasks.lib.core.schemas import DEDUPE_DROPPED, KNOWN, POOL
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.documents.receipt import Receipt
from tasks.lib.journal.location import journal_place
from tasks.lib.journal.reader import JournalReader


class Fate(StrEnum):
    """What happened to a row in the source."""

    SELECTED = "selected"
    REJECTED = "rejected"
    """Its prompt was judged, but other records were selected."""
    SET_ASIDE = "set_aside"
    """The judge could not judge it."""
    UNDECIDED = "undecided"
    """Its prompt was not judged, since the spending limit was reached."""
    ANNOTATED = "annotated"
    """It repeats a record that already has an answer."""
    HELD_OUT = "held_out"
    """It repeats a record in a held-out set."""
    DUPLICATE = "duplicate"
    DROPPED = "dropped"


def explain(root: Path, name: str) -> dict[str, Any]:
    """Return the story of a row or record, ready for JSON; call no model and write nothing.

    ``fate`` is one of `Fate`. For a row that never became a record, ``dropped`` contains its line,
    reason and detail. For a record, ``record`` contains its fields, ``duplicate_of`` the record
    that it duplicates, ``duplicates`` the records that duplicate it, ``annotated_as`` the
    annotated record that it repeats, ``prompt`` its prompt with all candidates and their ballots,
    and ``receipt`` its receipt, with the texts of the answers that are in the journal. For a
    record that was not selected, ``covered_by`` contains the most similar selected or annotated
    record, and the cosine.

    Args:
        root: The workspace.
        name: A record's id or id prefix, the pool's own id, or ``line:N`` for a line of the source.

    Raises:
        ParamError: No record has this name, or more than one.
        DataError: A file is missing, or is not in the format that its step writes.
    """
    lock = Lock(root)
    try:
        return _story(lock, name)
    except (ValueError, LookupError, TypeError, StopIteration) as error:
        raise _unusable(lock, error) from None


def _unusable(lock: Lock, error: Exception) -> DataError:
    """Return the error for files that do not match their schemas, or do not belong together."""
    for damaged in damaged_files(lock):
        return DataError(damaged.what, where=damaged.file, fix=damaged.fix)
    return DataError(
        f"the run's files do not match each other: {error}",
        where=str(lock.root),
        fix="Run `selectllm verify`, which names the file that changed.",
    )


def _story(lock: Lock, name: str) -> dict[str, Any]:
    """Return the story of a row or record."""
    named = find(lock, name)
    if named.id is None:
        return {"fate": Fate.DROPPED.value, "dropped": named.dropped}
    duplicates = _duplicates(lock, named.id)
    story: dict[str, Any] = {
        "id": named.id,
        "fate": Fate.DUPLICATE.value,
        "annotated_as": _annotated_as(lock, named.id),
        "record": _record(lock, named.id),
        **duplicates,
    }
    of = duplicates["duplicate_of"]
    if of and of["reason"] == DedupeDrop.HELD_OUT:
        story["fate"] = Fate.HELD_OUT.value
    if not of:
        story["prompt"] = prompt_of(lock, named.id)
        story["receipt"] = _receipt(lock, named.id)
        story["covered_by"] = None if story["receipt"] else best_cover(lock, named.id)
        story["fate"] = _fate(story).value
    return story


def _record(lock: Lock, record_id: str, tail: str = "ingest/pool.parquet") -> dict[str, Any]:
    """Return a record from the pool or another file, with its JSON columns parsed.

    ``shown`` contains the text that judges see.
    """
    (row,) = lock.rows(tail, POOL, id=record_id)
    parsed = {"extra": json.loads(row["extra"]), "turns": read_turns(row["turns"])}
    tools = json.loads(row["tools"]) if row["tools"] else None
    return row | parsed | {"tools": tools, "shown": shown_text(*RecordTexts.of(row))}


def _annotated_as(lock: Lock, record_id: str) -> dict[str, Any] | None:
    """Return the annotated record that a record repeats; None if it repeats none."""
    known = lock.rows("dedupe/known.parquet", KNOWN, id=record_id)
    if not known:
        return None
    original = _record(lock, known[0]["of_id"], "ingest/annotated.parquet")
    return _original(original, known[0])


def _original(original: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": original["id"],
        "similarity": found["similarity"],
        "source": original["source"],
        "text": original["shown"],
    }


def _duplicates(lock: Lock, record_id: str) -> dict[str, Any]:
    """Return the record that a record duplicates, if any, and the records that duplicate it."""
    of = lock.rows("dedupe/dropped.parquet", DEDUPE_DROPPED, id=record_id)
    by = lock.rows("dedupe/dropped.parquet", DEDUPE_DROPPED, of_id=record_id)
    duplicate_of = None
    if of:
        is_held_out = of[0]["reason"] == DedupeDrop.HELD_OUT
        tail = "ingest/held_out.parquet" if is_held_out else "ingest/pool.parquet"
        original = _original(_record(lock, of[0]["of_id"], tail), of[0])
        duplicate_of = {"reason": of[0]["reason"], **original}
    names = ("id", "reason", "similarity")
    return {
        "duplicate_of": duplicate_of,
        "duplicates": [{name: row[name] for name in names} for row in by],
    }


def _receipt(lock: Lock, record_id: str) -> dict[str, Any] | None:
    """Return a record's receipt, with the texts of its answers; None if it was not selected."""
    with lock.out("choose/receipt.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if f'"id": "{record_id}"' in line:
                receipt = Receipt.parse(line, f"{lines.name}:{number}").model_dump(mode="json")
                return {**receipt, "answers": _with_texts(lock.root, receipt["answers"])}
    return None


def _with_texts(root: Path, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        place = journal_place(root / STATE_DIR, read_params(root / PARAMS_FILE))
        with closing(JournalReader(place)) as journal:
            known = [journal.answer(used["key"]) for used in answers]
    except CurationError:  # `verify` says what is wrong with the journal
        known = [None] * len(answers)
    return [
        used | {"text": answer.text if answer else None}
        for used, answer in zip(answers, known, strict=True)
    ]


def _fate(story: dict[str, Any]) -> Fate:
    if story["receipt"]:
        return Fate.SELECTED
    if story["annotated_as"]:
        return Fate.ANNOTATED
    prompt = story["prompt"]
    if prompt is None or not prompt["is_judged"]:
        return Fate.UNDECIDED
    own = next(row for row in prompt["candidates"] if row["id"] == story["id"])
    return Fate.SET_ASIDE if own["set_aside"] else Fate.REJECTED
