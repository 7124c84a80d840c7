"""metrics.json: how good each method's selection is, compared with random selections."""

from collections.abc import Mapping, Set
from typing import Any

from pydantic import ConfigDict, field_validator
from pydantic_core import PydanticCustomError

from tasks.lib.documents.document import Document, Part

OURS, RANDOM = "llm_select", "random"  # methods
SPACES = ("outputs", "words", "characters", "vectors")
"""The spaces in which selections are compared; only methods that use ratings see outputs."""
SPACE = "words"  # every pool has this space; plots and savings use it
MAX_P = 0.05  # better than random; the lowest possible is 1/21 with 20 random selections

Interval = tuple[float, float]
Point = tuple[float, float | None, float | None]  # value, low, high

RENAMED_METRICS = {
    "student_rouge_l": "knn_probe_rouge_l",
    "student_cosine": "knn_probe_cosine",
}


class Metric(Part):
    """One metric of one method.

    Attributes:
        value: The metric of the selection, averaged over seeds.
        interval: The 95 % interval; None for a metric of the selection as a whole.
        p_random: The share of random selections that are as good; None if neither a lower nor a
            higher value is better.
    """

    value: float
    interval: Interval | None
    p_random: float | None

    @property
    def beats_chance(self) -> bool | None:
        """Whether at most `MAX_P` of the random selections are as good; None if unknown."""
        return None if self.p_random is None else self.p_random <= MAX_P


class MethodCost(Part):
    """The calls, tokens and price of a method's answers."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: int | float


class BaselineUsage(Document):
    """The usage.json document of the baseline stage: the cost of each method that calls a model."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, MethodCost]

    @property
    def costs(self) -> Mapping[str, MethodCost]:
        """The costs by method."""
        return self.__pydantic_extra__


class MethodMetrics(Part):
    """The metrics of one method by name, in groups: the texts, and each of the `SPACES`.

    Attributes:
        chose_in: The spaces in which the method made its choice, and spaces similar to them. A good
            value there proves nothing. None if the method is unknown.
        outputs: Empty if the pool has too few outputs.
    """

    n_records: int
    n_seeds: int
    chose_in: tuple[str, ...] | None
    text: Mapping[str, Metric]
    outputs: Mapping[str, Metric] = {}
    words: Mapping[str, Metric]
    characters: Mapping[str, Metric]
    vectors: Mapping[str, Metric]
    cost: MethodCost

    def space(self, name: str) -> Mapping[str, Metric]:
        """Return the metrics of one of the `SPACES`, or of the group ``text``."""
        metrics: Mapping[str, Metric] = getattr(self, name)
        return metrics

    def find(self, metric: str) -> Metric | None:
        """Return a metric by its name ``SPACE.METRIC``; None if it was not measured."""
        space, _, name = metric.partition(".")
        return self.space(space).get(name)


class Curves(Part):
    """Metrics at each size, by method and ``group.metric``; None if not measured at that size."""

    sizes: tuple[int, ...]
    methods: Mapping[str, Mapping[str, tuple[Point | None, ...]]]


class Overlap(Part):
    """The Jaccard similarity of each pair of selections, in the order of `methods`."""

    methods: tuple[str, ...]
    jaccard: tuple[tuple[float, ...], ...]


class Metrics(Document):
    """The metrics.json document."""

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
        """Return the metrics of random selections of the method's size, or None if there are none.

        A larger selection always covers better, so selections of other sizes cannot be compared.
        """
        chance = self.methods.get(RANDOM)
        if chance and method in self.methods:
            return chance if chance.n_records == self.methods[method].n_records else None
        return None

    def spaces(self) -> tuple[str, ...]:
        """Return the `SPACES` in which any method was measured."""
        return tuple(s for s in SPACES if any(m.space(s) for m in self.methods.values()))

    def is_lower_better(self, metric: str) -> bool | None:
        """Return whether a lower value is better, or None if neither direction is better.

        Args:
            metric: The metric's name, with or without its group.
        """
        metric = metric.rpartition(".")[2]
        if metric in self.lower_is_better:
            return True
        return False if metric in self.higher_is_better else None


def jaccard(a: Set[Any], b: Set[Any]) -> float:
    """Return the Jaccard similarity of two sets; 0 for two empty sets."""
    return len(a & b) / len(a | b) if a | b else 0.0
