"""Write a table for a paper, as CSV and as LaTeX, with one row per method or variant."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.lib.documents.labels import LEADING
from tasks.lib.documents.metrics import MAX_P, Metric
from tasks.lib.documents.savings import Equivalent

SHORT = {
    "outputs.coverage_mean": "coverage, outputs",
    "words.coverage_mean": "coverage, words",
    "words.knn_probe_rouge_l": "student",
}
HEADLINES = tuple(SHORT)
"""The metrics in the LaTeX table, each with the number of random records that do as well."""


class TableRow(NamedTuple):
    """One method or variant.

    Attributes:
        name: The name of the method or variant.
        n_records: The number of selected records; None if there is no selection.
        n_seeds: The number of selections over which the values are averaged.
        metrics: The metrics by ``SPACE.METRIC``.
        n_random: For each metric in HEADLINES, the number of random records that do as well.
        max_size: The largest number of random records that were drawn.
        calls: The number of answers that the selection is based on.
        usd: The price of these answers.
        chose_in: The spaces in which the method made its choice.
    """

    name: str
    n_records: int | None
    n_seeds: int
    metrics: Mapping[str, Metric]
    n_random: Mapping[str, Equivalent]
    max_size: int
    calls: int | None
    usd: float | None
    chose_in: Sequence[str] = ()


def as_csv(rows: Sequence[TableRow]) -> str:
    """Return CSV with the leading metrics, their intervals and p-values, savings and price."""
    import pandas as pd  # noqa: PLC0415  half a second

    table = pd.DataFrame([dict(_cells(row)) for row in rows]).convert_dtypes()  # 2, not 2.0
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text


def as_latex(rows: Sequence[TableRow]) -> str:
    """Return a LaTeX table of the HEADLINES that any row has. It needs the booktabs package.

    Each value has its interval in brackets, and a star if its p-value is at most MAX_P. The next
    column shows the number of random records that do as well.
    """
    import pandas as pd  # noqa: PLC0415

    names = [name for name in HEADLINES if any(name in row.metrics for row in rows)]
    lines = [
        {
            "": row.name.replace("_", " "),
            "records": "" if row.n_records is None else f"{row.n_records:,}",
            **{head: cell for name in names for head, cell in _pair(row, name)},
            "USD": "" if row.usd is None else f"{row.usd:.2f}",
        }
        for row in rows
    ]
    text: str = pd.DataFrame(lines).to_latex(
        index=False, escape=True, column_format="lr" + "rr" * len(names) + "r"
    )
    note = f"% Value [95 % interval]; * p <= {MAX_P}; n: random records that do as well.\n"
    return note + text


def _cells(row: TableRow) -> Iterator[tuple[str, Any]]:
    yield from (("name", row.name), ("records", row.n_records), ("seeds", row.n_seeds))
    for name in LEADING:
        metric = row.metrics.get(name)
        low, high = (metric and metric.interval) or (None, None)
        yield name, metric and metric.value
        yield from ((f"{name}.low", low), (f"{name}.high", high))
        yield f"{name}.p_random", metric and metric.p_random
    for name in HEADLINES:
        found = row.n_random.get(name)
        yield f"{name}.n_random", found and found.n_random
        yield f"{name}.n_random.low", found and found.low
        yield f"{name}.n_random.high", found and found.high
    yield from (("calls", row.calls), ("usd", row.usd), ("chose_in", " ".join(row.chose_in)))


def _pair(row: TableRow, name: str) -> Iterator[tuple[str, str]]:
    """Yield two cells with their headers: a metric, and the random records that do as well."""
    metric, found, head = row.metrics.get(name), row.n_random.get(name), SHORT[name]
    yield head, "" if metric is None else _value(metric)
    yield f"{head}: n", "" if found is None else _count(found, row.max_size)


def _value(metric: Metric) -> str:
    star = "*" if metric.beats_chance else ""
    ends = ", ".join(f"{end:.3f}" for end in metric.interval or ())
    return f"{metric.value:.3f}{star} [{ends}]" if ends else f"{metric.value:.3f}{star}"


def _count(found: Equivalent, max_size: int) -> str:
    def bound(n: int) -> str:
        return f">{n:,}" if n >= max_size else f"{n:,}"

    return f"{bound(found.n_random)} [{bound(found.low)}, {bound(found.high)}]"
