"""Annotated records, targets and weights: how they steer the selection."""

import json
import logging
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.choose.order import by_coverage, by_ranks
from tasks.choose.targets import Targets
from tasks.lib.core.errors import ParamError
from tasks.lib.core.schemas import KNOWN, POOL
from tests.fake_provider import FakeProvider
from tests.pools import unit_vectors
from tests.selection_desk import SIZE, Desk, mixed_record
from tests.test_choose import judged


@pytest.fixture
def desk(tmp_path, monkeypatch, caplog, warm_client):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    weights = [{"worth": i % 3} for i in range(40)]
    records = [mixed_record(i) | {"extra": json.dumps(w)} for i, w in enumerate(weights)]
    return Desk(tmp_path, records, SIZE, 12, caplog)


def vectors_of(desk):
    return np.load(desk.root / "data/embed/vectors.npy")


def annotate(desk, n):
    """Mark the first n unique records as annotated; return their ids."""
    ids = list(desk.records)[:n]
    known = [{"id": id_, "of_id": id_, "similarity": 1.0} for id_ in ids]
    desk.write("dedupe/known.parquet", known, KNOWN)
    np.save(desk.file("embed/annotated.npy"), vectors_of(desk)[:n])
    return set(ids)


def choice(desk):
    return json.loads((desk.root / "data/choose/choice.json").read_text())


# Annotated records


@pytest.mark.parametrize("objective", ["coverage", "ranks"])
def test_exactly_n_records_are_selected_and_none_of_them_is_annotated(desk, objective):
    desk.run()
    ids = annotate(desk, 20)
    selected = desk.choose(20, objective=objective)
    assert len(selected) == 20
    assert not ids & {row["id"] for row in selected}
    assert (choice(desk)["n_annotated"], choice(desk)["n_known"]) == (20, 20)


def test_annotated_records_count_as_selected_from_the_start(desk):
    desk.run()
    plain = desk.choose(10, judge_weight=0.0)
    first = plain[0]["id"]
    row = list(desk.records).index(first)
    np.save(desk.file("embed/annotated.npy"), vectors_of(desk)[[row]])  # not marked as known
    covered = desk.choose(10, judge_weight=0.0)
    assert first not in {row["id"] for row in covered[:5]}
    assert [row["id"] for row in covered[:3]] == [row["id"] for row in plain[1:4]]


@pytest.mark.slow
@given(seed=st.integers(0, 999), n_annotated=st.integers(0, 8))
def test_the_gains_of_both_orders_are_the_increase_over_the_annotated_records(seed, n_annotated):
    records = judged(40, 8, seed)
    annotated = unit_vectors(n_annotated, seed, 6) if n_annotated else records.vectors[:0]
    weights = np.random.default_rng(seed).random(40)
    records = records._replace(
        vectors=np.concatenate([records.vectors, annotated]),
        weights=np.concatenate([weights, np.zeros(n_annotated)]),
        annotated=np.arange(40, 40 + n_annotated),
    )

    def value(rows):
        near = np.maximum(records.vectors[:40] @ records.vectors[rows].T, 0)
        return near.max(axis=1, initial=0) @ weights / weights.sum()

    for cover in (by_coverage(records, 12, 1.0, 0), by_ranks(records, 12, 0)):
        before, after = (value([*rows, *records.annotated]) for rows in ([], cover.rows))
        assert cover.gains.sum() == pytest.approx(after - before, abs=1e-5)


def test_a_budget_above_the_records_not_annotated_is_refused_before_a_call_is_paid(desk):
    annotate(desk, 30)
    with FakeProvider() as provider:
        done = desk.run(provider.deployment())
        assert not provider.calls
    assert (
        "only 10 records to select from: 30 of 40 repeat records in choose.annotated" in done.said
    )


# Targets


def save_targets(desk, vectors):
    np.save(desk.file("embed/targets.npy"), vectors.astype(np.float32))


def test_half_of_the_targets_steer_and_the_other_half_evaluate(desk):
    desk.run()
    listed = next(row["id"] for row in desk.ballots() if row["rank"] == 1)
    at = list(desk.records).index(listed)
    near = vectors_of(desk)[at] + 0.05 * np.random.default_rng(1).normal(size=(9, 16))
    save_targets(desk, near / np.linalg.norm(near, axis=1, keepdims=True))
    assert desk.choose(4, judge_weight=0.0)[0]["id"] == listed
    figure = choice(desk)["targets"]
    assert (figure["n_steering"], figure["n_held_out"], figure["n_random"]) == (5, 4, 20)
    assert figure["cosine"] > figure["random_cosine"]
    assert figure["n_random_below"] > 10  # the others drew the same record
    assert "held-out targets is" in desk.caplog.text


def test_the_split_depends_only_on_the_seed_and_loses_no_target():
    targets = unit_vectors(11)
    a, b, other = (Targets.split(targets, seed) for seed in (0, 0, 1))
    assert np.array_equal(a.steering, b.steering)
    assert not np.array_equal(a.steering, other.steering)
    both = np.concatenate([a.steering, a.held_out])
    assert sorted(map(tuple, both)) == sorted(map(tuple, targets))


def test_without_targets_the_choice_has_no_comparison(desk):
    desk.run()
    desk.choose()
    assert choice(desk)["targets"] is None


def test_targets_that_resemble_no_record_are_refused(desk):
    desk.run()
    line = np.zeros((40, 16), np.float32)
    line[:, 0] = 1
    np.save(desk.file("embed/vectors.npy"), line)
    save_targets(desk, -line[:4])
    with pytest.raises(
        ParamError, match="no record with a positive weight is similar to any target"
    ):
        desk.choose()


# Weights


def test_a_record_without_weight_is_not_worth_covering(desk):
    desk.run()
    selected = desk.choose(1, judge_weight=0.0, weight_column="worth")
    worth = np.array([i % 3 for i in range(40)])
    listed = {row["id"] for row in desk.ballots() if row["score"] > 0}
    near = np.maximum(vectors_of(desk) @ vectors_of(desk).T, 0) @ worth
    ids = list(desk.records)
    best = max((i for i in range(40) if ids[i] in listed), key=lambda i: near[i])
    assert selected[0]["id"] == ids[best]
    assert selected[0]["gain"] == pytest.approx(near[best] / worth.sum(), abs=1e-5)


CELLS = [
    {"worth": 1, "negative": -(i == 3), "text": "high", "flag": True, "nothing": 0}
    | ({"missing": 1} if i == 5 else {})
    for i in range(40)
]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("wroth", r"no record has the column wroth; did you mean worth\?"),
        ("negative", r"1 of 40 records have none; .* with -1"),
        ("missing", r"39 of 40 records have none; .* with no value"),
        ("text", r"40 of 40 records have none; .* with high"),
        ("flag", r"40 of 40 records have none; .* with true"),
        ("nothing", "all weights are 0"),
    ],
)
def test_a_column_without_weights_is_refused_before_a_call_is_paid(desk, column, words):
    rows = [
        row | {"extra": json.dumps(c)} for row, c in zip(desk.records.values(), CELLS, strict=True)
    ]
    desk.write("ingest/pool.parquet", rows, POOL)
    desk.update(choose={"weight_column": column})
    with FakeProvider() as provider:
        done = desk.run(provider.deployment())
        assert not provider.calls
    assert done.exit_code == 2
    assert re.search(words, done.said)
