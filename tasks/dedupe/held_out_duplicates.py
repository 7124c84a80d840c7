"""Find records in the pool that repeat held-out or annotated records from other files."""

from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.dedupe.find_duplicates import fingerprint, normalise_fields, text_column, text_of
from tasks.dedupe.minhash import Fields, Keys
from tasks.dedupe.near_index import NearestRecord, NearIndex


class References(NamedTuple):
    """Records outside the pool, to compare with records in the pool.

    Attributes:
        keys: The hash of each text, then its keys.
        threshold: Minimum similarity of near-duplicates.
        n_permutations: Length of a signature.
    """

    ids: list[str]
    records: list[Fields]
    keys: Keys
    threshold: float
    n_permutations: int

    @classmethod
    def of(cls, records: pa.RecordBatch | pa.Table, threshold: float, n_permutations: int) -> Self:
        """Build references from a table of records."""
        return cls(
            text_column(records, "id"),
            list(normalise_fields(records)),
            _keys(records, threshold, n_permutations),
            threshold,
            n_permutations,
        )


class Repeated(NamedTuple):
    """A record in the pool that repeats a reference.

    Attributes:
        position: Position in the batch.
        of_id: The id of the reference.
        similarity: Jaccard similarity of the shingles, for the less similar of the two fields.
    """

    position: int
    id: str
    of_id: str
    similarity: float


def find_repeated(batch: pa.RecordBatch, references: References) -> list[Repeated]:
    """Return the records in a batch that have the same text as a reference or are near one.

    The result names the nearest reference, or the first if tied. `NearIndex` defines what is near.
    A record is compared with all references that have a key in common with it.
    """
    keys = _keys(batch, references.threshold, references.n_permutations)
    own, others = _shares_key(keys, references.keys), _shares_key(references.keys, keys)
    if not own.size:
        return []
    candidates = batch.take(own)
    records = normalise_fields(candidates)
    known = [references.records[i] for i in others]
    by_text = {text_of(fields): i for i, fields in reversed(list(enumerate(known)))}
    index = NearIndex(
        [*known, *records],
        np.concatenate([references.keys[others], keys[own]]),
        references.threshold,
        adds_near=False,
    )
    for number in range(len(known)):
        index.add(number)
    found = []
    for i, (position, id_) in enumerate(zip(own, text_column(candidates, "id"), strict=True)):
        same = by_text.get(text_of(records[i]))
        nearest = index.nearest(len(known) + i) if same is None else NearestRecord(same, 1.0)
        if nearest:
            of_id = references.ids[others[nearest.number]]
            found.append(Repeated(int(position), id_, of_id, nearest.similarity))
    return found


def _keys(records: pa.RecordBatch | pa.Table, threshold: float, n_permutations: int) -> Keys:
    prints = fingerprint(records, threshold, n_permutations)
    return np.column_stack([prints.text_hashes, prints.keys])


def _shares_key(keys: Keys, others: Keys) -> NDArray[np.intp]:
    """Return the positions of the records that have a key in common with any of `others`."""
    shared = [np.isin(a, b) for a, b in zip(keys.T, others.T, strict=True)]
    return np.flatnonzero(np.any(shared, axis=0))
