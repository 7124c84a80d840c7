"""MinHash signatures of records, and the keys by which look-alikes meet."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.text.shingles import batches, shingles

Fields = tuple[str, str]
"""A record's normalised instruction and input."""

Signatures = NDArray[np.uint32]
"""uint32, shape (n_records, n_permutations)."""

Keys = NDArray[np.uint64]
"""uint64, shape (n_records, n_keys): two records meet where they agree in a whole column's key."""

Sketches = NDArray[np.uint8]
"""uint8, shape (n_records, n_permutations): of each value of a signature its last byte, enough to
estimate a similarity by the share of equal ones."""

MAX_MISSED = 0.002
SEED = 1

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Bands(NamedTuple):
    """How a signature is cut: `n` bands of `width` values each."""

    n: int
    width: int


def bands_for(threshold: float, n_permutations: int) -> Bands:
    """The widest bands in which two records that are just similar enough hardly ever fail to meet.

    They agree in no whole band with a chance of at most 0.2 %, or the least that so few
    permutations allow. The wider the bands, the fewer the chance meetings to look into.
    """
    for width in range(n_permutations // 2, 1, -1):
        n_bands = n_permutations // width
        if (1 - threshold**width) ** n_bands <= MAX_MISSED:
            return Bands(n_bands, width)
    return Bands(n_permutations, 1)


def signatures(records: Sequence[Fields], n_permutations: int) -> Signatures:
    """Row i is the MinHash of record i: of the shingles of its instruction and those of its input.

    The same shingle counts as two when it stands in both, so that two records are never less
    similar than the less similar of their fields.
    """
    found = np.full((len(records), n_permutations), np.iinfo(np.uint32).max, dtype=np.uint32)
    factors, summands = _permutations(n_permutations)
    done = 0
    for batch in batches(records):
        hashes, bounds = shingles([text for fields in batch for text in fields])
        of_input = np.repeat(np.arange(bounds.size - 1) % 2 == 1, np.diff(bounds))
        short = (np.where(of_input, ~hashes, hashes) >> np.uint64(32)).astype(np.uint32)
        starts, ends = bounds[:-1:2], bounds[2::2]
        filled = np.flatnonzero(starts < ends)  # a record without text keeps the highest values
        for k in range(n_permutations):
            permuted = short * factors[k] + summands[k]  # modulo 2^32, as uint32 wraps
            found[done + filled, k] = np.minimum.reduceat(permuted, starts[filled])
        done += len(batch)
    return found


def sketched(found: Signatures) -> Sketches:
    """A quarter of the signatures."""
    return found.astype(np.uint8)


def band_keys(found: Signatures, bands: Bands) -> Keys:
    """One key a band: equal where all values of the band are, and else but once in 2^64."""
    keys = np.zeros((len(found), bands.n), dtype=np.uint64)
    cut = found[:, : bands.n * bands.width].reshape(len(found), bands.n, bands.width)
    for place in range(bands.width):
        keys = keys * _FACTOR + cut[:, :, place]
    return keys


@cache
def _permutations(n_permutations: int) -> NDArray[np.uint32]:
    """Odd factors, and summands: uint32, shape (2, n_permutations). Do not write to them.

    They are those of datasketch's scheme "affine32" for the same seed. NumPy promises that this
    generator, unlike its newer ones, gives the same numbers in every version.
    """
    random = np.random.RandomState(SEED)
    halves = random.randint(0, 1 << 31, n_permutations, dtype=np.uint32)
    summands = random.randint(0, 1 << 32, n_permutations, dtype=np.uint32)
    return np.array([2 * halves + 1, summands], dtype=np.uint32)
