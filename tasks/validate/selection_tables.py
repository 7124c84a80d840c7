"""Build the tables that check reported numbers and what was selected."""

from collections import Counter

import pandas as pd
import pyarrow as pa

from tasks.lib.core.records import TEXT_COLUMNS, material, record_id
from tasks.lib.core.schemas import BALLOTS, SELECTED
from tasks.lib.pool_columns import as_label, cells_of
from tasks.lib.text.typography import comparable
from tasks.validate.artifacts import METHODS, Artifacts, Limits
from tasks.validate.judge_tables import judge_tables, places_of
from tasks.validate.near_exact import find_near_duplicates
from tasks.validate.table import Table, n_distinct, record_texts, texts

FROM_BALLOTS = tuple(name for name in BALLOTS.names if name in SELECTED.names and name != "id")


def selection_tables(artifacts: Artifacts, limits: Limits) -> dict[str, Table]:
    """Return the tables, under the names that `tasks.validate.expectations` uses."""
    return {
        "reported": _reported(artifacts),
        **judge_tables(artifacts, limits),
        "selected": _selected(artifacts),
        "texts": _texts(artifacts, limits),
        **_quotas(artifacts),
        "targets": _targets(artifacts),
        "methods": _methods(artifacts, limits),
    }


def _reported(artifacts: Artifacts) -> Table:
    """Return one row for each number that a stage reports, together with our own count."""
    clusters, usage = artifacts.clusters, artifacts.usage
    n_prompts = n_distinct(artifacts.prompts, "prompt")
    n_judged = n_distinct(artifacts.ballots, "prompt")
    rows = [
        ("n_records of clusters.json", clusters.n_records, len(artifacts.unique)),
        ("n_prompts of clusters.json", clusters.n_prompts, n_prompts),
        ("n_prompts_planned of usage.json", usage.n_prompts_planned, n_prompts),
        ("n_prompts of usage.json", usage.n_prompts, n_judged),
        ("methods of usage.json", sum(usage.methods.values()), n_judged),
    ]
    set_aside = Counter(filter(None, artifacts.ballots["set_aside"].to_pylist()))
    for reason in sorted({*usage.set_aside, *set_aside}):
        n_reported = usage.set_aside.get(reason, 0)
        rows.append((f"set_aside.{reason} of usage.json", n_reported, set_aside[reason]))
    return Table(pd.DataFrame(rows, columns=["what", "reported", "counted"]), ["what"])


def _selected(artifacts: Artifacts) -> Table:
    """Return one row for each selected record, with its row in the ballots for comparison.

    A record that was set aside counts as not judged.
    """
    names = ["id", *FROM_BALLOTS, "gain", "cluster"]
    frame = artifacts.selected.select(names).to_pandas()
    ballots = artifacts.ballots.to_pandas().drop_duplicates("id").set_index("id")
    ballots = ballots[ballots["set_aside"].isna()].fillna({"rank": 0})
    frame = frame.assign(
        **{f"ballot_{name}": frame["id"].map(ballots[name]) for name in FROM_BALLOTS},
        rank=frame["rank"].fillna(0),
        shown_cluster=frame["id"].map(places_of(artifacts)["cluster"]),
        in_pool=frame["id"].isin(set(texts(artifacts.pool, "id"))),
        recomputed_id=[record_id(*texts_of) for texts_of in record_texts(artifacts.selected)],
    )
    return Table(frame, ["id"])


def _texts(artifacts: Artifacts, limits: Limits) -> Table:
    """Return one row for each selected record, with its length and the records that it repeats."""
    ids = texts(artifacts.selected, "id")
    raw = record_texts(artifacts.selected)
    normalised = [comparable(row.instruction, material(*row[1:])) for row in raw]
    duplicates = find_near_duplicates(normalised, limits.near_threshold)
    first: dict[str, str] = {}
    same_as: list[str | None] = []
    for record, pair in zip(ids, normalised, strict=True):
        text = _joined(pair)
        same_as.append(first.get(text))
        first.setdefault(text, record)
    columns = {
        "id": ids,
        "instruction_chars": [len(instruction) for instruction, _ in normalised],
        "chars": [len(row.instruction) + len(row.input) for row in raw],
        "same_as": same_as,
        **_outside(artifacts, normalised, limits.near_threshold),
        "near_to": [d and f"{ids[d.number]} by {d.similarity:.3f}" for d in duplicates],
    }
    return Table(pd.DataFrame(columns), ["id"])


def _outside(
    artifacts: Artifacts, selected: list[tuple[str, str]], threshold: float
) -> dict[str, list[str | None]]:
    """Return the annotated or held-out record that each selected record repeats, or None.

    Args:
        artifacts: The outputs, with the annotated and held-out records.
        selected: The normalised instruction and input of each selected record.
        threshold: The minimum similarity of near-duplicates.
    """
    outside = pa.concat_tables(
        table.select(["id", *TEXT_COLUMNS]) for table in (artifacts.annotated, artifacts.held_out)
    )
    n = len(outside)
    if not n:
        return {"outside": [None] * len(selected), "near_outside": [None] * len(selected)}
    ids = texts(outside, "id")
    normalised = [comparable(row.instruction, material(*row[1:])) for row in record_texts(outside)]
    by_text = {_joined(pair): id_ for id_, pair in zip(ids, normalised, strict=True)}
    near = find_near_duplicates([*normalised, *selected], threshold)[n:]
    return {
        "outside": [by_text.get(_joined(pair)) for pair in selected],
        "near_outside": [
            f"{ids[d.number]} by {d.similarity:.3f}" if d and d.number < n else None for d in near
        ],
    }


def _joined(pair: tuple[str, str]) -> str:
    return " ".join(filter(None, pair))


def _targets(artifacts: Artifacts) -> Table:
    """Return one row for the held-out targets, if any, with their cosines to both selections."""
    figure = artifacts.choice.targets
    rows = [("held-out targets", figure.cosine, figure.random_cosine)] if figure else []
    return Table(pd.DataFrame(rows, columns=["what", "selection", "random"]), ["what"])


def _quotas(artifacts: Artifacts) -> dict[str, Table]:
    """Return one row for each value with a quota: its count, and its number of selected records.

    Selected records are counted by their own columns. Smaller budgets have their own table.
    """
    quotas = artifacts.choice.quotas
    cells = [cells_of(record) for record in artifacts.selected.to_pylist()] if quotas else []
    named = {(quota.column, quota.value) for quota in quotas}
    rows = []
    for budget, column, value, wanted in (
        (q.budget, q.column, q.value, q.n_wanted) for q in quotas
    ):
        labels = [as_label(record.get(column)) for record in cells[:budget]]
        of = [label if (column, label) in named else None for label in labels]
        rows.append((budget, column, value or "any other value", wanted, of.count(value)))
    names = ["budget", "column", "value", "wanted", "selected"]
    frame = pd.DataFrame(rows, columns=names)
    is_whole = frame["budget"] == artifacts.choice.n_selected
    keys = ["budget", "column", "value"]
    return {
        "quotas": Table(frame[is_whole], keys),
        "budget_quotas": Table(frame[~is_whole], keys),
    }


def _methods(artifacts: Artifacts, limits: Limits) -> Table:
    """Return one row for each method, with its share of selected records and the allowed share."""
    methods = texts(artifacts.selected, "method")
    columns = {
        "method": METHODS,
        "share": [methods.count(method) / max(len(methods), 1) for method in METHODS],
        "max_share": [limits.max_fallback_rate if m == "fallback" else 1.0 for m in METHODS],
    }
    return Table(pd.DataFrame(columns), ["method"])
