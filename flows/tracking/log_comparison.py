"""A comparison becomes an MLflow run, and each of its variants a run below it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flows.dvc.graph import read_graph
from flows.stage_task import Done, Run
from flows.tracking import comparison, markdown
from flows.tracking.comparison import FAILED, Outcome
from flows.tracking.comparison_page import page
from flows.tracking.log_run import NOTE, log, took_s
from flows.tracking.metrics import SPACE
from flows.tracking.store import MAX_TAG_CHARS, Store, write

MAX_NAME = 120
MAX_COLUMNS = 24  # so that the view fits into a tag
FINGERPRINT, MEMBER = "comparison", "comparison_of"
BILL = ("llm_select.selected", "llm_select.calls", "llm_select.usd")
WIDTHS = {"tags": 230, "params": 180, "metrics": 180}  # pixels, so that no heading is cut
VIEW = "mlflow.sharedViewState."  # an experiment's tag with columns and filter of its page

Ends = Sequence[tuple[Run, Mapping[str, Done]]]


def record(root: Path, outcomes: Sequence[Outcome], ends: Ends) -> str:
    """Write the runs, unless this very comparison is there; where on MLflow's page they are.

    Returns:
        The part of the address behind the server's; empty when the store could not be written.
    """
    print_ = comparison.fingerprint(outcomes)
    place: list[str] = []

    def work(store: Store) -> None:
        known = store.mlflow.search_runs(
            [store.experiment_id],
            f"tags.`{FINGERPRINT}` = '{print_}' and attributes.status = 'FINISHED'",
            output_format="list",
            max_results=1,
        )
        if not known:
            _write(store, outcomes, ends, print_)
        place.append(_view(store, outcomes, print_))

    write(root, work)
    return place[0] if place else ""


def _write(store: Store, outcomes: Sequence[Outcome], ends: Ends, print_: str) -> None:
    mlflow = store.mlflow
    name = f"compare {', '.join(outcome.name for outcome in outcomes)}"
    with store.run(name[:MAX_NAME], sum(took_s(done) for _, done in ends)) as run_id:
        children = [
            _write_variant(store, outcome, *end, print_)
            for outcome, end in zip(outcomes, ends, strict=True)
        ]
        table = comparison.rows(outcomes)
        mlflow.log_text(page(outcomes), "comparison.html")
        mlflow.log_text(comparison.as_csv(table), "comparison.csv")
        whole = [outcome for outcome in outcomes if outcome.ids]
        if whole:
            mlflow.log_text(comparison.as_csv(comparison.overlap_rows(whole)), "overlap.csv")
        mlflow.log_metrics(dict(_metrics(table)) | _overlaps(outcomes))
        note = f"{_links(store, run_id, children, print_)}\n\n{markdown.comparison(outcomes)}"
        mlflow.set_tags({FINGERPRINT: print_, NOTE: note[:MAX_TAG_CHARS]})


def _links(store: Store, run_id: str, children: Sequence[str], print_: str) -> str:
    """Where on MLflow's pages to go on from the comparison, as Markdown."""
    runs, experiments = (quote(json.dumps(ids)) for ids in (children, [store.experiment_id]))
    places = {
        "charts": f"#/experiments/{store.experiment_id}/runs/{run_id}/artifacts/comparison.html",
        "table of the variants": _address(store, print_),
        "parameters that differ": f"#/compare-runs?runs={runs}&experiments={experiments}",
    }
    return " | ".join(f"[{what}]({place})" for what, place in places.items())


def _write_variant(
    store: Store, outcome: Outcome, run: Run, done: Mapping[str, Done], print_: str
) -> str:
    with store.run(outcome.name, took_s(done)) as run_id:
        store.mlflow.set_tags({MEMBER: print_, "variant": outcome.name})
        store.mlflow.set_tag("sets", outcome.variant.words[:MAX_TAG_CHARS])
        if outcome.state == FAILED:
            store.mlflow.set_tag(NOTE, f"**Failed:** {outcome.failure}"[:MAX_TAG_CHARS])
        log(store.mlflow, read_graph(run.root), run, done)
    return run_id


def _metrics(table: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """The numbers of the table as ``figure/variant``, so that a figure is one group."""
    return [
        (f"{key}/{row['variant']}", float(value))
        for row in table
        for key, value in row.items()
        if isinstance(value, int | float)
    ]


def _overlaps(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The overlap of each two variants, once."""
    cells = comparison.overlap(outcomes)
    return {
        f"overlap/{a.name} {b.name}": cells[i][j]
        for i, a in enumerate(outcomes)
        for j, b in enumerate(outcomes)
        if i < j and a.ids and b.ids
    }


def _view(store: Store, outcomes: Sequence[Outcome], print_: str) -> str:
    """Preset MLflow's table of runs to these variants and what tells them apart; its address."""
    keys = dict.fromkeys(key for outcome in outcomes for key in outcome.variant.changes)
    figures = dict.fromkeys(name for outcome in outcomes for name in outcome.figures)
    columns = [
        "tags.`sets`",
        *(f"metrics.`{SPACE}/{name}`" for name in figures),
        *(f"metrics.`p_random/{name}`" for name in figures),
        *(f"metrics.`{name}`" for name in BILL),
        *(f"params.`{key}`" for key in keys),
    ][:MAX_COLUMNS]
    state = {
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", "runDateAndNestInfo", *columns],
        "columnWidths": {column: WIDTHS[column.partition(".")[0]] for column in columns},
        "searchFilter": f"tags.`{MEMBER}` = '{print_}'",
        "orderByKey": f"metrics.`{SPACE}/coverage_mean`",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
    }
    store.tag_experiment(f"{VIEW}{print_}", json.dumps(state))
    return _address(store, print_)


def _address(store: Store, print_: str) -> str:
    return f"#/experiments/{store.experiment_id}/runs?viewStateShareKey={print_}"
