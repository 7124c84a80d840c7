"""The variants of a comparison as the rows of a table for a paper, with means over seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from flows.tracking.comparison import Outcome
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.documents.labels import LEADING
from tasks.lib.documents.metrics import Metric
from tasks.lib.documents.paper_table import TableRow, as_csv, as_latex
from tasks.lib.documents.savings import Equivalent

FOLDER = "comparison"


def write_tables(workspace: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Write the table as CSV and as LaTeX; return the two files."""
    folder = workspace / STATE_DIR / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = paper_rows(outcomes)
    files = {folder / "table.csv": as_csv(rows), folder / "table.tex": as_latex(rows)}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(files)


def paper_rows(outcomes: Sequence[Outcome]) -> list[TableRow]:
    """Return a row for each variant; variants that differ only in `seed` share one row.

    Such a row has the name of its first variant, the means of the values with the 95 % intervals of
    these means (Student's t), the largest p-values, the mean numbers of random records with the
    lowest and highest ends of their intervals, and the mean price.
    """
    by_changes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        changes = {key: v for key, v in outcome.variant.changes.items() if key != "seed"}
        by_changes.setdefault(json.dumps(changes, sort_keys=True), []).append(outcome)
    return [_row(group) for group in by_changes.values()]


def _row(group: Sequence[Outcome]) -> TableRow:
    done = [(o.ours, o.savings, o.usage) for o in group if o.ours and o.savings and o.usage]
    found = {name: [m for ours, _, _ in done if (m := ours.find(name))] for name in LEADING}
    worth = [savings.by_metric for _, savings, _ in done]
    names = dict.fromkeys(name for by_metric in worth for name in by_metric)
    return TableRow(
        name=group[0].name,
        n_records=done[0][0].n_records if done else None,
        n_seeds=len(done),
        metrics={name: _mean(metrics) for name, metrics in found.items() if metrics},
        n_random={name: _mean_worth([w[name] for w in worth if name in w]) for name in names},
        max_size=min((savings.max_size for _, savings, _ in done), default=0),
        calls=round(fmean(usage.calls for _, _, usage in done)) if done else None,
        usd=fmean(usage.usd for _, _, usage in done) if done else None,
        chose_in=(done[0][0].chose_in or ()) if done else (),
    )


def _mean(metrics: Sequence[Metric]) -> Metric:
    if len(metrics) == 1:
        return metrics[0]
    from scipy.stats import t  # noqa: PLC0415  half a second

    values = [metric.value for metric in metrics]
    mean, n = fmean(values), len(values)
    half = float(t.ppf(0.975, n - 1)) * stdev(values) / n**0.5
    p_values = [metric.p_random for metric in metrics if metric.p_random is not None]
    return Metric(
        value=mean, interval=(mean - half, mean + half), p_random=max(p_values, default=None)
    )


def _mean_worth(found: Sequence[Equivalent]) -> Equivalent:
    return Equivalent(
        n_random=round(fmean(one.n_random for one in found)),
        low=min(one.low for one in found),
        high=max(one.high for one in found),
    )
