"""metrics.json: how good each method's selection is, compared with random ones."""

from collections.abc import Mapping, Set
from typing import Any

from pydantic import ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from tasks.lib.documents.document import Document, Part

OURS, RANDOM = "llm_select", "random"  # methods
SPACE = "words"  # the space in which no method selects
SPACES = (SPACE, "vectors")
MAX_P = 0.05  # a p-value up to it counts as better than random, at 20 random selections

Interval = tuple[float, float]
Point = tuple[float, float | None, float | None]  # value, low, high

RENAMED_METRICS = {
    "student_rouge_l": "knn_probe_rouge_l",
    "student_cosine": "knn_probe_cosine",
}


class Metric(Part):
    """One metric of one method.

    Attributes:
        value: Of the selection; the mean over seeds.
        interval: 95 %; None for a metric of the selection as a whole.
        p_random: The share of random selections that are as good; None without a better direction.
    """

    value: float
    interval: Interval | None
    p_random: float | None

    @property
    def beats_chance(self) -> bool | None:
        """Whether hardly any random selection is as good; None if that is not known."""
        return None if self.p_random is None else self.p_random <= MAX_P


class MethodCost(Part):
    """What a method's answers used."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: int | float


class BaselineUsage(Document):
    """The document usage.json of the stage baseline: costs by method, of those that ask a model."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, MethodCost]

    @property
    def costs(self) -> Mapping[str, MethodCost]:
        """The cost of each method that asked a model."""
        return self.__pydantic_extra__


class MethodMetrics(Part):
    """The metrics of one method by name, in three groups: of the texts, and of two spaces."""

    n_records: int
    n_seeds: int
    text: Mapping[str, Metric]
    words: Mapping[str, Metric]
    vectors: Mapping[str, Metric]
    cost: MethodCost

    def space(self, name: str) -> Mapping[str, Metric]:
        """Return the metrics of one of the `SPACES`."""
        return self.words if name == SPACE else self.vectors


class Curves(Part):
    """Metrics at each size, by method and ``group.metric``; None where there is none."""

    sizes: tuple[int, ...]
    methods: Mapping[str, Mapping[str, tuple[Point | None, ...]]]


class Overlap(Part):
    """The Jaccard similarity of each two methods' selections, in the order of `methods`."""

    methods: tuple[str, ...]
    jaccard: tuple[tuple[float, ...], ...]


class Metrics(Document):
    """The document metrics.json."""

    methods: Mapping[str, MethodMetrics]
    curves: Curves
    overlap: Overlap
    lower_is_better: tuple[str, ...]
    higher_is_better: tuple[str, ...]

    @field_validator("higher_is_better")
    @classmethod
    def _refuse_old_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name in RENAMED_METRICS:
                what = f"the metric {name} is now called {RENAMED_METRICS[name]}"
                raise PydanticCustomError("renamed", "{what}", {"what": what})
        return names

    def chance_for(self, method: str) -> MethodMetrics | None:
        """Return the random selections to compare a method with, which have its size.

        A larger selection always covers better, so those of another size do not compare.
        """
        chance = self.methods.get(RANDOM)
        if chance and method in self.methods:
            return chance if chance.n_records == self.methods[method].n_records else None
        return None

    def is_lower_better(self, metric: str) -> bool | None:
        """Return the better direction of a metric; None if it has none."""
        return {metric in self.lower_is_better: True, metric in self.higher_is_better: False}.get(
            True
        )


def jaccard(a: Set[Any], b: Set[Any]) -> float:
    """Return the share of two sets' elements that are in both; 0 for two empty sets."""
    return len(a & b) / len(a | b) if a | b else 0.0
