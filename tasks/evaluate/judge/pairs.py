"""List the pairs of answers that are compared, and the answers that are graded."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.evaluate.params import RANDOM
from tasks.evaluate.tables import QuestionSet

GUIDED = ("math", "reasoning", "coding")
"""The categories of MT-Bench whose references the judge sees, as in FastChat."""

Row = Mapping[str, Any]


class Model(NamedTuple):
    """A model that has answered: its arm, its number of training records and its seed."""

    arm: str
    n_records: int
    seed: int


class Pair(NamedTuple):
    """The answers to one question from an arm's model and from one trained on random records."""

    model: Model
    id: str
    request: str
    ours: str
    theirs: str


class Graded(NamedTuple):
    """An answer to MT-Bench, with the texts that the judge sees, by heading."""

    model: Model
    id: str
    turn: int
    texts: dict[str, str]


def models_of(answers: pa.Table) -> dict[Model, dict[str, Row]]:
    """Return each model's answers by question, in table order."""
    found: dict[Model, dict[str, Row]] = {}
    for row in answers.to_pylist():
        if row["answer"] is not None:
            model = Model(row["arm"], row["n_records"], row["seed"])
            found.setdefault(model, {})[row["id"]] = row
    return found


def rival(model: Model, models: Sequence[Model]) -> Model:
    """Return the model that an arm's model is compared with.

    The rival has the same seed and was trained on the same number of random records. If there is
    none, as for the untrained model, the rival is the one with the most records.
    """
    rivals = [other for other in models if other.arm == RANDOM and other.seed == model.seed]
    return max(rivals, key=lambda other: (other.n_records == model.n_records, other.n_records))


def pairs(
    questions: Sequence[Row], requests: Mapping[str, str], models: Mapping[Model, Mapping[str, Row]]
) -> Iterator[Pair]:
    """Yield all pairs of answers except those to MT-Bench, question by question.

    In this order, if the judge reaches the spending limit, all arms have been compared on the
    same questions.
    """
    arms = [model for model in models if model.arm != RANDOM]
    for question in questions:
        if question["set"] == QuestionSet.MT_BENCH:
            continue
        id_ = question["id"]
        for model in arms:
            if id_ in models[model]:
                ours = models[model][id_]["answer"]
                theirs = models[rival(model, list(models))][id_]["answer"]
                yield Pair(model, id_, requests[id_], ours, theirs)


def graded(questions: Sequence[Row], models: Mapping[Model, Mapping[str, Row]]) -> Iterator[Graded]:
    """Yield the answers to MT-Bench, question by question and turn by turn."""
    for question in questions:
        if question["set"] == QuestionSet.MT_BENCH:
            for model, answers in models.items():
                yield Graded(model, question["id"], 1, _turns(question, answers, 1))
                if question["follow_up"]:
                    yield Graded(model, question["id"], 2, _turns(question, answers, 2))


def _turns(question: Row, answers: Mapping[str, Row], n_turns: int) -> dict[str, str]:
    """Return a conversation's texts up to a turn, by heading."""
    row = answers[question["id"]]
    requests = question["instruction"], question["follow_up"]
    references = question["output"], question["follow_up_reference"]
    replies = row["answer"], row["follow_up_answer"]
    texts = {}
    for turn in range(n_turns):
        texts[f"request {turn + 1}"] = requests[turn]
        if question["category"] in GUIDED and references[turn]:
            texts[f"reference answer {turn + 1}"] = references[turn]
        texts[f"assistant's answer {turn + 1}"] = replies[turn]
    return texts
