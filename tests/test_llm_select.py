"""The selection: it spends the budget exactly, and can be followed back to its questions."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.core.errors import CurationError, ParamError
from tasks.core.params import read_params
from tasks.core.records import record_id, record_text
from tasks.core.schemas import PICKS, POOL, PROMPTS, SELECTED
from tasks.core.stage import Stage
from tasks.core.tables import read_table, write_table
from tasks.grouping.compose import Mode, compose
from tasks.llm.rounds import Method, Verdict
from tasks.llm.rules import Round, Rules, check_budgets, plan_rounds
from tasks.llm.section import check_answer_room, read_terms
from tasks.llm_select import check, llm_select, work
from tests.conftest import PROJECT
from tests.fake_provider import FakeProvider, fails, honest, late, picks, says


async def by_number(questions):
    """A judge that likes candidates of a large number, wherever they stand."""
    verdicts = []
    for question in questions:
        order = np.argsort(-question.candidates)[: question.n_picks]
        slots = tuple(int(i) + 1 for i in order)
        verdicts.append(Verdict(slots, (Method.LLM,) * len(slots), (None,) * len(slots), (), ()))
    return verdicts


def selection(n, budget, *, size=4, mode=Mode.ACROSS, seed=0):
    n_prompts = -(-n // size)
    clusters = (np.arange(n) % (n_prompts if mode is Mode.WITHIN else size)).astype(np.int32)
    prompts = compose(clusters, size, mode, seed)
    rules = Rules((budget,), size, mode, seed)
    return asyncio.run(llm_select(prompts, clusters, rules, by_number))


SHAPES = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        st.just(n), st.integers(1, n), st.integers(1, 9), st.sampled_from([*Mode][:2])
    )
)


@settings(max_examples=150)
@given(shape=SHAPES, seed=st.integers(0, 9))
def test_a_selection_spends_the_budget_exactly_and_repeats_nobody(shape, seed):
    n, budget, size, mode = shape
    result = selection(n, budget, size=size, mode=mode, seed=seed)
    chosen = [pick.candidate for pick in result.selected]
    assert len(chosen) == len(set(chosen)) == budget
    assert set(chosen) <= set(range(n))
    assert [this.n_picks for this in result.rounds][-1] == budget
    counts = Counter(pick.question.round for pick in result.picks)
    assert [counts[this.round] for this in result.rounds] == [r.n_picks for r in result.rounds]


@settings(max_examples=100)
@given(shape=SHAPES)
def test_each_round_is_made_of_the_winners_of_the_one_before(shape):
    n, budget, size, mode = shape
    result = selection(n, budget, size=size, mode=mode)
    for before, after in pairwise(result.rounds):
        winners = {p.candidate for p in result.picks if p.question.round == before.round}
        shown = {
            int(i)
            for p in result.picks
            if p.question.round == after.round
            for i in p.question.candidates
        }
        assert shown <= winners
        assert budget < before.n_prompts == after.n_candidates == len(winners)


@settings(max_examples=60)
@given(n=st.integers(8, 60), size=st.integers(2, 9), data=st.data())
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(n, size, data):
    n_prompts = -(-n // size)
    small = data.draw(st.integers(n_prompts, n))
    large = data.draw(st.integers(small, n))
    first, second = (
        [pick.candidate for pick in selection(n, budget, size=size).selected]
        for budget in (small, large)
    )
    assert second[:small] == first


def test_the_best_comes_through_a_tournament():
    result = selection(64, 1)
    assert [this.n_prompts for this in result.rounds] == [16, 4, 1]
    assert [pick.candidate for pick in result.selected] == [63]


def test_a_tournament_ends_when_there_are_no_more_prompts_than_picks():
    rounds = plan_rounds(14_000, 1_000, Rules((37,), 14, Mode.ACROSS, 0))
    assert [(this.n_prompts, this.n_candidates, this.n_picks) for this in rounds] == [
        (1000, 14_000, 1000),
        (72, 1000, 72),
        (6, 72, 37),
    ]


def test_prompts_of_one_candidate_do_not_go_round_for_ever():
    assert len(plan_rounds(8, 8, Rules((1,), 1, Mode.ACROSS, 0))) == 4


def test_a_budget_above_the_number_of_records_says_how_many_there_are():
    with pytest.raises(ParamError, match=r"budget is 5,000, and only 1,234 records.*\n.*1234"):
        check_budgets(1234, 89, Rules((5000,), 14, Mode.ACROSS, 0))


@pytest.mark.parametrize(
    ("budget", "offered"), [(1500, "1000 or 2000"), (10, "1000"), (13_999, "13000 or 14000")]
)
def test_paper_mode_wants_a_multiple_of_the_prompts_and_offers_the_nearest(budget, offered):
    with pytest.raises(ParamError, match=f"Set it to {offered}, or cluster.mode to across"):
        check_budgets(14_000, 1_000, Rules((budget,), 14, Mode.PAPER, 0))
    check_budgets(14_000, 1_000, Rules((2_000,), 14, Mode.PAPER, 0))


@pytest.fixture
def values(monkeypatch):
    monkeypatch.chdir(PROJECT)
    return read_params(PROJECT / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("budget", 0, "llm_select.budget: expected a whole number from 1, .*, not 0"),
        ("budget", -5, "llm_select.budget: .*, not -5"),
        ("budget", "abc", "llm_select.budget: .*, not 'abc'"),
        ("budget", 1.5, "llm_select.budget: .*, not 1.5"),
        ("budget", [], "llm_select.budget: .*a list of them"),
        ("budget", [5, 0], "llm_select.budget: .*a list of them"),
        ("take", "best", "llm_select.take: "),
        ("budget", True, "llm_select.budget: .*, not True"),
        ("budegt", 5, r"llm_select.budegt is unknown; did you mean budget\?"),
        ("route", "ofline", r"models has no ofline; did you mean offline\?"),
        ("fallback_routes", ["ofline"], r"fallback_routes: models has no ofline; did you mean"),
        ("fallback_routes", "chatgpt", "llm_select.fallback_routes: .*valid list"),
        ("fallback_routes", ["chatgpt"], "chatgpt cannot stand in for offline"),
        ("prompt", "tasks/llm/selct.txt", "selct.txt: llm_select.prompt names a file"),
        ("rationale", "yes", "llm_select.rationale: "),
        ("votes", 0, "llm_select.votes: "),
        ("votes", 16, "llm_select.votes: "),
        ("canaries", -1, "llm_select.canaries: "),
        ("max_usd", -0.01, "llm_select.max_usd: "),
        ("max_usd", float("inf"), "llm_select.max_usd: "),
        ("concurrency", 0, "llm_select.concurrency: "),
        ("max_attempts", 0, "llm_select.max_attempts: "),
        ("timeout_s", 0, "llm_select.timeout_s: "),
        ("max_candidate_chars", 20, "llm_select.max_candidate_chars: "),
        ("max_answer_tokens", 5, "llm_select.max_answer_tokens: "),
    ],
)
def test_a_faulty_parameter_is_told_before_a_run(values, key, value, says):
    values["llm_select"][key] = value
    with pytest.raises(ParamError, match=says):
        check(values)


def test_a_missing_key_is_told_before_a_run(values, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    values["llm_select"]["route"] = "chatgpt"
    with pytest.raises(ParamError, match="OPENAI_API_KEY is not set"):
        check(values)


def test_checking_loads_no_llm_library():
    code = (
        "import sys; from tasks.core.params import read_params; from tasks.llm_select import check;"
        "from pathlib import Path; check(read_params(Path('params.yaml')));"
        "print([name for name in ('litellm', 'openai', 'httpx', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


N_RECORDS, SIZE = 40, 8


def record(i):
    instruction = f"Explain topic {i} to a beginner, and give {i % 5 + 2} examples."
    if i % 10 == 7:
        instruction = "asdkjh qwlekjq zxmcnb"
    input_text = f"Notes on topic {i}." if i % 3 == 0 else ""
    return {
        "id": record_id(instruction, f"{input_text}{i}"),
        "instruction": instruction,
        "input": input_text,
        "output": None,
        "source": f"pool.jsonl:{i + 1}",
        "extra": "{}",
    }


class Done(NamedTuple):
    """How a step ended, and what it said."""

    exit_code: int
    said: str


class Desk:
    """A workspace in which the prompts are ready for llm_select."""

    def __init__(self, root, caplog):
        self.root, self.caplog = root, caplog
        shutil.copytree(PROJECT / "tasks", root / "tasks")
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(PROJECT / name, root / name)
        records = [record(i) for i in range(N_RECORDS)]
        clusters = (np.arange(N_RECORDS) % SIZE).astype(np.int32)
        prompts = compose(clusters, SIZE, Mode.ACROSS, 0)
        self.write("ingest/pool.parquet", records[::-1], POOL)  # another order than the candidates'
        shown = [
            {
                "prompt": p + 1,
                "slot": s + 1,
                "id": records[i]["id"],
                "cluster": int(clusters[i]) + 1,
            }
            for p, prompt in enumerate(prompts)
            for s, i in enumerate(prompt)
        ]
        self.write("cluster/prompts.parquet", shown, PROMPTS)
        facts = {"mode": "across", "candidates_per_prompt": SIZE, "n_prompts": len(prompts)}
        (root / "data/cluster/clusters.json").write_text(json.dumps(facts))
        self.records = {r["id"]: r for r in records}
        self.prompts = [[records[i]["id"] for i in prompt] for prompt in prompts]

    def write(self, tail, rows, schema):
        path = self.root / "data" / tail
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, rows, schema)

    def set(self, deployment=None, **params):
        yaml = YAML(typ="safe")
        values = yaml.load((self.root / "params.yaml").read_text())
        values["llm_select"] |= {"budget": 12} | params
        if deployment:
            values["llm_select"]["route"] = "mine"
            values["models"]["mine"] = deployment
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(values, file)

    def run(self, deployment=None, **params):
        self.set(deployment, **params)
        self.caplog.clear()
        try:
            Stage("llm_select", self.root).run(work)
        except CurationError as error:
            return Done(error.exit_code, str(error))
        return Done(0, self.caplog.text)

    def run_program(self):
        """The step as DVC starts it, with parameters as they stand."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "tasks.llm_select"],
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if name != "DVC_ROOT"},
            capture_output=True,
            text=True,
            check=False,
        )

    def out(self, name):
        return self.root / "data/llm_select" / name

    def receipts(self):
        return [json.loads(line) for line in self.out("receipt.jsonl").read_text().splitlines()]

    def usage(self):
        return json.loads(self.out("usage.json").read_text())

    def bytes(self):
        return {path.name: path.read_bytes() for path in self.out(".").iterdir()}


