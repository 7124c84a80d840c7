"""The leading metrics of a selection, compared with random selections."""

from collections.abc import Iterator
from typing import NamedTuple

from tasks.lib.documents.labels import LEADING
from tasks.lib.documents.metrics import MAX_P, OURS, RANDOM, SPACES, Metrics


class LeadingMetric(NamedTuple):
    """One metric of a selection, compared with random selections of the same size.

    Attributes:
        value: The metric of the selection.
        random: The mean over random selections; None if there are none of that size.
        p_random: The share of random selections that are as good; None if neither direction is
            better.
        is_lower_better: Whether a lower value is better; None if neither direction is.
    """

    value: float
    random: float | None
    p_random: float | None
    is_lower_better: bool | None

    @property
    def beats_chance(self) -> bool:
        """Whether at most `MAX_P` of the random selections are as good."""
        return self.p_random is not None and self.p_random <= MAX_P


def leading(metrics: Metrics | None) -> dict[str, LeadingMetric]:
    """Return the leading metrics that our selection has, in the order of LEADING."""
    if metrics is None or OURS not in metrics.methods:
        return {}
    chance = metrics.chance_for(OURS)
    found = {}
    for name in LEADING:
        metric = metrics.methods[OURS].find(name)
        by_chance = chance and chance.find(name)
        if metric:
            found[name] = LeadingMetric(
                value=metric.value,
                random=by_chance.value if by_chance else None,
                p_random=metric.p_random if by_chance else None,
                is_lower_better=metrics.is_lower_better(name),
            )
    return found


def of_selection(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """Yield our selection's metrics as ``group/metric``, those of random ones, and p-values."""
    ours, chance = metrics.methods.get(OURS), metrics.chance_for(OURS)
    if ours is None:
        return
    for group in ("text", *SPACES):
        for name, metric in ours.space(group).items():
            yield f"{group}/{name}", metric.value
            if chance and (by_chance := chance.space(group).get(name)):
                yield f"{group}/{name}.random", by_chance.value
            if metric.p_random is not None:
                yield f"p_random/{group}.{name}", metric.p_random


class CurvePoint(NamedTuple):
    """A metric at one size of the selection."""

    name: str
    size: int
    value: float


def curve_points(metrics: Metrics) -> Iterator[CurvePoint]:
    """Yield the metrics of our selection and of random selections at each size."""
    for method, ending in ((OURS, ""), (RANDOM, ".random")):
        for name, points in metrics.curves.methods.get(method, {}).items():
            for size, point in zip(metrics.curves.sizes, points, strict=True):
                if point is not None:
                    yield CurvePoint(f"curve/{name}{ending}", size, point[0])
