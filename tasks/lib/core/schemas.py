"""The columns of every table that one step writes and another reads.

The docstring of a schema names the metadata that its step adds to the file's footer.
"""

import pyarrow as pa


def _required(name: str, kind: pa.DataType) -> "pa.Field[pa.DataType]":
    return pa.field(name, kind, nullable=False)


POOL = pa.schema(
    [
        _required("id", pa.string()),
        _required("instruction", pa.string()),
        _required("input", pa.string()),  # empty if there is none
        pa.field("output", pa.string()),
        pa.field("system", pa.string()),
        pa.field("turns", pa.string()),  # JSON list of the turns before the instruction
        pa.field("tools", pa.string()),  # JSON list of the tools that may be called
        _required("source", pa.string()),  # file:line
        _required("extra", pa.string()),  # JSON object of all other columns
    ]
)
"""One row per record; ids are unique. The footer has ``n_rows``, the number of rows in the source;
``file``, the name of the source; and ``files``, the number of files in it."""

ANNOTATED = pa.schema([*POOL])
"""One row per record that already has an answer, from choose.annotated; ids are unique."""

TARGETS = pa.schema([*POOL])
"""One row per example of the tasks that matter, from choose.targets; ids are unique."""

HELD_OUT = pa.schema([*POOL])
"""One row per record of a test set, from ingest.decontaminate; ids are unique."""

INGEST_DROPPED = pa.schema(
    [
        _required("file", pa.string()),  # as in the source of a record
        _required("line", pa.int64()),
        _required("reason", pa.string()),
        _required("detail", pa.string()),
    ]
)

UNIQUE = pa.schema([_required("id", pa.string())])

DEDUPE_DROPPED = pa.schema(
    [
        _required("id", pa.string()),
        _required("reason", pa.string()),
        _required("of_id", pa.string()),  # the kept record, or the held-out one
        _required("similarity", pa.float64()),  # Jaccard of shingles, 0 to 1
    ]
)

DEDUPE_NEAR = pa.schema(
    [
        _required("id", pa.string()),
        _required("of_id", pa.string()),  # of an earlier record
        _required("similarity", pa.float64()),  # Jaccard of shingles, 0 to 1
    ]
)
"""One row for each near-duplicate that is kept, in pool order; empty if dedupe.near is merge."""

KNOWN = pa.schema(
    [
        _required("id", pa.string()),  # of the unique record
        _required("of_id", pa.string()),  # of the annotated record
        _required("similarity", pa.float64()),  # Jaccard of shingles, 0 to 1
    ]
)
"""One row per unique record that repeats an annotated record, in the order of unique.parquet. These
records are judged like any other, so that prompts stay the same, but they are never selected."""

PROMPTS = pa.schema(
    [
        _required("prompt", pa.int32()),  # 1..K
        _required("slot", pa.int32()),  # 1..size of the prompt
        _required("id", pa.string()),
        _required("cluster", pa.int32()),  # 1..number of clusters
    ]
)
"""One row per candidate, ordered by prompt, then slot."""

_JUDGED = [
    _required("prompt", pa.int32()),
    _required("slot", pa.int32()),
    pa.field("rank", pa.int32()),  # within the prompt; 1 = the best; null if no ballot names it
    _required("score", pa.float64()),  # the judge score, 0 to 1
    _required("votes", pa.int32()),  # ballots that name it; 0 for a fallback
    _required("method", pa.string()),  # llm, offline or fallback
]

BALLOTS = pa.schema(
    [
        _required("id", pa.string()),
        *_JUDGED,
        pa.field("set_aside", pa.string()),  # why the judge could not rate it; never selected
    ]
)
"""One row for each candidate of every prompt that was judged, ordered by prompt, then slot."""

SELECTED = pa.schema(
    [
        *POOL,
        *_JUDGED,
        _required("gain", pa.float64()),  # increase of the pool's mean coverage when it was chosen
        _required("cluster", pa.int32()),
        _required("route", pa.string()),
        _required("model", pa.string()),
    ]
)
"""Exactly N rows, in order of preference. With a budget of n, the same ballots would select the
first n rows."""

SELECTIONS = pa.schema(
    [
        _required("method", pa.string()),
        _required("seed", pa.int64()),
        _required("rank", pa.int32()),  # 1 = the most preferred
        _required("id", pa.string()),
    ]
)
"""One row per record that a method selects. Methods and seeds are in the order in which they ran,
and ranks ascend within a selection."""
