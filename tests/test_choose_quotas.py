"""Quotas of a selection: met exactly, or refused with the numbers."""

import json
import logging
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.choose.order import by_coverage, by_ranks
from tasks.lib.core.errors import ParamError
from tasks.lib.core.schemas import POOL
from tasks.lib.coverage.parse_quotas import Spread, load_quotas, make_quotas
from tasks.lib.coverage.quotas import Quota, UnmetQuotaError
from tests.behaviours import fails, honest
from tests.fake_provider import FakeProvider
from tests.selection_desk import SIZE, Desk, mixed_record, text_of
from tests.test_choose import POOLS, judged

KINDS = ("qa", "essay", "code")


def parse(quotas):
    return load_quotas({"choose": {"objective": "coverage", "judge_weight": 1, "quotas": quotas}})


def counts(quotas, labels, *sizes):
    """Return the counts by value of the only column, at the last size."""
    rows = np.arange(len(labels))
    (quota,) = make_quotas(parse({"kind": quotas}), {"kind": labels}, rows, sizes)
    return dict(zip(quota.values, quota.quota.at_end().counts.tolist(), strict=True))


# From parameters to counts


def test_shares_become_counts_by_the_largest_remainder():
    labels = ["a", "b", "c", None]
    assert counts({"a": 0.5, "b": 0.3, "c": 0.2}, labels, 9) == {"a": 4, "b": 3, "c": 2, None: 0}
    assert counts({"a": 0.25, "b": 0.25}, labels, 9) == {"a": 2, "b": 2, None: 5}


def test_the_remaining_count_is_for_all_other_values():
    assert counts({"a": 2, "b": 0.5}, ["a", "b", "c"], 10) == {"a": 2, "b": 5, None: 3}


def test_equal_divides_among_all_values_and_as_pool_keeps_the_shares_of_the_pool():
    labels = ["a"] * 6 + ["b"] * 2 + ["c"] * 1 + [None]
    assert counts("equal", labels, 7) == {"a": 3, "b": 2, "c": 2, None: 0}
    assert counts("as_pool", labels, 10) == {"a": 6, "b": 2, "c": 1, None: 1}


def test_values_are_compared_as_text_whatever_their_type_in_the_pool():
    assert counts({3: 1, True: 1}, [3, "3", True, "x"], 2) == {"3": 1, "true": 1, None: 0}


@given(
    shares=st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(sum),
    n=st.integers(0, 500),
)
def test_counts_of_shares_sum_to_n_and_are_within_one_of_the_exact_share(shares, n):
    total = sum(shares)
    labels = [str(i) for i, share in enumerate(shares) for _ in range(share)]
    found = counts("as_pool", labels, n)
    assert sum(found.values()) == n
    for value, share in enumerate(shares):
        assert abs(found.get(str(value), 0) - Fraction(share * n, total)) < 1


@pytest.mark.parametrize(
    ("quotas", "words"),
    [
        ("equal", "expected a mapping of columns to quotas"),
        ({"kind": "even"}, "kind: expected equal, as_pool, or counts or shares by value"),
        ({"kind": {}}, "kind: expected equal"),
        ({"kind": {"qa": -1}}, "kind: qa: expected a count"),
        ({"kind": {"qa": 1.5}}, "kind: qa: expected a count"),
        ({"kind": {"qa": True}}, "kind: qa: expected a count"),
        ({"kind": {"qa": "half"}}, "kind: qa: expected a count"),
    ],
)
def test_an_invalid_quota_is_refused(quotas, words):
    with pytest.raises(ParamError, match=words):
        parse(quotas)


def test_counts_that_exceed_the_budget_are_refused():
    with pytest.raises(ParamError, match=r"quotas.kind asks for 13 records, but .*budget is 10"):
        counts({"a": 8, "b": 0.5}, ["a", "b"], 10)


# The order