@pytest.fixture
def desk(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    return Desk(tmp_path, caplog)


def test_a_run_without_a_key_selects_by_the_rubric_and_says_so(desk):
    done = desk.run()
    assert done.exit_code == 0, done.said
    assert "12 of 40 records selected by offline/rubric in 5 answers: free" in done.said
    selected = read_table(desk.out("selected.parquet"), SELECTED)
    assert selected.num_rows == 12
    assert set(selected["method"].to_pylist()) == {"rubric"}
    assert not any("qwlekjq" in text for text in selected["instruction"].to_pylist())
    assert desk.usage()["usd"] == 0
    before = desk.bytes()
    program = desk.run_program()
    assert (program.returncode, program.stdout) == (0, "")
    assert "12 of 40 records selected" in program.stderr
    assert desk.bytes() == before


def test_everything_selected_can_be_followed_back_to_its_prompt(desk):
    with FakeProvider() as provider:
        done = desk.run(provider.deployment())
    assert done.exit_code == 0, done.said
    assert len(provider.calls) == 5
    selected = read_table(desk.out("selected.parquet"), SELECTED).to_pylist()
    picks = read_table(desk.out("picks.parquet"), PICKS).to_pylist()
    receipts = desk.receipts()
    assert len(selected) == len(picks) == len(receipts) == 12
    assert [r["rank"] for r in selected] == sorted(r["rank"] for r in selected)
    for row, receipt in zip(selected, receipts, strict=True):
        shown = desk.prompts[row["prompt"] - 1]
        assert row["id"] == receipt["id"] == shown[row["slot"] - 1]
        assert receipt["rivals"] == [i for i in shown if i != row["id"]]
        assert {name: row[name] for name in POOL.names} == desk.records[row["id"]]
        assert (row["route"], row["model"], row["method"]) == ("mine", "openai/fake", "llm")
        assert row["votes"] == 1
        alphabet = sorted(shown, key=lambda i: text_of(desk, i))
        assert alphabet[row["rank"] - 1] == row["id"]  # what the fake provider goes by
    answers = {each["key"]: each for receipt in receipts for each in receipt["answers"]}
    n_in, n_out = provider.tokens
    assert sum(each["prompt_tokens"] for each in answers.values()) == n_in
    assert sum(each["usd"] for each in answers.values()) == pytest.approx(provider.usd)
    usage = desk.usage()
    told = {name: usage[name] for name in ("calls", "prompt_tokens", "completion_tokens")}
    assert told == {"calls": 5, "prompt_tokens": n_in, "completion_tokens": n_out}
    assert usage["usd"] == pytest.approx(provider.usd)
    assert (usage["route"], usage["model"]) == ("mine", "openai/fake")
    assert (usage["budget"], usage["selected"], usage["partial"]) == (12, 12, None)
    assert usage["methods"] == {"llm": 12, "rubric": 0, "fallback": 0}
    assert usage["answers"] == {"mine": 5}
    assert usage["n_unknown_usage"] == 0
    assert usage["rounds"] == [{"round": 1, "n_prompts": 5, "n_candidates": 40, "n_picks": 12}]


def text_of(desk, record_id):
    row = desk.records[record_id]
    return record_text(row["instruction"], row["input"])


def test_prompts_pick_by_quota_and_fewer_prompts_than_picks_hold_a_tournament(desk):
    desk.run()
    per_prompt = Counter(pq.read_table(desk.out("picks.parquet"))["prompt"].to_pylist())
    assert sorted(per_prompt.values()) == [2, 2, 2, 3, 3]
    assert desk.run(budget=2).exit_code == 0
    assert [(r["n_prompts"], r["n_picks"]) for r in desk.usage()["rounds"]] == [(5, 5), (1, 2)]
    picks = read_table(desk.out("picks.parquet"), PICKS).to_pylist()
    winners = [row["id"] for row in picks if row["round"] == 1]
    final = read_table(desk.out("selected.parquet"), SELECTED)
    assert set(final["id"].to_pylist()) < set(winners)
    assert set(final["round"].to_pylist()) == {2}


def test_what_a_model_did_not_answer_is_flagged_record_by_record(desk):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return says("No.")(call) if sees else provider_honest(call)

    with FakeProvider() as provider:
        provider_honest, provider.behave = provider.behave, behave
        done = desk.run(provider.deployment(), max_attempts=2)
    assert done.exit_code == 0, done.said
    assert "picked by the offline rubric, since the model gave no answer" in done.said
    flagged = [r for r in desk.receipts() if r["method"] == "fallback"]
    assert {r["prompt"] for r in flagged} == {
        p + 1
        for p, ids in enumerate(desk.prompts)
        if any("topic 11 " in text_of(desk, i) for i in ids)
    }
    assert {(r["model"], len(r["answers"]), r["votes"]) for r in flagged} == {
        ("offline/rubric", 0, 0)
    }
    assert desk.usage()["calls"] == 4
    assert desk.usage()["methods"]["fallback"] == len(flagged)
    assert desk.usage()["usd"] < provider.usd  # useless replies were paid for, and are no answers


def test_a_refusal_ends_with_2_in_the_provider_s_words_and_leaves_the_outputs(desk):
    assert desk.run().exit_code == 0
    before = desk.bytes()
    with FakeProvider(fails(401, "Incorrect API key provided")) as provider:
        done = desk.run(provider.deployment())
        program = desk.run_program()
    assert done.exit_code == program.returncode == 2
    assert program.stderr.strip().endswith(done.said)
    assert not {"Traceback", "Warning"} & set(program.stderr.replace(":", " ").split())
    assert "models.mine (openai/fake)" in done.said
    assert "does not accept the key: Incorrect API key provided" in done.said
    assert len(provider.calls) == 2
    assert desk.bytes() == before


def test_the_next_run_goes_on_where_a_broken_one_stopped(desk):
    with FakeProvider() as provider:
        provider.script(provider.behave, provider.behave, fails(404, "gone"))
        assert desk.run(provider.deployment(), concurrency=1).exit_code == 2
        assert len(provider.calls) == 3
        assert desk.run(provider.deployment()).exit_code == 0
        assert len(provider.calls) == 3 + 3


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_soon_and_keeps_its_answers(desk, how):
    with FakeProvider() as provider:
        provider.script(provider.behave, provider.behave)
        provider.behave = late(60, provider.behave)
        desk.set(provider.deployment())
        program = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tasks.llm_select"],
            cwd=desk.root,
            stderr=subprocess.PIPE,
            text=True,
        )
        while len(provider.calls) < 4 and program.poll() is None:
            time.sleep(0.05)
        program.send_signal(how)
        said = program.communicate(timeout=10)[1]
    assert program.returncode == 130
    assert said.splitlines()[-1] == "interrupted; run it again to go on"
    assert "Traceback" not in said
    with closing(sqlite3.connect(desk.root / ".selectllm/journal.sqlite")) as journal:
        assert journal.execute("SELECT count(*) FROM answers").fetchone() == (2,)


