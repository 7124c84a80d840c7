"""Records to deduplicate, and the similarity of two texts, computed from its definition."""

from itertools import groupby

import numpy as np
import pyarrow as pa

from tasks.dedupe.find_duplicates import COLUMNS, Near
from tasks.dedupe.step import Dedupe, Deduped, PoolBatches, dedupe
from tasks.lib.executor import Executor
from tasks.lib.text.shingles import DENSE, jaccard, shingles
from tasks.lib.text.typography import normalise

PARAMS = Dedupe(near_threshold=0.8, n_permutations=128, near=Near.MERGE)
PASSAGE = (
    "The harbour was dredged in spring, and ferries came back before the first warm week. "
    "Fishermen sold mackerel from their boats, children learnt to dive from the old crane, "
    "and nobody missed the trucks that used to rattle through the town at night."
)

Record = tuple[str, str, str]
"""Id, instruction and input."""


def records_of(*texts: str | tuple[str, str]) -> list[Record]:
    pairs = [(text, "") if isinstance(text, str) else text for text in texts]
    return [(f"r{i}", *pair) for i, pair in enumerate(pairs)]


def deduped(
    *texts: str | tuple[str, str], threshold: float = 0.8, near: Near = Near.MERGE
) -> Deduped:
    return dedupe_records(records_of(*texts), threshold, near)


def dedupe_records(
    records: list[Record], threshold: float, near: Near = Near.MERGE, batch_size: int = 3
) -> Deduped:
    batches = table(records).to_batches(batch_size)
    params = PARAMS.model_copy(update={"near_threshold": threshold, "near": near})
    return dedupe(PoolBatches(len(records), lambda: iter(batches)), params, Executor.LOCAL)


def table(records: list[Record]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    rows = [dict(zip(COLUMNS, record, strict=False)) for record in records]  # without context
    return pa.Table.from_pylist(rows, schema=schema)


def pieces_of(text: str) -> set[str]:
    """Return the shingles of a normalised text, computed directly from the definition."""
    text = text.casefold()

    def is_dense(character: str) -> bool:
        return any(first <= ord(character) <= last for first, last in DENSE)

    pieces = set()
    for dense, run in groupby(text, is_dense):
        characters, width = "".join(run), 2 if dense else 5
        pieces |= {characters[i : i + width] for i in range(max(1, len(characters) - width + 1))}
    return pieces


def overlap(a: str, b: str) -> float:
    """Return the Jaccard similarity, computed with Python sets."""
    x, y = pieces_of(normalise(a)), pieces_of(normalise(b))
    return len(x & y) / len(x | y)


def similarity(a: str, b: str) -> float:
    return jaccard(*(np.unique(shingles([normalise(text)]).hashes) for text in (a, b)))
