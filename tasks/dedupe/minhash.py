"""Compute MinHash signatures, and the band keys that make similar records candidate pairs."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.text.shingles import batches, field_texts, shingles

Fields = tuple[str, str]
"""A record's normalised instruction and input."""

Signatures = NDArray[np.uint32]
"""uint32, shape (n_records, n_permutations)."""

BBitSignatures = NDArray[np.uint8]
"""uint8, shape (n_records, n_permutations): the last byte of each value in a signature.

The share of equal bytes suffices to estimate a similarity, in a quarter of the memory."""

Keys = NDArray[np.uint64]
"""uint64, shape (n_records, n_keys): two records are a candidate pair if they have the same key in
at least one column."""

MAX_MISSED = 0.002
SEED = 1

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Bands(NamedTuple):
    """How to cut a signature: into `n` bands of `width` values each."""

    n: int
    width: int


def bands_for(threshold: float, n_permutations: int) -> Bands:
    """Return the widest bands that rarely miss a pair of records at the threshold.

    The probability of missing such a pair is at most 0.2 %, or as low as `n_permutations` allows.
    Wider bands give fewer false candidates.
    """
    for width in range(n_permutations // 2, 1, -1):
        n_bands = n_permutations // width
        if (1 - threshold**width) ** n_bands <= MAX_MISSED:
            return Bands(n_bands, width)
    return Bands(n_permutations, 1)


def minhash(records: Sequence[Fields], n_permutations: int) -> Signatures:
    """Return the signatures; row i covers the shingles of both fields of record i.

    A shingle that is in both fields counts as two. So the similarity of two records is at least
    that of their less similar field.
    """
    signatures = np.full((len(records), n_permutations), np.iinfo(np.uint32).max, dtype=np.uint32)
    factors, summands = _permutations(n_permutations)
    n_done = 0
    for batch in batches(records):
        hashes, bounds = shingles(field_texts(batch))
        of_input = np.repeat(np.arange(bounds.size - 1) % 2 == 1, np.diff(bounds))
        short = (np.where(of_input, ~hashes, hashes) >> np.uint64(32)).astype(np.uint32)
        starts, ends = bounds[:-1:2], bounds[2::2]
        filled = np.flatnonzero(starts < ends)  # a record without text keeps the highest values
        for k in range(n_permutations):
            permuted = short * factors[k] + summands[k]  # modulo 2^32, as uint32 wraps
            signatures[n_done + filled, k] = np.minimum.reduceat(permuted, starts[filled])
        n_done += len(batch)
    return signatures


def band_keys(signatures: Signatures, bands: Bands) -> Keys:
    """Return one key for each band; bands with equal values have equal keys.

    Bands with different values have the same key only once in 2^64 pairs.
    """
    keys = np.zeros((len(signatures), bands.n), dtype=np.uint64)
    cut = signatures[:, : bands.n * bands.width].reshape(len(signatures), bands.n, bands.width)
    for i in range(bands.width):
        keys = keys * _FACTOR + cut[:, :, i]
    return keys


@cache
def _permutations(n_permutations: int) -> NDArray[np.uint32]:
    """Return odd factors and summands: uint32, shape (2, n_permutations), not to be modified.

    They are the same as in datasketch's "affine32" scheme with the same seed. NumPy promises that
    this generator, unlike its newer ones, gives the same numbers in every version.
    """
    random = np.random.RandomState(SEED)
    halves = random.randint(0, 1 << 31, n_permutations, dtype=np.uint32)
    summands = random.randint(0, 1 << 32, n_permutations, dtype=np.uint32)
    return np.array([2 * halves + 1, summands], dtype=np.uint32)
