"""Cut texts into shingles, and measure the overlap of two sets of them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.text.courtesy import without_courtesy
from tasks.lib.text.notation import bare, in_full

DENSE = (
    (0x1100, 0x11FF),  # Hangul letters
    (0x3005, 0x3007),  # ideographic repetition and zero
    (0x3040, 0x318F),  # kana, bopomofo, Hangul letters
    (0x31A0, 0x31FF),  # bopomofo, strokes, kana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xA960, 0xA97F),  # Hangul letters
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Han
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # Han
)
"""First and last code points of the scripts in which a character is a syllable or a word."""

# With these widths, changing one word has about the same effect on the overlap in dense and other
# scripts. Thai, Lao, Khmer and Myanmar have no spaces either, but their words are as long as in
# English.
WIDTH, DENSE_WIDTH = 5, 2

BATCH_CHARS = 65_536  # so that a batch's arrays stay in a processor's cache

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd: no bit of a character is lost
_MIXER = np.uint64(0xFF51AFD7ED558CCD)  # from MurmurHash3, spreads the low bits over all
_SHIFT = np.uint64(33)


class Shingles(NamedTuple):
    """The shingles of several texts, one text after the other.

    Attributes:
        hashes: uint64, shape (total,), in reading order, with duplicates.
        bounds: int64, shape (n_texts + 1,); text i has ``hashes[bounds[i]:bounds[i + 1]]``.
    """

    hashes: NDArray[np.uint64]
    bounds: NDArray[np.int64]


def field_texts(records: Iterable[tuple[str, str]]) -> list[str]:
    """Return the texts that are compared: the instruction and then the input of each record.

    Polite words and accents are removed from instructions, and short forms are expanded: in a short
    instruction, they would change a large part of the shingles.

    Args:
        records: Pairs of a normalised instruction and input.
    """
    return [
        text
        for instruction, input_ in records
        for text in (bare(in_full(without_courtesy(instruction))), input_)
    ]


def shingles(texts: Sequence[str]) -> Shingles:
    """Return the hashes of the overlapping pieces of each normalised text, ignoring case.

    Punctuation and spaces count. A piece has 5 characters, or 2 in the dense scripts, and never
    mixes the two kinds; a run of one kind that is shorter than a piece is one piece. The values do
    not depend on the process or the machine. It is much faster to pass many short texts at once.
    """
    texts = [text.casefold() for text in texts]
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
    offsets = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    is_dense = _dense_table()[codes]
    is_start = np.zeros(codes.size + 1, dtype=np.bool_)  # of a run of one kind in one text
    is_start[offsets] = True
    is_start[1:-1] |= is_dense[1:] != is_dense[:-1]
    edges = np.flatnonzero(is_start)
    starts, lengths = edges[:-1], np.diff(edges)
    widths = np.minimum(np.where(is_dense[starts], DENSE_WIDTH, WIDTH), lengths)
    last = np.repeat(starts + lengths - widths, lengths)  # where a run's last piece begins
    begins = np.flatnonzero(np.arange(codes.size) <= last)
    hashes = _hashes(codes, np.repeat(widths, lengths))[begins]
    return Shingles(hashes, np.searchsorted(begins, offsets))


def batches(records: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    """Yield runs of consecutive records with a total of about `BATCH_CHARS` characters."""
    start = n_chars = 0
    for end, fields in enumerate(records, 1):
        n_chars += sum(map(len, fields))
        if n_chars >= BATCH_CHARS or end == len(records):
            yield records[start:end]
            start, n_chars = end, 0


def jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """Return the Jaccard similarity of sorted arrays of distinct values; 1.0 if both are empty."""
    if a.size > b.size:
        a, b = b, a
    if a.size == 0:
        return float(b.size == 0)
    positions = np.minimum(np.searchsorted(b, a), b.size - 1)
    n_common = int(np.count_nonzero(b[positions] == a))
    return n_common / (a.size + b.size - n_common)


def _hashes(codes: NDArray[np.uint32], widths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return, for each character i, the hash of the ``widths[i]`` characters that start there."""
    characters = np.zeros(codes.size + WIDTH, dtype=np.uint64)
    characters[: codes.size] = codes
    characters[: codes.size] += np.uint64(1)  # 0 means no character
    hashes = np.zeros(codes.size, dtype=np.uint64)
    for offset in range(WIDTH):
        hashes *= _MULTIPLIER
        hashes += characters[offset : offset + codes.size] * (offset < widths)
    hashes ^= hashes >> _SHIFT
    hashes *= _MIXER
    hashes ^= hashes >> _SHIFT
    return hashes


@cache
def _dense_table() -> NDArray[np.bool_]:
    """Return, for each code point, whether it belongs to a dense script."""
    table = np.zeros(0x110000, dtype=np.bool_)
    for first, last in DENSE:
        table[first : last + 1] = True
    return table
