"""A .npy file whose rows come in any order."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class VectorFile:
    """Writes float32 rows where they belong, so that never all of them are in memory.

    Written and not mapped: on a full disk a mapped file ends the process without a word.
    """

    def __init__(self, path: Path, n_rows: int, dim: int) -> None:
        self._file = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, dim)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start, self._row_bytes = self._file.tell(), 4 * dim

    def put(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Make ``vectors[i]`` row ``rows[i]`` of the file; shapes (n,) and (n, dim)."""
        for row, vector in zip(rows.tolist(), vectors.astype("<f4", copy=False), strict=True):
            self._file.seek(self._start + row * self._row_bytes)
            self._file.write(vector.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
