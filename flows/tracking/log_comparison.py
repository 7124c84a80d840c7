"""Log a comparison as an MLflow run, with each of its variants as a child run."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flows.tracking import comparison, markdown
from flows.tracking.comparison import Outcome
from flows.tracking.log_run import NOTE, EndedRun, log, took_s
from flows.tracking.store import MAX_TAG_CHARS, Store, write
from tasks.lib.documents.metrics import jaccard

MAX_NAME = 120
FINGERPRINT, MEMBER = "comparison", "comparison_of"


def log_comparison(
    workspace: Path,
    outcomes: Sequence[Outcome],
    ends: Sequence[EndedRun],
    tables: Sequence[Path] = (),
) -> str:
    """Log the runs and the tables, unless this exact comparison is already in the store.

    Returns:
        The address of the comparison, relative to MLflow's server; empty if the store cannot be
        written.
    """
    fingerprint = comparison.fingerprint(outcomes)
    address: list[str] = []

    def work(store: Store) -> None:
        known = store.mlflow.search_runs(
            [store.experiment_id],
            f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'",
            output_format="list",
            max_results=1,
        )
        run_id = (
            known[0].info.run_id if known else _write(store, outcomes, ends, fingerprint, tables)
        )
        address.append(store.run_page(run_id))

    write(workspace, work)
    return address[0] if address else ""


def _write(
    store: Store,
    outcomes: Sequence[Outcome],
    ends: Sequence[EndedRun],
    fingerprint: str,
    tables: Sequence[Path],
) -> str:
    mlflow = store.mlflow
    name = f"compare {', '.join(outcome.name for outcome in outcomes)}"
    with store.run(name[:MAX_NAME], sum(took_s(ended.done) for ended in ends)) as run_id:
        children = [
            _write_variant(store, outcome, ended, fingerprint)
            for outcome, ended in zip(outcomes, ends, strict=True)
        ]
        table = comparison.rows(outcomes)
        mlflow.log_text(comparison.as_csv(table), "comparison.csv")
        for path in tables:
            mlflow.log_artifact(path)
        selected = [outcome for outcome in outcomes if outcome.ids]
        if selected:
            mlflow.log_text(comparison.as_csv(comparison.overlap_rows(selected)), "overlap.csv")
        mlflow.log_metrics(dict(_metrics(table)) | _overlaps(selected))
        note = f"{_link(store, children)}\n\n{markdown.comparison(outcomes)}"
        mlflow.set_tags({FINGERPRINT: fingerprint, NOTE: note[:MAX_TAG_CHARS]})
    return run_id


def _link(store: Store, children: Sequence[str]) -> str:
    """Return a Markdown link to the MLflow page that shows the variants side by side."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (children, [store.experiment_id]))
    return f"[variants side by side](#/compare-runs?runs={runs}&experiments={experiments})"


def _write_variant(store: Store, outcome: Outcome, ended: EndedRun, fingerprint: str) -> str:
    with store.run(outcome.name, took_s(ended.done)) as run_id:
        store.mlflow.set_tags({MEMBER: fingerprint, "variant": outcome.name})
        store.mlflow.set_tag("sets", outcome.variant.sets[:MAX_TAG_CHARS])
        log(store, run_id, ended._replace(failure=outcome.failure))
    return run_id


def _metrics(table: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return the numbers of the table as ``metric/variant``, so that MLflow groups by metric."""
    return [
        (f"{key}/{row['variant']}", float(value))
        for row in table
        for key, value in row.items()
        if isinstance(value, int | float)
    ]


def _overlaps(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the overlap of each pair of variants."""
    pairs = combinations(outcomes, 2)
    return {f"overlap/{a.name} {b.name}": jaccard(a.ids, b.ids) for a, b in pairs}
