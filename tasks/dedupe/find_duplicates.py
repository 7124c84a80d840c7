"""Fingerprint a batch of records, and find the duplicates in groups of candidates."""

from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import starmap
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.dedupe.minhash import BBitSignatures, Fields, Keys, band_keys, bands_for, minhash
from tasks.dedupe.near_index import NearIndex
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts, material
from tasks.lib.text.typography import comparable

COLUMNS = ("id", *TEXT_COLUMNS)
"""The columns of the pool that dedupe reads."""


class Near(StrEnum):
    """What to do with near-duplicates: drop them, or keep and list them."""

    MERGE = "merge"
    REPORT = "report"


class Duplicate(NamedTuple):
    """A record that duplicates an earlier record, which is kept.

    Attributes:
        of_id: The id of the kept record.
        similarity: Jaccard similarity of the shingles, for the less similar of the two fields.
    """

    id: str
    reason: DedupeDrop
    of_id: str
    similarity: float


class Fingerprints(NamedTuple):
    """The values by which the records in a batch are compared; row i is record i.

    Attributes:
        text_hashes: uint64, shape (n,), equal for equal normalised texts.
    """

    text_hashes: NDArray[np.uint64]
    keys: Keys
    b_bits: BBitSignatures


class Components(NamedTuple):
    """Connected components of the graph of candidate pairs, one after another.

    Attributes:
        positions: int64, shape (n,), the records' positions in the pool, ascending within each
            component.
        records: n rows with the columns in `COLUMNS`.
        keys: The records' keys, n rows.
    """

    positions: NDArray[np.int64]
    records: pa.Table
    keys: Keys


def fingerprint(
    batch: pa.RecordBatch | pa.Table, threshold: float, n_permutations: int
) -> Fingerprints:
    """Return the fingerprints of the records in a batch.

    Args:
        batch: Records with the columns in `COLUMNS`.
        threshold: The similarity at which two records almost certainly become a candidate pair.
        n_permutations: Length of a signature.
    """
    records = normalise_fields(batch)
    digests = [blake2b(text_of(fields).encode(), digest_size=8).digest() for fields in records]
    signatures = minhash(records, n_permutations)
    return Fingerprints(
        np.frombuffer(b"".join(digests), dtype="<u8"),
        band_keys(signatures, bands_for(threshold, n_permutations)),
        signatures.astype(np.uint8),
    )


def find_duplicates(components: Components, threshold: float, near: Near) -> dict[int, Duplicate]:
    """Return the records that duplicate an earlier, kept record, by position in the pool."""
    records = normalise_fields(components.records)
    ids = text_column(components.records, "id")
    index = NearIndex(records, components.keys, threshold, adds_near=near is Near.REPORT)
    kept: dict[str, str] = {}  # text -> id
    found: dict[int, Duplicate] = {}
    for number, position in enumerate(components.positions.tolist()):
        text = text_of(records[number])
        if text in kept:
            found[position] = Duplicate(ids[number], DedupeDrop.IDENTICAL, kept[text], 1.0)
            continue
        if nearest := index.nearest_or_add(number):
            found[position] = Duplicate(
                ids[number], DedupeDrop.NEAR, ids[nearest.number], nearest.similarity
            )
        if nearest is None or near is Near.REPORT:
            kept[text] = ids[number]
    return found


def text_column(records: pa.RecordBatch | pa.Table, name: str) -> list[str]:
    """Return a column as a list of strings."""
    return cast(list[str], records[name].to_pylist())


def normalise_fields(records: pa.RecordBatch | pa.Table) -> Sequence[Fields]:
    """Return the normalised instruction and `material` of each record."""
    columns = (text_column(records, name) for name in TEXT_COLUMNS)
    rows = starmap(RecordTexts, zip(*columns, strict=True))
    return [comparable(row.instruction, material(*row[1:])) for row in rows]


def text_of(fields: Fields) -> str:
    """Join both fields, so that it does not matter how a text is divided between them."""
    return " ".join(filter(None, fields))
