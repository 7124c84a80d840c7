"""A .npy file written block by block."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_vectors(path: Path, n_rows: int, dim: int, blocks: Iterable[NDArray[np.float32]]) -> None:
    """Write float32 blocks of shape (any, `dim`), `n_rows` in all, one below the other.

    Written and not mapped: on a full disk a mapped file ends the process without a word.
    """
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(block.astype("<f4", copy=False).tobytes())
