"""Find a record's rivals in its prompt, and the record that covers it best."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts
from tasks.lib.core.schemas import ANNOTATED, BALLOTS, POOL, PROMPTS, SELECTED, UNIQUE
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.tables import read_table
from tasks.lib.similarity.cosine import nearest
from tasks.lib.unique import read_vectors

_VERDICT = ("rank", "score", "votes", "method", "set_aside")


def prompt_of(lock: Lock, record_id: str) -> dict[str, Any] | None:
    """Return the prompt that shows a record, with all its candidates; None if there is no prompt.

    ``candidates`` lists the candidates by slot, each with its row in the ballots and its place in
    the selection. Missing values are None.

    Raises:
        DataError: A file is missing or does not match its schema.
    """
    own = lock.rows("cluster/prompts.parquet", PROMPTS, id=record_id)
    if not own:
        return None
    number = own[0]["prompt"]
    shown = lock.rows("cluster/prompts.parquet", PROMPTS, prompt=number)
    ballots = {
        row["id"]: row for row in lock.rows("llm_select/ballots.parquet", BALLOTS, prompt=number)
    }
    selected: list[Any] = _selected_ids(lock).to_pylist()
    places = {id_: place for place, id_ in enumerate(selected, 1)}
    texts = _texts(lock, [row["id"] for row in shown])
    return {
        "prompt": number,
        "is_judged": bool(ballots),
        "candidates": [
            {"slot": row["slot"], "id": row["id"], "text": texts[row["id"]]}
            | {name: ballots.get(row["id"], {}).get(name) for name in _VERDICT}
            | {"place": places.get(row["id"])}
            for row in shown
        ],
    }


def best_cover(lock: Lock, record_id: str) -> dict[str, Any] | None:
    """Return the selected or annotated record that covers a record best; None if there is none.

    ``place`` is its place in the selection, or None if it is annotated.

    Raises:
        DataError: A file is missing or does not match its schema.
    """
    ids, selected = read_table(lock.out("dedupe/unique.parquet"), UNIQUE)["id"], _selected_ids(lock)
    annotated = read_table(lock.out("ingest/annotated.parquet"), ANNOTATED, ["id"])["id"]
    covering = [*selected.to_pylist(), *annotated.to_pylist()]
    if not covering:
        return None
    vectors = read_vectors(lock.out("embed/vectors.npy"), len(ids))
    rows = pc.index_in(selected, value_set=ids).to_numpy()
    others = [vectors[rows], read_vectors(lock.out("embed/annotated.npy"), len(annotated))]
    row = ids.to_pylist().index(record_id)
    best = nearest(vectors[[row]], np.concatenate([part for part in others if len(part)]))
    at = int(best.places[0])
    is_selected = at < len(selected)
    tail, schema = ("pool", POOL) if is_selected else ("annotated", ANNOTATED)
    return {
        "id": covering[at],
        "place": at + 1 if is_selected else None,
        "cosine": float(best.cosines[0]),
        "text": _texts(lock, [covering[at]], f"ingest/{tail}.parquet", schema)[covering[at]],
    }


def _selected_ids(lock: Lock) -> Any:
    return read_table(lock.out("choose/selected.parquet"), SELECTED, ["id"])["id"]


def _texts(
    lock: Lock, ids: list[str], tail: str = "ingest/pool.parquet", schema: pa.Schema = POOL
) -> dict[str, str]:
    """Return the texts of records in the pool, or in another file, by id."""
    pool = read_table(lock.out(tail), schema, ["id", *TEXT_COLUMNS])
    rows = pool.filter(pc.is_in(pool["id"], value_set=pa.array(ids))).to_pylist()
    return {row["id"]: shown_text(*RecordTexts.of(row)) for row in rows}
