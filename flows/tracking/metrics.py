"""The figures of a selection that a lead decides by, out of what the stage measure wrote."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

OURS, CHANCE = "llm_select", "random"
SPACE = "words"  # in which no method chose
SURE = 0.05  # a p-value up to it is taken for better than chance, at 20 random selections
LEADING = {
    "coverage_mean": "distance to the nearest selected",
    "redundancy": "likeness inside the selection",
    "vendi": "as many wholly unlike records",
    "student_rouge_l": "student's ROUGE-L",
}


class Figure(NamedTuple):
    """One figure of a selection, and what random selections of the same size have.

    Attributes:
        value: Of the selection.
        interval: 95 %; None for a figure of the selection as a whole.
        chance: The mean over random selections; None when none were made.
        chance_interval: The middle 95 % of them.
        p_random: The share of random selections that do as well; None without a better direction.
        is_lower_better: Its direction; None when it has none.
    """

    value: float
    interval: tuple[float, float] | None
    chance: float | None
    chance_interval: tuple[float, float] | None
    p_random: float | None
    is_lower_better: bool | None

    @property
    def beats_chance(self) -> bool:
        """Whether hardly any random selection does as well."""
        return self.p_random is not None and self.p_random <= SURE


def leading(document: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures to decide by, in their order; those the pool does not allow are left out."""
    methods = document.get("methods", {})
    ours, lots = methods.get(OURS, {}), methods.get(CHANCE, {})
    if ours.get("n_records") != lots.get("n_records"):
        lots = {}  # a larger selection always covers better
    found = {}
    for name in LEADING:
        entry, chance = (each.get(SPACE, {}).get(name) for each in (ours, lots))
        if entry:
            found[name] = _figure(name, entry, chance or {}, document)
    return found


def of_selection(document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every figure of the selection as ``group/figure``, and the p-values of those of `SPACE`."""
    for group, figures in document.get("methods", {}).get(OURS, {}).items():
        if not isinstance(figures, Mapping):
            continue
        for name, entry in figures.items():
            if isinstance(entry, Mapping):  # what it cost stands among the metrics of llm_select
                yield f"{group}/{name}", float(entry["value"])
                if group == SPACE and entry["p_random"] is not None:
                    yield f"p_random/{name}", float(entry["p_random"])


def _figure(
    name: str, entry: Mapping[str, Any], chance: Mapping[str, Any], document: Mapping[str, Any]
) -> Figure:
    directions = {"lower_is_better": True, "higher_is_better": False}
    lower = [is_lower for key, is_lower in directions.items() if name in document.get(key, ())]
    return Figure(
        value=entry["value"],
        interval=_pair(entry.get("interval")),
        chance=chance.get("value"),
        chance_interval=_pair(chance.get("interval")),
        p_random=entry.get("p_random") if chance else None,
        is_lower_better=lower[0] if lower else None,
    )


def _pair(interval: Any) -> tuple[float, float] | None:
    return tuple(interval) if interval else None
