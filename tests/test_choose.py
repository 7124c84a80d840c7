"""The choose step: exactly N of the judged records, by coverage or by ranks; budgets nest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from tasks.choose.order import JudgedRecords, by_coverage, by_ranks
from tasks.choose.params import check
from tasks.cluster.step import work as cluster
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import BALLOTS, POOL
from tasks.lib.core.stage import Stage
from tasks.lib.coverage.greedy import greedy, judge_unit
from tasks.lib.prompts.share_budget import prompt_order
from tests.behaviours import fails, honest
from tests.fake_provider import FakeProvider
from tests.selection_desk import text_of
from tests.test_grouping import literal_turns

SHORTLIST = 3


def judged(n, size, seed=0, n_judged=None):
    """Return records in prompts of a size, ranked at random, with their vectors."""
    rng = np.random.default_rng(seed)
    n_prompts = -(-n // size)
    prompts = np.sort(np.arange(n) % n_prompts).astype(np.int32) + 1
    sizes = np.bincount(prompts)[1:]
    ranks = np.concatenate([rng.permutation(k) + 1.0 for k in sizes])
    scores = np.maximum(0, 1 - (ranks - 1) / SHORTLIST)
    ranks[ranks > SHORTLIST] = np.inf
    vectors = rng.normal(size=(n, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    is_judged = prompts <= (n_judged or n_prompts)
    rows = rng.permutation(n)
    parts = (rows, prompts, ranks, scores)
    weights, annotated = np.ones(n), np.empty(0, np.intp)
    return JudgedRecords(*(part[is_judged] for part in parts), sizes, vectors, weights, annotated)


POOLS = st.builds(judged, st.integers(1, 40), st.integers(1, 9), st.integers(0, 9))
ORDERS = {
    "coverage": lambda records, n: by_coverage(records, n, 1.0, 0),
    "ranks": lambda records, n: by_ranks(records, n, 0),
}
each_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@pytest.mark.slow
@each_order
@settings(max_examples=25)
@given(records=POOLS, data=st.data())
def test_any_number_of_judged_records_can_be_selected_and_budgets_nest(order, records, data):
    whole = order(records, len(records.rows))
    assert sorted(whole.rows) == sorted(records.rows)
    assert (whole.gains >= 0).all()
    for n in (0, data.draw(st.integers(0, len(records.rows))), len(records.rows) - 1):
        part = order(records, n)
        assert part.rows.tolist() == whole.rows[:n].tolist()
        np.testing.assert_allclose(part.gains, whole.gains[:n], atol=1e-6)


@pytest.mark.slow
@given(records=POOLS)
def test_the_shortlists_are_selected_before_any_other_record(records):
    listed = set(records.rows[records.scores > 0].tolist())
    whole = by_coverage(records, len(records.rows), 1.0, 0).rows.tolist()
    assert set(whole[: len(listed)]) == listed


def all_ranked(records):
    """Return the same records, all of them ranked, as the offline judge does."""
    ranks = records.ranks.copy()
    for prompt in np.unique(records.prompts):
        is_open = (records.prompts == prompt) & np.isinf(ranks)
        ranks[is_open] = SHORTLIST + 1.0 + np.arange(is_open.sum())
    return records._replace(ranks=ranks)


@pytest.mark.slow
@settings(max_examples=10)
@given(size=st.integers(2, 9), seed=st.integers(0, 9), weight=st.sampled_from([0.0, 1.0, 50.0]))
def test_each_round_selects_from_the_next_ranks_and_depends_only_on_those_before(
    size, seed, weight
):
    records = all_ranked(judged(5 * size, size, seed))
    rank_of = dict(zip(records.rows.tolist(), records.ranks.tolist(), strict=True))
    whole = by_coverage(records, 5 * size, weight, 0).rows.tolist()
    for i in range(1, size + 1):
        assert max(rank_of[row] for row in whole[: 5 * i]) <= i * SHORTLIST
        assert by_coverage(records, 5 * i - 1, weight, 0).rows.tolist() == whole[: 5 * i - 1]


def test_in_round_2_the_bonus_is_measured_again_and_halved():
    records = all_ranked(judged(400, 8))
    rows = by_coverage(records, 100, 3.0, 0).rows
    is_open = (records.ranks <= 2 * SHORTLIST) & ~np.isin(records.rows, rows[:50])
    bonus = records.scores[is_open] * 3.0 * judge_unit(records.vectors, 100) / 2
    again = greedy(records.vectors, records.rows[is_open], 50, bonus=bonus, annotated=rows[:50])
    assert rows[50:].tolist() == again.rows.tolist()


def test_a_record_beyond_the_shortlists_is_valued_by_what_it_adds_to_them():
    records = judged(40, 8)
    whole = by_coverage(records, 40, 1.0, 0)
    n_listed = int((records.scores > 0).sum())
    best = np.maximum(records.vectors @ records.vectors[whole.rows[:n_listed]].T, 0).max(axis=1)
    added = np.maximum(records.vectors @ records.vectors[whole.rows[n_listed]] - best, 0)
    assert whole.gains[n_listed] == pytest.approx(added.mean(), abs=1e-6)


def test_the_gains_of_both_orders_sum_to_the_mean_coverage():
    records = judged(50, 5)
    for order in ORDERS.values():
        cover = order(records, 20)
        cosines = np.maximum(records.vectors @ records.vectors[cover.rows].T, 0)
        assert cover.gains.sum() == pytest.approx(cosines.max(axis=1).mean(), abs=1e-5)


def test_a_greater_weight_of_the_judge_selects_records_with_higher_scores():
    records = judged(400, 8)
    score_of = dict(zip(records.rows.tolist(), records.scores.tolist(), strict=True))
    means = [
        np.mean([score_of[row] for row in by_coverage(records, 40, weight, 0).rows.tolist()])
        for weight in (0.0, 1.0, 1000.0)
    ]
    assert means[0] < means[1] < means[2] == 1


@given(records=POOLS, seed=st.integers(0, 9))
def test_by_ranks_every_prompt_gives_one_record_before_any_gives_two(records, seed):
    place = np.argsort(prompt_order(records.sizes, seed))
    facts = {
        row: (rank, place[prompt - 1])
        for row, rank, prompt in zip(
            records.rows.tolist(), records.ranks.tolist(), records.prompts.tolist(), strict=True
        )
    }
    chosen = [facts[row] for row in by_ranks(records, len(records.rows), seed).rows.tolist()]
    assert chosen == sorted(chosen)


def test_prompts_that_were_not_judged_do_not_change_the_order_of_the_others():
    whole, part = judged(60, 6), judged(60, 6, n_judged=7)
    judged_rows = set(part.rows.tolist())
    expected = [row for row in by_ranks(whole, 60, 0).rows.tolist() if row in judged_rows]
    assert by_ranks(part, len(judged_rows), 0).rows.tolist() == expected


# The step


def test_every_selected_record_can_be_traced_back_to_its_ballots(desk):
    with FakeProvider() as provider:
        assert desk.run(provider.deployment()).exit_code == 0
    selected, receipts = desk.choose(), desk.receipts()
    ballots = {row["id"]: row for row in desk.ballots()}
    judgements = {judgement["prompt"]: judgement for judgement in desk.judgements()}
    assert len({row["id"] for row in selected}) == len(receipts) == 12
    for place, (row, receipt) in enumerate(zip(selected, receipts, strict=True), 1):
        judgement = judgements[row["prompt"]]
        ballot = ballots[row["id"]]
        assert {name: row[name] for name in POOL.names} == desk.records[row["id"]]
        for name in BALLOTS.names:
            assert name == "set_aside" or row[name] == ballot[name]
        assert (row["route"], row["model"], row["method"]) == ("mine", "openai/fake", "llm")
        assert (receipt["place"], receipt["id"]) == (place, row["id"])
        assert receipt["rivals"] == [i for i in judgement["ids"] if i != row["id"]]
        for name in ("slot", "rank", "score", "votes", "gain", "prompt", "route", "model"):
            assert receipt[name] == row[name]
        assert receipt["ballots"] == judgement["ballots"]
        assert receipt["answers"] == judgement["answers"]


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes_and_a_smaller_budget_a_prefix(desk):
    desk.run()
    whole = desk.choose([3, 12])
    files = [desk.root / "data/choose" / name for name in ("selected.parquet", "receipt.jsonl")]
    before = [file.read_bytes() for file in files]
    assert desk.choose([3, 12]) == whole
    assert [file.read_bytes() for file in files] == before
    assert desk.choose(3) == whole[:3]


@pytest.mark.parametrize("objective", ["coverage", "ranks"])
def test_a_record_that_was_set_aside_is_never_selected(desk, objective):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return (fails(400, "blocked by the content policy") if sees else honest)(call)

    with FakeProvider(behave) as provider:
        desk.run(provider.deployment())
    (blocked,) = [i for i in desk.records if "topic 11 " in text_of(desk, i)]
    selected = desk.choose(39, objective=objective)
    assert len(selected) == 39
    assert blocked not in {row["id"] for row in selected}
    assert {tuple(r["set_aside"].items()) for r in desk.receipts()} == {
        (),
        ((blocked, "content_filter"),),
    }
    with pytest.raises(ParamError, match=r"budget is 40, but only 39 records .* set 1 aside"):
        desk.choose(40, objective=objective)


def test_by_ranks_the_first_ranks_of_all_prompts_come_first(desk):
    desk.run()
    selected = desk.choose(12, objective="ranks")
    assert [row["rank"] for row in selected] == [1] * 5 + [2] * 5 + [3] * 2


def literal_paper(desk, k, n):
    """Return the ids that Algorithm 1 selects from the queries of Algorithm 2, query by query."""
    vectors = np.load(desk.root / "data/embed/vectors.npy")
    r = len(vectors) // k
    centres = KMeans(r, n_init=1, random_state=0).fit(vectors).cluster_centers_
    turns = literal_turns(vectors.astype(np.float64), centres.astype(np.float64))
    ids = list(desk.records)
    queries = [[ids[row] for row in turns[p * r : (p + 1) * r]] for p in range(k)]
    return [sorted(query, key=lambda i: text_of(desk, i))[: n // k] for query in queries]


def test_paper_mode_selects_exactly_what_algorithms_1_and_2_select(desk):
    k = 5
    grouping = {"mode": "paper", "n_prompts": k, "candidates_per_prompt": None}
    desk.update(cluster=grouping, seed=0)
    Stage("cluster", desk.root).run(cluster)
    for n_each in (1, 2):
        with FakeProvider() as provider:  # it picks the first texts of the alphabet
            budget = {"budget": n_each * k, "shortlist": 1}
            assert desk.run(provider.deployment(), **budget).exit_code == 0
            assert [call.block.n_picks for call in provider.calls] == [n_each] * k
        selected = desk.choose(n_each * k, objective="ranks")
        expected = literal_paper(desk, k, n_each * k)
        for rank in range(n_each):
            ids = {row["id"] for row in selected[rank * k : (rank + 1) * k]}
            assert ids == {query[rank] for query in expected}


def test_a_ballot_for_a_record_of_another_pool_is_reported(desk):
    desk.run()
    rows = desk.ballots()
    desk.write("llm_select/ballots.parquet", [rows[0] | {"id": "f" * 16}, *rows[1:]], BALLOTS)
    with pytest.raises(
        DataError, match="record ffffffffffffffff does not appear in any prompt of this run"
    ):
        desk.choose()
    assert not (desk.root / "data/choose/selected.parquet").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("objective", "cover"), ("judge_weight", -1), ("judge_weight", "much"), ("jugde_weight", 1)],
)
def test_a_wrong_parameter_is_named(key, value):
    section = {"objective": "coverage", "judge_weight": 1.0, "quotas": {}} | {key: value}
    section |= {"annotated": "data/none.jsonl", "targets": "data/none.jsonl", "weight_column": None}
    with pytest.raises(ParamError, match=f"choose.{key}"):
        check({"seed": 0, "llm_select": {"budget": 3}, "choose": section})
