"""The tables of an evaluation: the questions, the models' answers, and the judge's verdicts."""

from enum import StrEnum

import pyarrow as pa

from tasks.lib.core.schemas import POOL


def _required(name: str, kind: pa.DataType) -> "pa.Field[pa.DataType]":
    return pa.field(name, kind, nullable=False)


class QuestionSet(StrEnum):
    """Where a question comes from."""

    TEST = "test"
    """The user's test records, with reference answers."""
    ALPACA_EVAL = "alpaca_eval"
    MT_BENCH = "mt_bench"


QUESTIONS = pa.schema(
    [
        *POOL,
        _required("set", pa.string()),  # a QuestionSet
        pa.field("category", pa.string()),  # MT-Bench's category, or AlpacaEval's data set
        pa.field("follow_up", pa.string()),  # the second turn of MT-Bench
        pa.field("follow_up_reference", pa.string()),
    ]
)
"""One row per question, the test records first, each set in file order; ids are unique."""

ANSWERS = pa.schema(
    [
        _required("arm", pa.string()),
        _required("n_records", pa.int64()),  # that the model was trained on
        _required("seed", pa.int64()),
        _required("id", pa.string()),  # of the question
        pa.field("nll", pa.float64()),  # of the reference answer, summed over its tokens, in nats
        _required("n_tokens", pa.int64()),  # of the reference answer; 0 if it has no loss
        pa.field("answer", pa.string()),  # the model's own; null if it was not asked
        pa.field("n_new_tokens", pa.int64()),
        pa.field("stopped", pa.bool_()),  # whether it ended on its own, below the limit
        pa.field("follow_up_answer", pa.string()),  # to the second turn, if there is one
    ]
)
"""One row for each model and question, in model order, then in question order."""

COMPARISONS = pa.schema(
    [
        _required("arm", pa.string()),
        _required("n_records", pa.int64()),
        _required("seed", pa.int64()),
        _required("id", pa.string()),  # of the question
        pa.field("shown_first", pa.float64()),  # 1 if the arm's answer, shown first, was preferred
        pa.field("shown_second", pa.float64()),  # the same if it was shown second
    ]
)
"""One row for each judged pair of answers, from an arm's model and one trained on random records:
1 if the arm's answer was preferred, 0 if the other one was, 0.5 for a tie, null for no verdict."""

GRADES = pa.schema(
    [
        _required("arm", pa.string()),
        _required("n_records", pa.int64()),
        _required("seed", pa.int64()),
        _required("id", pa.string()),  # of the question
        _required("turn", pa.int64()),  # 1 or 2
        pa.field("rating", pa.float64()),  # 1 to 10; null if the judge gave none
    ]
)
"""One row for each answer to MT-Bench."""
