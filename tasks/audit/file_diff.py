"""Two files of which one was rebuilt: whether they say the same."""

from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def first_difference(ours: Path, rebuilt: Path) -> str:
    """Where two files begin to say something else; empty if they say the same."""
    was, now = ours.read_bytes(), rebuilt.read_bytes()
    if was == now:
        return ""
    if ours.suffix != ".parquet":
        pairs = zip_longest(was.splitlines(), now.splitlines())
        return f"line {next(i for i, (a, b) in enumerate(pairs, 1) if a != b)} differs"
    tables = pq.ParquetFile(ours).read(), pq.ParquetFile(rebuilt).read()
    return "" if tables[0].equals(tables[1]) else _first_row(*tables)


def _first_row(ours: pa.Table, rebuilt: pa.Table) -> str:
    if ours.num_rows != rebuilt.num_rows:
        return f"{rebuilt.num_rows:,} rows in place of {ours.num_rows:,}"
    for row, (was, now) in enumerate(zip(ours.to_pylist(), rebuilt.to_pylist(), strict=True), 1):
        names = [name for name in was if was[name] != now[name]]
        if names:
            return f"{names[0]} of row {row} is {now[names[0]]} in place of {was[names[0]]}"
    return "the columns differ"
