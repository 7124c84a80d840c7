"""The tables of an evaluation: the questions, and what the models answer."""

import pyarrow as pa

from tasks.lib.core.schemas import POOL


def _required(name: str, kind: pa.DataType) -> "pa.Field[pa.DataType]":
    return pa.field(name, kind, nullable=False)


QUESTIONS = pa.schema([*POOL])
"""One row per test record that is asked, in file order; ids are unique."""

ANSWERS = pa.schema(
    [
        _required("arm", pa.string()),
        _required("seed", pa.int64()),
        _required("id", pa.string()),  # of the test record
        _required("nll", pa.float64()),  # of the reference answer, summed over its tokens, in nats
        _required("n_tokens", pa.int64()),  # of the reference answer
        pa.field("answer", pa.string()),  # the model's own; null if it was not asked
        pa.field("n_new_tokens", pa.int64()),
        pa.field("stopped", pa.bool_()),  # whether it ended by itself, below the limit
    ]
)
"""One row for each arm, seed and test record, in the order of the arms, seeds and questions."""