def test_more_picks_than_records_end_with_2_before_any_call(desk):
    with FakeProvider() as provider:
        done = desk.run(provider.deployment(), budget=41)
    assert done.exit_code == 2
    assert "llm_select.budget is 41, and only 40 records are left" in done.said
    assert not provider.calls


def test_a_spoilt_journal_ends_with_2_and_is_left_as_it_is(desk):
    journal = desk.root / ".selectllm/journal.sqlite"
    journal.parent.mkdir()
    journal.write_bytes(b"")
    done = desk.run()
    assert done.exit_code == 2
    assert "journal.sqlite: this is no journal of SelectLLM's" in done.said
    assert journal.read_bytes() == b""


def test_prompts_that_show_a_record_from_elsewhere_are_refused(desk):
    shown = read_table(desk.root / "data/cluster/prompts.parquet", PROMPTS).to_pylist()
    desk.write("cluster/prompts.parquet", [shown[0] | {"id": "0" * 16}, *shown[1:]], PROMPTS)
    done = desk.run()
    assert done.exit_code == 2
    assert "a record is not in the pool" in done.said


def test_a_missing_key_ends_with_2_before_any_call(desk, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with FakeProvider() as provider:
        done = desk.run(provider.deployment(api_key="os.environ/MY_KEY"))
    assert done.exit_code == 2
    assert "MY_KEY is not set, and no call was made" in done.said
    assert not provider.calls


def test_a_route_without_a_price_ends_with_2_before_any_call(desk):
    with FakeProvider() as provider:
        unpriced = provider.deployment()
        del unpriced["input_cost_per_token"], unpriced["output_cost_per_token"]
        done = desk.run(unpriced)
    assert done.exit_code == 2
    assert "nobody has said what this model costs" in done.said
    assert "input_cost_per_token and output_cost_per_token" in done.said
    assert not provider.calls


def test_at_the_cap_the_selection_is_partial_and_goes_on_when_the_cap_is_raised(desk):
    with FakeProvider(late(0.02)) as provider:
        done = desk.run(provider.deployment(), max_usd=0.0045)
        assert done.exit_code == 0, done.said
        assert "PARTIAL" in done.said
        assert "Raise it and run this again" in done.said
        assert 0 < len(provider.calls) < 5
        assert provider.usd <= 0.0045
        usage = desk.usage()
        assert usage["partial"] == "max_usd"
        first = read_table(desk.out("selected.parquet"), SELECTED)["id"].to_pylist()
        assert 0 < len(first) == usage["selected"] < 12
        assert len(desk.receipts()) == len(first)
        n_before = len(provider.calls)
        desk.run(provider.deployment(), max_usd=0.0045)
        assert len(provider.calls) == n_before
        assert desk.run(provider.deployment(), max_usd=1.0).exit_code == 0
    assert len(provider.calls) == 5
    assert desk.usage()["partial"] is None
    whole = read_table(desk.out("selected.parquet"), SELECTED)["id"].to_pylist()
    assert len(whole) == 12
    assert set(first) < set(whole)
    undisturbed = desk.bytes()
    with FakeProvider() as provider:
        shutil.rmtree(desk.root / ".selectllm")
        desk.run(provider.deployment(), max_usd=1.0)
    assert desk.bytes() == undisturbed


def test_a_cap_of_nothing_leaves_an_empty_selection_that_says_so(desk):
    with FakeProvider() as provider:
        done = desk.run(provider.deployment(), max_usd=0.0)
    assert "PARTIAL" in done.said
    assert not provider.calls
    assert read_table(desk.out("selected.parquet"), SELECTED).num_rows == 0
    assert desk.usage()["selected"] == 0


def test_a_cap_in_a_tournament_leaves_winners_of_its_rounds_alone(desk):
    with FakeProvider() as provider:
        desk.run(provider.deployment(), budget=2, max_usd=0.0045)
        assert desk.usage()["partial"] == "max_usd"
        assert desk.usage()["selected"] <= 2
        assert desk.run(provider.deployment(), budget=2, max_usd=1.0).exit_code == 0
    assert len(provider.calls) == 5 + 1
    assert desk.usage()["selected"] == 2


def test_votes_are_counted_pick_by_pick(desk):
    with FakeProvider() as provider:
        assert desk.run(provider.deployment(), votes=3).exit_code == 0
    assert len(provider.calls) == 2 * 5  # two that agree are more than half of three
    rows = read_table(desk.out("picks.parquet"), PICKS).to_pylist()
    assert {row["votes"] for row in rows} == {2}
    assert all(len(receipt["ballots"]) == 2 for receipt in desk.receipts())
    assert desk.usage()["agreement"]["n_prompts"] == 5


def test_votes_that_go_by_slots_are_all_asked_and_seen_through(desk):
    def first_slots(call):
        return picks(*range(1, call.block.n_picks + 1))(call)

    with FakeProvider(first_slots) as provider:
        assert desk.run(provider.deployment(), votes=3).exit_code == 0
    assert len(provider.calls) == 3 * 5
    slots = desk.usage()["slots"]
    assert slots["n_prompts"] == 5
    assert slots["observed"] == [5] + [0] * (SIZE - 1)
    assert slots["slot_bias"] > slots["slot_bias_by_chance"]
    assert desk.usage()["agreement"]["same_first"] == 0


def test_a_rationale_is_kept_in_the_receipt(desk):
    def explained(call):
        answer = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])
        reasons = [f"Because of slot {slot}." for slot in answer["picks"]]
        return says(json.dumps(answer | {"reasons": reasons}))(call)

    with FakeProvider(explained) as provider:
        assert desk.run(provider.deployment(), rationale=True).exit_code == 0
    for receipt in desk.receipts():
        assert receipt["reason"] == f"Because of slot {receipt['slot']}."