ORDERS = {
    "coverage": lambda records, n, quotas: by_coverage(records, n, 1.0, 0, quotas),
    "ranks": lambda records, n, quotas: by_ranks(records, n, 0, quotas),
}
each_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@pytest.mark.slow
@each_order
@given(records=POOLS, seed=st.integers(0, 99))
def test_quotas_of_two_columns_are_met_exactly_if_possible(order, records, seed):
    rng = np.random.default_rng(seed)
    c = len(records.rows)
    columns = [rng.integers(0, k, c) for k in (3, 2)]
    n = int(rng.integers(1, c + 1))
    some = rng.permutation(c)[:n]  # so that at least one selection meets the quotas
    quotas = [Quota(labels, np.bincount(labels[some], minlength=3)) for labels in columns]
    rows = order(records, n, quotas).rows
    place = {row: i for i, row in enumerate(records.rows.tolist())}
    chosen = [place[row] for row in rows.tolist()]
    assert len(set(chosen)) == n
    for labels, wanted in quotas:
        assert np.bincount(labels[chosen], minlength=3).tolist() == wanted.tolist()


@each_order
def test_quotas_take_records_outside_the_shortlists_only_as_needed(order):
    records = judged(48, 8)
    labels = (records.scores == 0).astype(np.intp)
    chosen = order(records, 10, [Quota(labels, np.array([7, 3]))]).rows
    score_of = dict(zip(records.rows.tolist(), records.scores.tolist(), strict=True))
    assert sum(score_of[row] == 0 for row in chosen.tolist()) == 3


@each_order
def test_quotas_that_exclude_each_other_are_refused(order):
    records = judged(12, 4)
    labels = np.arange(12) % 2
    quotas = [Quota(labels, np.array([6, 0])), Quota(labels, np.array([0, 6]))]
    with pytest.raises(UnmetQuotaError) as caught:
        order(records, 6, quotas)
    assert (caught.value.shortages, caught.value.n_most) == ([], 0)


# The step


@pytest.fixture
def desk(tmp_path, monkeypatch, caplog, warm_client):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    extras = [{"kind": KINDS[i % 2 if i < 30 else 2], "level": i % 4} for i in range(40)]
    records = [mixed_record(i) | {"extra": json.dumps(extra)} for i, extra in enumerate(extras)]
    return Desk(tmp_path, records, SIZE, 12, caplog)


def count(selected, column):
    return Counter(json.loads(row["extra"])[column] for row in selected)


@pytest.mark.parametrize("objective", ["coverage", "ranks"])
def test_quotas_of_several_columns_are_met_and_shown_in_the_receipt(desk, objective):
    desk.run()
    quotas = {"kind": {"code": 5, "qa": 0.25}, "level": "equal", "source": {"pool.jsonl": 12}}
    selected = desk.choose(objective=objective, quotas=quotas)
    assert count(selected, "kind") == {"code": 5, "qa": 3, "essay": 4}
    assert count(selected, "level") == {0: 3, 1: 3, 2: 3, 3: 3}
    choice = json.loads((desk.root / "data/choose/choice.json").read_text())
    of = {(q["column"], q["value"]): q for q in choice["quotas"]}
    assert of["kind", "code"]["n_wanted"] == of["kind", "code"]["n_selected"] == 5
    assert (of["kind", None]["n_selected"], of["kind", "code"]["n_candidates"]) == (4, 10)
    for row, receipt in zip(selected, desk.receipts(), strict=True):
        cells = json.loads(row["extra"])
        assert receipt["counts_for"] == {
            "kind": cells["kind"],
            "level": str(cells["level"]),
            "source": "pool.jsonl",
        }


@pytest.mark.parametrize(
    ("quotas", "words"),
    [
        ({"kinds": "equal"}, r"quotas.kinds: no record has the column kinds; did you mean kind\?"),
        ({"kind": {"code": 11}}, r"kind code needs 11 records, but there are 10 \(1 too few\)"),
        ({"kind": {"cod": 1}}, r"kind cod needs 1 .* are 0 .*did you mean code\?"),
        ({"kind": {"code": 1, "qa": 0, "essay": 0}}, "of any other value needs 11 .* are 0"),
        (
            {"kind": {"code": 10}, "level": {0: 8}},
            r"each quota can be met alone, but together they leave room for only \d+ of 12",
        ),
    ],
)
def test_quotas_that_cannot_be_met_are_refused_before_a_call_is_paid(desk, quotas, words):
    with FakeProvider() as provider:
        desk.update(choose={"quotas": quotas})
        done = desk.run(provider.deployment())
        assert not provider.calls
    assert done.exit_code == 2
    assert re.search(words, done.said)


