"""Which records of a batch repeat another: the work on a pool that can be done a part at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.dedupe.minhash import Fields, Keys, Sketches, band_keys, bands_for, signatures, sketched
from tasks.dedupe.near_duplicates import NearIndex
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.text.shingles import normalise


class Entry(NamedTuple):
    """What of a record is compared: the columns of a batch."""

    id: str
    instruction: str
    input: str


@dataclass(frozen=True)
class Dropped:
    """A record that says what an earlier, kept one says.

    Attributes:
        similarity: Jaccard similarity of the shingles, the lesser of instruction and input.
    """

    id: str
    reason: DedupeDrop
    of_id: str
    similarity: float


class Fingerprints(NamedTuple):
    """What is known of each record of a batch; each with one row a record.

    Attributes:
        texts: uint64, shape (n,), equal for the same normalised text.
        bands: Keys by which look-alikes meet, and some others by chance.
        sketches: Enough to tell these from those.
    """

    texts: NDArray[np.uint64]
    bands: Keys
    sketches: Sketches


class Circles(NamedTuple):
    """Records of a pool that meet each other and none outside, in pool order within a circle.

    Attributes:
        numbers: int64, shape (n,), their places in the pool.
        entries: n rows with the columns of `Entry`.
        keys: Those by which they meet, n rows.
    """

    numbers: NDArray[np.int64]
    entries: pa.Table
    keys: Keys


def fingerprints_of(batch: pa.RecordBatch, threshold: float, n_permutations: int) -> Fingerprints:
    """By what the records of a batch meet others.

    Args:
        batch: With the columns of `Entry`.
        threshold: Similarity from which two records are to meet almost surely.
        n_permutations: Length of a signature.
    """
    records = _normalised(batch)
    digests = [blake2b(_text(fields).encode(), digest_size=8).digest() for fields in records]
    found = signatures(records, n_permutations)
    return Fingerprints(
        np.frombuffer(b"".join(digests), dtype="<u8"),
        band_keys(found, bands_for(threshold, n_permutations)),
        sketched(found),
    )


def repeats(circles: Circles, threshold: float) -> dict[int, Dropped]:
    """The records that repeat an earlier, kept one of their circle, by their places in the pool."""
    records = _normalised(circles.entries)
    ids = texts(circles.entries, "id")
    index = NearIndex(records, circles.keys, threshold)
    kept: dict[str, str] = {}  # text -> id
    dropped: dict[int, Dropped] = {}
    for place, number in enumerate(circles.numbers.tolist()):
        text = _text(records[place])
        if text in kept:
            dropped[number] = Dropped(ids[place], DedupeDrop.IDENTICAL, kept[text], 1.0)
        elif near := index.nearest_or_add(place):
            dropped[number] = Dropped(
                ids[place], DedupeDrop.NEAR, ids[near.number], near.similarity
            )
        else:
            kept[text] = ids[place]
    return dropped


def texts(entries: pa.RecordBatch | pa.Table, name: str) -> list[str]:
    """A column that has a text in every row."""
    return cast(list[str], entries[name].to_pylist())


def _normalised(entries: pa.RecordBatch | pa.Table) -> Sequence[Fields]:
    columns = (map(normalise, texts(entries, name)) for name in ("instruction", "input"))
    return list(zip(*columns, strict=True))


def _text(fields: Fields) -> str:
    """The same for the same words, however they are split into instruction and input."""
    return " ".join(filter(None, fields))
