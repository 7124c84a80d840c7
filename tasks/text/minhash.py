"""MinHash signatures of records, and the index that finds look-alikes by them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from tasks.text.shingles import shingles

Fields = tuple[str, str]
"""A record's normalised instruction and input."""

Signatures = NDArray[np.uint32]
"""uint32, shape (n_records, n_permutations)."""

MAX_MISSED = 0.002
BATCH_CHARS = 65_536  # so that the arrays of a batch stay in a processor's cache
SEED = 1
SCHEME = "affine32"

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
    for batch in _batches(records):
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


def meets_another(found: Signatures, bands: Bands) -> NDArray[np.bool_]:
    """Whether record i agrees with any other in a whole band: bool, shape (n_records,).

    Most records of a pool do not, and to leave them out of the index saves 6 kB each.
    """
    meets = np.zeros(len(found), dtype=np.bool_)
    for start in range(0, bands.n * bands.width, bands.width):
        keys = np.zeros(len(found), dtype=np.uint64)
        for column in range(start, start + bands.width):
            keys = keys * _FACTOR + found[:, column]
        _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        meets |= sizes[group] > 1
    return meets


class LookAlikes:
    """Records by number, to be found by signatures that agree in a whole band."""

    def __init__(self, bands: Bands, n_permutations: int) -> None:
        self._index = MinHashLSH(num_perm=n_permutations, params=tuple(bands))
        self._permutations = _permutations(n_permutations)

    def of(self, signature: NDArray[np.uint32]) -> list[int]:
        """The added records that may be near, ascending."""
        return sorted(self._index.query(self._minhash(signature)))

    def add(self, number: int, signature: NDArray[np.uint32]) -> None:
        """Let the record `number` be found from now on."""
        self._index.insert(number, self._minhash(signature))

    def _minhash(self, signature: NDArray[np.uint32]) -> MinHash:
        return MinHash(
            hashvalues=signature, permutations=self._permutations, seed=SEED, scheme=SCHEME
        )


def _permutations(n_permutations: int) -> NDArray[np.uint32]:
    """Factors and summands of datasketch's permutations: uint32, shape (2, n_permutations).

    They are applied here, in batches, since `MinHash.update` handles one record a call in eight
    times the time.
    """
    permutations: NDArray[np.uint32] = MinHash(n_permutations, SEED, scheme=SCHEME).permutations
    return permutations


def _batches(records: Sequence[Fields]) -> Iterator[Sequence[Fields]]:
    """Runs of consecutive records with about `BATCH_CHARS` characters together, or one longer."""
    start = n_chars = 0
    for end, (instruction, input_text) in enumerate(records, 1):
        n_chars += len(instruction) + len(input_text)
        if n_chars >= BATCH_CHARS or end == len(records):
            yield records[start:end]
            start, n_chars = end, 0