def test_a_quota_with_too_few_records_left_by_the_judge_is_refused_with_the_numbers(desk):
    def behave(call):
        sees = any("topic 35 " in text for text in call.block.texts)
        return (fails(400, "blocked by the content policy") if sees else honest)(call)

    with FakeProvider(behave) as provider:
        desk.run(provider.deployment())
    assert any("topic 35 " in text_of(desk, i) for i in desk.records)
    with pytest.raises(ParamError, match="kind code needs 10 records, but there are 9"):
        desk.choose(quotas={"kind": {"code": 10}})


def test_a_record_of_a_shortlist_is_preferred_if_the_quotas_leave_a_choice(desk):
    desk.run()
    selected = desk.choose(5, quotas={"kind": {"code": 2}})
    assert all(row["score"] > 0 for row in selected)


# Several budgets


@pytest.mark.slow
@each_order
@settings(max_examples=40, deadline=None)
@given(records=POOLS, seed=st.integers(0, 99))
def test_quotas_are_met_exactly_at_each_size(order, records, seed):
    rng = np.random.default_rng(seed)
    c = len(records.rows)
    sizes = np.unique(rng.integers(1, c + 1, 3))
    columns = [rng.integers(0, k, c) for k in (3, 2)]
    some = rng.permutation(c)
    quotas = [
        Quota(labels, np.array([np.bincount(labels[some[:n]], minlength=3) for n in sizes]))
        for labels in columns
    ]
    place = {row: i for i, row in enumerate(records.rows.tolist())}
    chosen = [place[row] for row in order(records, int(sizes[-1]), quotas).rows.tolist()]
    for labels, wanted in quotas:
        for n, at_n in zip(sizes, wanted, strict=True):
            assert np.bincount(labels[chosen[:n]], minlength=3).tolist() == at_n.tolist()


@given(
    shares=st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(sum),
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_a_smaller_budget_has_nearly_the_same_shares_and_never_more_records(shares, sizes):
    labels = [str(i) for i, share in enumerate(shares) for _ in range(share)]
    parts = {str(i): share / sum(shares) for i, share in enumerate(shares)}
    (quota,) = make_quotas({"kind": Spread.AS_POOL}, {"kind": labels}, np.arange(1), sizes)
    assert quota.quota.counts.sum(axis=1).tolist() == sizes
    assert (np.diff(quota.quota.counts, axis=0) >= 0).all()
    exact = np.array([[n * parts.get(value, 0) for value in quota.values] for n in sizes])
    assert np.abs(quota.quota.counts - exact).max() < 1 + 1e-9


def test_each_budget_meets_the_quotas_and_choice_json_has_its_counts(desk):
    desk.run()
    selected = desk.choose([6, 12], quotas={"kind": {"code": 4}, "level": "equal"})
    assert count(selected[:6], "kind")["code"] == 2
    assert count(selected, "kind")["code"] == 4
    assert sorted(count(selected[:6], "level").values()) == [1, 1, 2, 2]
    assert set(count(selected, "level").values()) == {3}
    choice = json.loads((desk.root / "data/choose/choice.json").read_text())
    at = {(q["budget"], q["value"]): (q["n_wanted"], q["n_selected"]) for q in choice["quotas"]}
    assert (at[6, "code"], at[12, "code"]) == ((2, 2), (4, 4))


def test_columns_that_exclude_each_other_at_a_smaller_budget_are_met_at_the_largest(desk, caplog):
    rows = [
        row | {"extra": json.dumps({"kind": "ab"[i % 2], "level": i % 2})}
        for i, row in enumerate(desk.records.values())
    ]
    desk.write("ingest/pool.parquet", rows, POOL)
    desk.run()
    selected = desk.choose([1, 2], quotas={"kind": {"a": 1}, "level": {"1": 1}})
    assert count(selected, "kind") == {"a": 1, "b": 1}
    assert re.search(
        r"they apply to the largest budget only: .* has \d instead of \d records at 1", caplog.text
    )
