import itertools
import json
import logging
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.baseline import Baseline, baseline, check, work
from tasks.choosers import by_text, by_vector, density, in_prompts
from tasks.choosers.by_score import Score
from tasks.choosers.menu import AT_RANDOM, IN_PROMPTS, SCORED, Method, Pool, choices, too_much
from tasks.core.errors import DataError, ParamError
from tasks.core.params import read_params
from tasks.core.schemas import POOL, PROMPTS, SELECTIONS, UNIQUE
from tasks.core.stage import Stage
from tasks.core.tables import read_table, write_table
from tasks.grouping.compose import Mode
from tasks.llm import local
from tasks.llm.rubric import choose
from tasks.responses.model import LIKELIEST, ResponseModel
from tasks.responses.scores import STORE
from tasks.responses.store import Response, ResponseStore

ROOT = Path(__file__).parents[1]
SECTION = {
    "methods": [method.value for method in Method if method not in SCORED],
    "n_seeds": 3,
    "response_tokens": 8,
    "route": "offline",
    "max_usd": 5.0,
    "max_answer_tokens": 64,
}
OFFLINE = {"offline": {"model": "offline/rubric", "schema": "never"}}


def unit_vectors(n, seed=0, d=6):
    vectors = np.random.default_rng(seed).standard_normal((n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def pool_of(vectors, texts=None, modes=(Mode.WITHIN,), size=4):
    texts = texts or [f"Say {i} words about number {i}." for i in range(len(vectors))]
    prompts = {mode: in_prompts.regroup(vectors, texts, size, mode, 0) for mode in modes}
    scores = {score: np.random.default_rng(1).integers(9, size=len(vectors)) / 3 for score in Score}
    return Pool(texts, vectors, prompts, scores)


# All methods


@pytest.mark.parametrize("method", Method)
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_each_choice_is_as_many_distinct_records_as_the_budget(method, data):
    n = data.draw(st.integers(1, 30))
    budget = data.draw(st.integers(1, n))
    n_distinct = data.draw(st.integers(1, n))  # equal vectors are where a method may run short
    modes = (Mode.WITHIN,) if method in IN_PROMPTS else ()  # they take most of the time
    pool = pool_of(unit_vectors(n)[np.arange(n) % n_distinct], modes=modes)
    found = list(choices(method, pool, budget, seed=1, n_seeds=2))
    assert len(found) == (2 if method in AT_RANDOM else 1)
    for choice in found:
        assert len(choice.rows) == len(set(choice.rows.tolist())) == budget
        assert set(choice.rows.tolist()) <= set(range(n))


@pytest.mark.parametrize("method", sorted(set(Method) - {Method.FACILITY_LOCATION, Method.MEDOIDS}))
def test_the_choice_for_a_smaller_budget_is_its_beginning(method):
    pool = pool_of(unit_vectors(40))
    small, large = (
        [choice.rows for choice in choices(method, pool, budget, 0, 2)] for budget in (12, 25)
    )
    assert [rows[:12].tolist() for rows in large] == [rows.tolist() for rows in small]


@pytest.mark.parametrize("method", sorted(AT_RANDOM))
def test_chance_differs_from_seed_to_seed_and_not_from_run_to_run(method):
    pool = pool_of(unit_vectors(40))
    first, again = (list(choices(method, pool, 10, 0, 4)) for _ in range(2))
    assert [c.rows.tolist() for c in first] == [c.rows.tolist() for c in again]
    assert len({tuple(c.rows.tolist()) for c in first}) == 4
    assert [c.seed for c in first] == [0, 1, 2, 3]


def test_a_method_that_cannot_do_with_so_many_records_is_left_out():
    pool = Pool(["text"] * 100_001, np.zeros((100_001, 2), np.float32), {})
    assert list(choices(Method.CBS, pool, 5, 0, 1)) == []
    assert len(list(choices(Method.RANDOM, pool, 5, 0, 1))) == 1


# By text


def test_the_shortest_and_the_longest_are_taken_by_characters_and_ties_by_row():
    texts = ["four", "a", "twelve signs", "b", "seven c"]
    assert by_text.by_length(texts, 3, longest=False).tolist() == [1, 3, 0]
    assert by_text.by_length(texts, 3, longest=True).tolist() == [2, 4, 0]


def test_rouge_diversity_takes_first_what_is_like_nothing_else():
    texts = ["name the capital of Peru", "name the capital of Chile", "boil an egg", "write a poem"]
    texts += ["name the capital of Spain", "name a capital"]
    chosen = by_text.rouge_diversity(texts, 6, seed=0).tolist()
    # Four have a word "a" or more in common with another; only the egg shares nothing.
    assert chosen[0] == 2
    assert set(chosen[-3:]) == {0, 1, 4}


def test_rouge_diversity_reads_instructions_that_have_no_input():
    """The authors' code takes them for empty, so all of them tie and the file's order decides."""
    alike = [f"name the capital of country {i}" for i in range(20)]
    texts = [*alike, "boil one egg", "why do cats purr"]
    assert set(by_text.rouge_diversity(texts, 2, seed=0).tolist()) == {20, 21}


def test_rouge_diversity_does_not_compare_a_text_with_itself():
    texts = ["one two three", "four five six", "seven eight nine", "one two three four"]
    assert set(by_text.rouge_diversity(texts, 2, seed=0).tolist()) == {1, 2}


# By vector


def test_k_center_begins_in_the_middle_and_goes_on_with_the_farthest():
    vectors = on_circle(0, 10, 20, 30, 90)
    assert by_vector.k_center(vectors, 3).tolist() == [3, 4, 0]


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_k_center_is_at_most_twice_as_far_as_need_be(n, budget, seed):
    vectors, budget = unit_vectors(n, seed, d=3), min(n, budget)
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)

    def radius(rows):
        return far[:, list(rows)].min(axis=1).max()

    least = min(radius(rows) for rows in itertools.combinations(range(n), budget))
    assert radius(by_vector.k_center(vectors, budget)) <= 2 * least + 1e-5


@given(st.integers(4, 9), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_facility_location_is_near_the_best_there_is(n, budget, seed):
    vectors = unit_vectors(n, seed, d=3)
    cosines = np.maximum(vectors @ vectors.T, 0)

    def value(rows):
        return cosines[:, list(rows)].max(axis=1).sum()

    best = max(value(rows) for rows in itertools.combinations(range(n), budget))
    # At most 4 of so few: every record is tried, so the bound of plain greedy holds surely.
    assert value(by_vector.facility_location(vectors, budget, seed)) >= (1 - 1 / np.e) * best


def test_facility_location_prefers_the_middle_of_a_crowd_to_one_who_is_alone():
    vectors = on_circle(0, 5, 10, 15, 20, 180)
    assert by_vector.facility_location(vectors, 2, seed=0).tolist() == [2, 5]


def test_facility_location_of_a_large_pool_still_serves_all_of_it(monkeypatch):
    monkeypatch.setattr(by_vector, "MAX_GROUND", 50)
    vectors = np.repeat(on_circle(0, 90, 180, 270), 50, axis=0)
    chosen = by_vector.facility_location(vectors, 4, seed=0)
    assert sorted(chosen // 50) == [0, 1, 2, 3]


def test_medoids_are_one_of_each_crowd_the_largest_first():
    vectors = on_circle(0, 2, 4, 120, 121, 122, 123, 124, 240, 242)
    assert density.medoids(vectors, 3, seed=0).tolist()[:2] == [5, 1]
    assert density.medoids(vectors, 3, seed=0)[2] in (8, 9)


def test_cluster_based_selection_takes_noise_last():
    crowds = [on_circle(*(start + np.random.default_rng(start).random(10))) for start in (0, 90)]
    vectors = np.concatenate([*crowds, on_circle(200)])
    noise, _ = density._dense(vectors, seed=0)
    assert noise[20]
    chosen = density.cluster_based(vectors, 21, seed=0)
    assert noise[chosen].tolist() == sorted(noise.tolist())
    assert 20 in by_vector.k_center(vectors, 2)  # which k-center alone would take at once


# By score


def test_methods_by_a_score_take_the_end_that_their_name_says():
    pool = pool_of(unit_vectors(5))._replace(
        scores={
            Score.PERPLEXITY: np.array([3.0, 9.0, 1.0, np.nan, 4.0]),
            Score.OPENNESS: np.array([0.1, 0.2, np.nan, 0.9, 0.3]),
            Score.RATING: np.array([4.0, 4.5, np.nan, 3.0, 5.0]),
        }
    )
    found = {method: next(choices(method, pool, 2, 0, 1)).rows.tolist() for method in SCORED}
    assert sorted(found.pop(Method.PERPLEXITY_MID)) == [0, 4]
    assert sorted(found.pop(Method.ALPAGASUS_THRESHOLD)) == [1, 4]
    assert found == {
        Method.PERPLEXITY_LOW: [2, 0],
        Method.PERPLEXITY_HIGH: [1, 4],
        Method.OPENNESS: [3, 4],
        Method.ALPAGASUS: [4, 1],
    }


# In prompts


@pytest.mark.parametrize("method", sorted(IN_PROMPTS))
def test_each_prompt_gives_as_many_as_it_would_give_to_a_model(method):
    pool = pool_of(unit_vectors(40), size=10)
    choice = next(choices(method, pool, 10, 0, 1))
    counts = [len(set(choice.rows.tolist()) & set(p.tolist())) for p in pool.prompts[Mode.WITHIN]]
    assert sorted(counts) == [2, 2, 3, 3]
    assert choice.method == f"{method.value.split('_')[0]}_within"


def test_the_rubric_takes_the_best_of_each_prompt():
    texts = ["x", "Explain in three steps why the sky is blue.", "?", "Name 2 rivers, and say why."]
    prompts = [np.array([0, 1]), np.array([2, 3])]
    assert set(in_prompts.by_rubric(prompts, texts, 2, seed=0).tolist()) == {1, 3}
    first = in_prompts.by_rubric([np.arange(4)], texts, 4, seed=0)
    assert first.tolist() == [slot - 1 for slot in choose(texts, 4)]


@pytest.mark.parametrize("mode", [Mode.WITHIN, Mode.ACROSS])
def test_regrouping_parts_the_records(mode):
    prompts = in_prompts.regroup(unit_vectors(23), ["a"] * 23, 5, mode, seed=0)
    assert sorted(np.concatenate(prompts).tolist()) == list(range(23))
    assert sorted(map(len, prompts)) == [4, 4, 5, 5, 5]


def test_within_holds_alike_records_and_across_unlike_ones():
    vectors = np.concatenate([on_circle(*(np.arange(4) + start)) for start in (0, 90, 180, 270)])
    crowds = {
        mode: [
            len(set((p // 4).tolist()))
            for p in in_prompts.regroup(vectors, ["a"] * len(vectors), 4, mode, 0)
        ]
        for mode in (Mode.WITHIN, Mode.ACROSS)
    }
    assert crowds == {Mode.WITHIN: [1] * 4, Mode.ACROSS: [4] * 4}


# The step


@pytest.fixture
def workspace(tmp_path):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    ids = [f"{i:016x}" for i in range(24)]
    rows = [
        {"id": id_, "instruction": f"Explain {i} things.", "input": "", "output": None,
         "source": f"pool:{i}", "extra": "{}"}
        for i, id_ in enumerate(ids)
    ]  # fmt: skip
    for name in ("ingest", "dedupe", "embed", "cluster"):
        (tmp_path / "data" / name).mkdir(parents=True)
    write_table(tmp_path / "data/ingest/pool.parquet", rows, POOL)
    write_table(tmp_path / "data/dedupe/unique.parquet", [{"id": id_} for id_ in ids], UNIQUE)
    np.save(tmp_path / "data/embed/vectors.npy", unit_vectors(24))
    shown = [
        {"prompt": i // 6 + 1, "slot": i % 6 + 1, "id": id_, "cluster": i // 6 + 1}
        for i, id_ in enumerate(ids)
    ]
    write_table(tmp_path / "data/cluster/prompts.parquet", shown, PROMPTS)
    clusters = {"candidates_per_prompt": 6, "mode": "within"}
    (tmp_path / "data/cluster/clusters.json").write_text(json.dumps(clusters))
    return tmp_path


def run(workspace, budget=8, **changes):
    section = json.dumps({**SECTION, **changes})
    (workspace / "params.yaml").write_text(
        f"seed: 0\nbaseline: {section}\nllm_select: {{budget: {budget}}}\n"
        f"models: {json.dumps(OFFLINE)}\n"
    )
    Stage("baseline", workspace).run(work)
    return read_table(workspace / "data/baseline/selections.parquet", SELECTIONS)


def test_the_table_holds_every_method_seed_and_rank(workspace):
    table = run(workspace).to_pandas()
    sizes = table.groupby(["method", "seed"], sort=False)["rank"].apply(list)
    assert all(ranks == list(range(1, 9)) for ranks in sizes)
    n_seeds = sizes.groupby("method").size().to_dict()
    at_random = {"random": 3, "random_within": 3, "random_across": 3}
    once = {"shortest", "longest", "rouge_diversity", "k_center", "cbs", "facility_location"}
    once |= {"medoids", "rubric_within", "rubric_across"}
    assert n_seeds == at_random | dict.fromkeys(once, 1)


def test_outputs_are_the_same_bytes_each_time(workspace):
    def content():
        run(workspace)
        return (workspace / "data/baseline/selections.parquet").read_bytes()

    assert content() == content()


def test_the_runs_own_prompts_are_used(workspace):
    table = run(workspace, budget=4, methods=["random_in_prompts"]).to_pandas()
    rows = table[table.method == "random_within"].id.map(lambda id_: int(id_, 16) // 6)
    assert sorted(rows[:4]) == [0, 1, 2, 3]  # one of each prompt


def test_a_method_named_twice_runs_once(workspace):
    assert run(workspace, methods=["shortest", "shortest"]).num_rows == 8


@pytest.mark.skipif(find_spec(local.PACKAGES[0]) is None, reason="needs 'selectllm[local]'")
def test_methods_by_perplexity_choose_by_the_responses_that_are_kept(workspace, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    model = ResponseModel(SECTION["response_tokens"])
    with ResponseStore(workspace / ".selectllm" / STORE) as store:
        for i in range(24):  # the surer, the later
            response = Response("so", None if i == 23 else i / 10 - 9)
            store.put(model.key(f"Explain {i} things.", LIKELIEST), response)
    methods = ["perplexity_low", "perplexity_mid", "perplexity_high"]
    table = run(workspace, budget=3, methods=methods).to_pandas()
    rows = table.groupby("method").id.apply(lambda ids: [int(id_, 16) for id_ in ids]).to_dict()
    assert rows["perplexity_low"] == [22, 21, 20]
    assert rows["perplexity_high"] == [0, 1, 2]
    assert rows["perplexity_mid"][0] == 11
    assert set(rows["perplexity_mid"]) == {10, 11, 12}


def test_each_methods_time_is_told(workspace, caplog):
    with caplog.at_level(logging.INFO, "selectllm"):
        run(workspace, methods=["shortest", "k_center"])
    assert [m.split(",")[0] for m in caplog.messages] == [
        "baseline: shortest",
        "baseline: k_center",
    ]


def test_methods_come_in_the_order_of_the_params():
    params = Baseline.model_validate(SECTION | {"methods": ["longest", "random", "longest"]})
    found = baseline(pool_of(unit_vectors(5)), params, 2, 0)
    assert [method for method, _ in found] == [Method.LONGEST, Method.RANDOM]


# Faults of a user


def test_a_budget_above_the_records_is_refused(workspace):
    with pytest.raises(ParamError, match="budget is 25, and only 24 records"):
        run(workspace, budget=25)


def test_a_prompt_of_another_pool_is_refused(workspace):
    stranger = [{"prompt": 1, "slot": 1, "id": "f" * 16, "cluster": 1}]
    write_table(workspace / "data/cluster/prompts.parquet", stranger, PROMPTS)
    with pytest.raises(DataError, match=f"record {'f' * 16} is not among the unique"):
        run(workspace)


@pytest.mark.parametrize("vectors", [np.zeros((24, 2)), np.zeros((23, 2), np.float32)])
def test_vectors_that_do_not_fit_the_records_are_refused(workspace, vectors):
    np.save(workspace / "data/embed/vectors.npy", vectors)
    with pytest.raises(DataError, match="expected one row of float32 for each of 24"):
        run(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "baseline.methods: list should have at least 1 item"),
        ({"methods": ["randon"]}, "baseline.methods.0: input should be 'random', 'shortest'"),
        ({"n_seeds": 0}, "baseline.n_seeds: input should be greater"),
        ({"response_tokens": 129}, "baseline.response_tokens: input should be less"),
        ({"seeds": 3}, "baseline.seeds is unknown; did you mean n_seeds"),
    ],
)
def test_a_faulty_section_is_refused_by_its_key(change, message):
    with pytest.raises(ParamError, match=message):
        check({"seed": 0, "baseline": SECTION | change})


def test_a_method_that_needs_the_local_model_is_refused_at_once_where_that_is_missing(monkeypatch):
    section = SECTION | {"methods": ["random", "openness"]}
    values = {"seed": 0, "baseline": section, "models": OFFLINE}
    monkeypatch.setattr(local, "PACKAGES", ("no_such_package",))
    with pytest.raises(ParamError, match="there is no no_such_package") as told:
        check(values)
    assert told.value.where == "params.yaml: baseline.methods: openness"
    assert told.value.fix == "Run: pip install 'selectllm[local]', or leave it out."
    assert check(values | {"baseline": SECTION})


def test_the_projects_own_section_is_sound():
    assert check(read_params(ROOT / "params.yaml"))


@pytest.mark.parametrize(
    ("method", "n_records", "budget", "why"),
    [
        (Method.CBS, 85_001, 1, "above 85,000 records"),
        (Method.FACILITY_LOCATION, 250_001, 1, "above 250,000 records"),
        (Method.K_CENTER, 1_000_000, 2001, "above 2,000,000,000 records x budget"),
        (Method.MEDOIDS, 1_000_000, 501, "above 500,000,000 records x budget"),
        (Method.K_CENTER, 1_000_000, 2000, ""),
        (Method.CBS, 85_000, 85_000, ""),
        (Method.ROUGE_DIVERSITY, 10_000_000, 10_000_000, ""),
    ],
)
def test_methods_that_would_take_too_long_are_left_out_with_a_word(method, n_records, budget, why):
    assert too_much(method, n_records, budget) == why
