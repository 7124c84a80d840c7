"""Score every model's answers to the test records."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.evaluate.params import RANDOM
from tasks.evaluate.score.bootstrap import Values
from tasks.evaluate.score.cosine import Cosine
from tasks.lib.similarity.words import rouge_l, words

Row = Mapping[str, Any]


class ArmKey(NamedTuple):
    """An arm and the number of records that its models were trained on."""

    arm: str
    n_records: int

    @property
    def label(self) -> str:
        """The arm's name and its number of records."""
        return f"{self.arm}, {self.n_records:,} records" if self.n_records else self.arm


class ScoredArm(NamedTuple):
    """The scores of one arm's answers: float64 arrays with a row for each seed.

    Attributes:
        loss: Shape (seeds, questions), the loss of each reference answer, summed over its tokens.
        answers: By figure, shape (seeds, answered questions), the figure of each answer.
    """

    loss: Values
    answers: Mapping[str, Values]


def rows_of_models(answers: pa.Table) -> dict[ArmKey, list[list[dict[str, Any]]]]:
    """Return each model's answers, by arm and number of records, in table order."""
    models: dict[ArmKey, dict[int, list[dict[str, Any]]]] = {}
    for row in answers.to_pylist():
        by_seed = models.setdefault(ArmKey(row["arm"], row["n_records"]), {})
        by_seed.setdefault(row["seed"], []).append(row)
    return {key: list(by_seed.values()) for key, by_seed in models.items()}


def rival_of(key: ArmKey, keys: Sequence[ArmKey]) -> ArmKey:
    """Return the random arm that an arm is compared with.

    The random arm has the same number of records. If there is none, as for the untrained model, the
    random arm with the most records is returned.
    """
    rivals = [other for other in keys if other.arm == RANDOM]
    return max(rivals, key=lambda other: (other.n_records == key.n_records, other.n_records))


def score_arms(
    models: Mapping[ArmKey, Sequence[Sequence[Row]]],
    references: Sequence[str],
    cosine: Cosine | None = None,
) -> dict[ArmKey, ScoredArm]:
    """Return each arm's scored answers to the test records, which come first in `models`.

    The models answered only the first test records; the others have only a loss.
    """
    found = {}
    for key, seeds in models.items():
        scored = [_score(rows[: len(references)], references, cosine) for rows in seeds]
        arrays = {name: np.array([model[name] for model in scored]) for name in scored[0]}
        found[key] = ScoredArm(arrays.pop("loss"), arrays)
    return found


def _score(
    rows: Sequence[Row], references: Sequence[str], cosine: Cosine | None
) -> dict[str, list[float]]:
    """Return the figures of one model by name: one value per question or answer."""
    answers = [row["answer"] for row in rows if row["answer"] is not None]
    texts, expected = map(words, answers), references[: len(answers)]
    split = list(texts)
    figures = {
        "loss": [row["nll"] for row in rows],
        "rouge_l": list(rouge_l(split, [words(text) for text in expected])),
        "words": [float(len(text)) for text in split],
        "stopped": [float(row["stopped"]) for row in rows if row["answer"] is not None],
    }
    return figures | ({"cosine": cosine(answers, expected)} if cosine else {})
