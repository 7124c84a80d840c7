"""Variants side by side: what each selected, what it cost, how good it is, and what they share."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.dvc.variants import Variant
from flows.tracking.metrics import LEADING, Figure

FAILED, PARTIAL, DONE = "failed", "partial", "done"


@dataclass(frozen=True)
class Outcome:
    """How a variant ended.

    Attributes:
        variant: What ran.
        failure: Why it failed; empty when it did not.
        hashes: Path and DVC hash of what it made.
        usage: What stands in usage.json; empty after a failure.
        figures: The figures to decide by, by name; empty after a failure.
        ids: Of the selected records.
        n_stages: How many stages the graph has.
        n_ran: How many of them ran, the others being Cached.
    """

    variant: Variant
    failure: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    n_stages: int = 0
    n_ran: int = 0

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.variant.name

    @property
    def state(self) -> str:
        """Whether it failed, was stopped by the money cap, or is done."""
        return FAILED if self.failure else PARTIAL if self.usage.get("partial") else DONE


def fingerprint(outcomes: Sequence[Outcome]) -> str:
    """The same 16 hex digits for the same variants with the same outcomes, and for no others."""
    told = [[o.name, o.variant.params, o.failure, sorted(o.hashes.items())] for o in outcomes]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=8).hexdigest()


def overlap(outcomes: Sequence[Outcome]) -> list[list[float]]:
    """Jaccard similarity of each two selections, rows and columns in the order of the outcomes."""
    return [
        [len(a.ids & b.ids) / len(a.ids | b.ids) if a.ids | b.ids else 0.0 for b in outcomes]
        for a in outcomes
    ]


def measured(outcomes: Sequence[Outcome]) -> list[str]:
    """The names of the figures to decide by that any of the outcomes has, in their order."""
    return [name for name in LEADING if any(name in o.figures for o in outcomes)]


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """A row a variant: what it sets, how it ended, its bill, and its figures beside chance."""
    told = measured(outcomes)
    return [
        {
            "variant": outcome.name,
            "sets": outcome.variant.words,
            "state": outcome.state,
            "selected": outcome.usage.get("selected"),
            "model": outcome.usage.get("model"),
            "calls": outcome.usage.get("calls"),
            "usd": outcome.usage.get("usd"),
            **{key: value for name in told for key, value in _cells(name, outcome).items()},
        }
        for outcome in outcomes
    ]


def _cells(name: str, outcome: Outcome) -> dict[str, float | None]:
    figure = outcome.figures.get(name)
    return {
        name: figure and figure.value,
        f"{name}.random": figure and figure.chance,
        f"{name}.p_random": figure and figure.p_random,
    }


def best(outcomes: Sequence[Outcome], name: str) -> float | None:
    """The best value that any variant has of a figure.

    None where fewer than two have it, it has no direction, or the selections differ in size: a
    larger one always covers better.
    """
    found = [(o.figures[name], o.usage.get("selected")) for o in outcomes if name in o.figures]
    if len(found) < 2 or len({size for _, size in found}) > 1:
        return None
    is_lower_better = found[0][0].is_lower_better
    if is_lower_better is None:
        return None
    values = [figure.value for figure, _ in found]
    return min(values) if is_lower_better else max(values)


def as_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """Rows of one form as CSV, with a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def overlap_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """The overlap as rows: a variant, and a column for each variant."""
    names = [outcome.name for outcome in outcomes]
    return [
        {"variant": name, **{n: round(cell, 4) for n, cell in zip(names, cells, strict=True)}}
        for name, cells in zip(names, overlap(outcomes), strict=True)
    ]
