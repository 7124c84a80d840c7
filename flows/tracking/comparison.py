"""Compare variants: their selections, costs and metrics, and the overlap of selections."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flows.dvc.variants import Variant
from flows.tracking.leading_metrics import LeadingMetric
from tasks.lib.documents.labels import LEADING
from tasks.lib.documents.metrics import MethodMetrics, jaccard
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage


class VariantState(StrEnum):
    """How a variant's run ended; ``partial`` if the spending cap cut the selection short."""

    FAILED = "failed"
    PARTIAL = "partial"
    DONE = "done"


@dataclass(frozen=True)
class Outcome:
    """The result of a variant's run.

    Attributes:
        failure: Why the run failed; empty if it did not fail.
        hashes: The DVC hashes of its outputs, by path.
        usage: None after a failure.
        metrics: The leading metrics by name; empty after a failure.
        ours: All metrics of the selection; None after a failure, or if nothing is selected.
        savings: None after a failure.
        ids: The ids of the selected records.
        n_stages: The number of stages of the graph.
        n_ran: The number of stages that ran; the others were Cached.
    """

    variant: Variant
    failure: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    metrics: Mapping[str, LeadingMetric] = field(default_factory=dict)
    ours: MethodMetrics | None = None
    savings: Savings | None = None
    ids: frozenset[str] = frozenset()
    n_stages: int = 0
    n_ran: int = 0

    @property
    def name(self) -> str:
        """The variant's name."""
        return self.variant.name

    @property
    def state(self) -> VariantState:
        """How the run ended."""
        if self.failure:
            return VariantState.FAILED
        is_partial = self.usage is not None and self.usage.partial is not None
        return VariantState.PARTIAL if is_partial else VariantState.DONE

    @property
    def n_selected(self) -> int | None:
        """The number of selected records; None after a failure."""
        return None if self.usage is None else len(self.ids)

    def used(self, name: str) -> Any:
        """Return a field of `usage`, or None after a failure."""
        return getattr(self.usage, name, None)


def fingerprint(outcomes: Sequence[Outcome]) -> str:
    """Return 16 hex digits that depend only on the variants and their outcomes."""
    facts = [[o.name, o.variant.params, o.failure, sorted(o.hashes.items())] for o in outcomes]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()


def overlap(outcomes: Sequence[Outcome]) -> list[list[float]]:
    """Return the Jaccard similarity of each pair of selections, in the order of the outcomes."""
    return [[jaccard(a.ids, b.ids) for b in outcomes] for a in outcomes]


def measured(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the names of the leading metrics that any outcome has, in the order of LEADING."""
    return [name for name in LEADING if any(name in o.metrics for o in outcomes)]


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a row for each variant: its keys, state, cost and metrics."""
    names = measured(outcomes)
    return [
        {
            "variant": outcome.name,
            "sets": outcome.variant.sets,
            "state": outcome.state,
            "selected": outcome.n_selected,
            **{name: outcome.used(name) for name in ("model", "calls", "usd")},
            **{key: value for name in names for key, value in _cells(name, outcome).items()},
        }
        for outcome in outcomes
    ]


def _cells(name: str, outcome: Outcome) -> dict[str, float | None]:
    metric = outcome.metrics.get(name)
    return {
        name: metric and metric.value,
        f"{name}.random": metric and metric.random,
        f"{name}.p_random": metric and metric.p_random,
    }


def best(outcomes: Sequence[Outcome], name: str) -> float | None:
    """Return the best value of a metric among the variants, or None.

    There is no best value if fewer than two variants have the metric, if neither direction is
    better, or if the selections differ in size, since a larger selection always covers better.
    """
    having = [outcome for outcome in outcomes if name in outcome.metrics]
    if len(having) < 2 or len({outcome.n_selected for outcome in having}) > 1:
        return None
    is_lower_better = having[0].metrics[name].is_lower_better
    if is_lower_better is None:
        return None
    values = [outcome.metrics[name].value for outcome in having]
    return min(values) if is_lower_better else max(values)


def as_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same keys as CSV text, with a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return buffer.getvalue()


def overlap_rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the overlap as a row for each variant, with a column for each variant."""
    names = [outcome.name for outcome in outcomes]
    return [
        {"variant": name, **{n: round(cell, 4) for n, cell in zip(names, cells, strict=True)}}
        for name, cells in zip(names, overlap(outcomes), strict=True)
    ]