def test_canaries_are_asked_beside_counted_and_change_no_selection(desk):
    with FakeProvider() as provider:
        desk.run(provider.deployment())
        before = {name: desk.bytes()[name] for name in ("selected.parquet", "picks.parquet")}
        assert desk.run(provider.deployment(), canaries=6).exit_code == 0
    assert len(provider.calls) == 5 + 6
    assert {name: desk.bytes()[name] for name in before} == before
    counts = desk.usage()["canaries"]
    assert sum(count["shown"] for count in counts.values()) == 6
    assert set(counts) == {"gibberish", "truncated", "injection"}
    shown = [text for call in provider.calls[5:] for text in call.block.texts]
    known = {text_of(desk, i) for i in desk.records}
    assert sum(text not in known for text in shown) == 6


def test_who_was_set_aside_stands_in_the_receipts_of_its_prompt(desk):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return (fails(400, "blocked by the content policy") if sees else honest)(call)

    with FakeProvider(behave) as provider:
        assert desk.run(provider.deployment()).exit_code == 0
    (blocked,) = [i for i in desk.records if "topic 11 " in text_of(desk, i)]
    (prompt,) = [p + 1 for p, ids in enumerate(desk.prompts) if blocked in ids]
    for receipt in desk.receipts():
        expected = {blocked: "content_filter"} if receipt["prompt"] == prompt else {}
        assert receipt["set_aside"] == expected
    usage = desk.usage()
    assert usage["set_aside"] == {"content_filter": 1}
    assert usage["methods"]["llm"] == 12


