"""Compare an output with its rebuilt version."""

import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Other kinds of processor add numbers in a different order. In float32, the fifth digit of a metric
# may then differ, so a metric that is written with fewer digits may be rounded to the next value.
REL_TOLERANCE, ABS_TOLERANCE = 1e-4, 1e-7

_DECIMAL = re.compile(rb"(?<![\w.])-?\d+\.(\d+)(?:e[+-]?\d{1,3})?(?![\w.])")


def first_difference(ours: Path, rebuilt: Path) -> str:
    """Describe where two files first differ; return "" if their content is the same."""
    if not ours.exists() or not rebuilt.exists():
        return "it is missing" if rebuilt.exists() else "the step does not write it"
    return next(_differences(ours, rebuilt, is_exact=True), "")


def is_rounding(ours: Path, rebuilt: Path) -> bool:
    """Return whether two files differ at most in the last digits of decimal numbers."""
    both_exist = ours.exists() and rebuilt.exists()
    return both_exist and not any(_differences(ours, rebuilt, is_exact=False))


def _differences(ours: Path, rebuilt: Path, *, is_exact: bool) -> Iterator[str]:
    was, now = ours.read_bytes(), rebuilt.read_bytes()
    if was == now:
        return
    if ours.suffix == ".parquet":
        yield from _in_tables(ours, rebuilt, is_exact=is_exact)
        return
    lines = zip_longest(was.splitlines(keepends=True), now.splitlines(keepends=True), fillvalue=b"")
    for number, (a, b) in enumerate(lines, 1):
        if a != b and (is_exact or not _is_close(a, b)):
            yield f"line {number} differs"


def _in_tables(ours: Path, rebuilt: Path, *, is_exact: bool) -> Iterator[str]:
    try:
        files = pq.ParquetFile(ours), pq.ParquetFile(rebuilt)
        was, now = (file.read() for file in files)
        pairs = list(zip(was.to_pylist(), now.to_pylist(), strict=False))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield f"it is not readable as Parquet: {error}"
        return
    if was.schema != now.schema:
        yield "the columns differ"
    elif was.num_rows != now.num_rows:
        yield f"{now.num_rows:,} rows instead of {was.num_rows:,}"
    elif was.equals(now) and files[0].metadata.created_by == files[1].metadata.created_by:
        yield "the rows are the same, but not the bytes"  # other library versions write other bytes
    for row, (a, b) in enumerate(pairs, 1):
        for name in a.keys() & b.keys():
            if a[name] != b[name] and (is_exact or not _is_close_number(a[name], b[name])):
                yield f"{name} of row {row} is {b[name]} instead of {a[name]}"


def _is_close_number(was: object, now: object) -> bool:
    if not isinstance(was, float) or not isinstance(now, float):
        return False
    return math.isclose(was, now, rel_tol=REL_TOLERANCE, abs_tol=ABS_TOLERANCE)


def _is_close(was: bytes, now: bytes) -> bool:
    """Return whether two lines differ at most in the last digits of their decimal numbers."""
    if _DECIMAL.sub(b"0", was) != _DECIMAL.sub(b"0", now):
        return False
    pairs = zip(_DECIMAL.finditer(was), _DECIMAL.finditer(now), strict=True)
    return all(
        math.isclose(float(a[0]), float(b[0]), rel_tol=REL_TOLERANCE, abs_tol=_unit(a, b))
        for a, b in pairs
    )


def _unit(*numbers: re.Match[bytes]) -> float:
    """Return a little more than one unit in the last place of the shortest of the numbers."""
    return float(1.01 * 10.0 ** -min(len(number[1]) for number in numbers))