def test_what_another_route_answered_says_whose_it_is(desk):
    with FakeProvider(fails(503)) as down, FakeProvider() as up:
        values = read_params(desk.root / "params.yaml")
        yaml = YAML(typ="safe")
        values["llm_select"] |= {"budget": 12, "route": "mine", "fallback_routes": ["spare"]}
        values["llm_select"] |= {"max_attempts": 1}
        values["models"]["mine"] = down.deployment()
        values["models"]["spare"] = up.deployment(model="openai/spare")
        with (desk.root / "params.yaml").open("w") as file:
            yaml.dump(values, file)
        Stage("llm_select", desk.root).run(work)
    assert (len(down.calls), len(up.calls)) == (1, 5)
    selected = read_table(desk.out("selected.parquet"), SELECTED).to_pylist()
    assert {(row["route"], row["model"]) for row in selected} == {("spare", "openai/spare")}
    assert desk.usage()["answers"] == {"spare": 5}
    assert desk.usage()["fallback_routes"] == ["spare"]


@pytest.mark.parametrize(
    ("changes", "last", "needed"),
    [
        ({"rationale": True}, Round(1, 10, 140, 70), 16 + 44 * 7),
        ({"rationale": True, "votes": 3}, Round(1, 10, 140, 10), None),
        ({}, Round(2, 1, 200, 100), 16 + 4 * 100),
        ({}, Round(1, 10, 140, 140), None),
        ({"take": "middle"}, Round(1, 1, 200, 3), 16 + 4 * 200),
    ],
)
def test_answers_that_would_be_cut_off_are_not_paid_for(changes, last, needed):
    values = read_params(PROJECT / "params.yaml")
    params = check({**values, "llm_select": {**values["llm_select"], **changes}})
    terms = read_terms(params, 0, PROJECT)
    if needed is None:
        check_answer_room(terms, [last])
    else:
        with pytest.raises(ParamError, match=f"Set it to {needed} at least"):
            check_answer_room(terms, [last, Round(2, 1, 10, 1)])
