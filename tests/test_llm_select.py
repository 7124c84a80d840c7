"""The step llm_select: its outputs, and how they can be traced back to its questions."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tasks.lib.core.schemas import PICKS, POOL, SELECTED
from tasks.lib.core.tables import read_table
from tasks.lib.gateway.event_loop import run_loop
from tests.fake_provider import FakeProvider, fails, honest, picks, says
from tests.selection_desk import SIZE, text_of


def test_a_run_without_a_key_selects_by_the_offline_judge_and_says_so(desk):
    done = desk.run()
    assert done.exit_code == 0, done.said
    assert "12 of 40 records selected by offline/typical in 5 answers: free" in done.said
    selected = read_table(desk.out("selected.parquet"), SELECTED)
    assert selected.num_rows == 12
    assert set(selected["method"].to_pylist()) == {"offline"}
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
    answers = {answer["key"]: answer for receipt in receipts for answer in receipt["answers"]}
    n_in, n_out = provider.tokens
    assert sum(answer["prompt_tokens"] for answer in answers.values()) == n_in
    assert sum(answer["usd"] for answer in answers.values()) == pytest.approx(provider.usd)
    usage = desk.usage()
    counts = {name: usage[name] for name in ("calls", "prompt_tokens", "completion_tokens")}
    assert counts == {"calls": 5, "prompt_tokens": n_in, "completion_tokens": n_out}
    assert usage["usd"] == pytest.approx(provider.usd)
    assert (usage["route"], usage["model"]) == ("mine", "openai/fake")
    assert (usage["budget"], usage["selected"], usage["partial"]) == (12, 12, None)
    assert usage["methods"] == {"llm": 12, "offline": 0, "fallback": 0}
    assert usage["answers"] == {"mine": 5}
    assert usage["n_unknown_usage"] == 0
    assert usage["rounds"] == [{"round": 1, "n_prompts": 5, "n_candidates": 40, "n_picks": 12}]


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


def test_records_without_a_model_s_answer_are_flagged(desk):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return says("No.")(call) if sees else provider_honest(call)

    with FakeProvider() as provider:
        provider_honest, provider.behave = provider.behave, behave
        done = desk.run(provider.deployment(), max_attempts=2)
    assert done.exit_code == 0, done.said
    assert "picked by the offline judge, since the model gave no answer" in done.said
    flagged = [r for r in desk.receipts() if r["method"] == "fallback"]
    assert {r["prompt"] for r in flagged} == {
        p + 1
        for p, ids in enumerate(desk.prompts)
        if any("topic 11 " in text_of(desk, i) for i in ids)
    }
    assert {(r["model"], len(r["answers"]), r["votes"]) for r in flagged} == {
        ("offline/typical", 0, 0)
    }
    assert desk.usage()["calls"] == 4
    assert desk.usage()["methods"]["fallback"] == len(flagged)
    assert desk.usage()["usd"] < provider.usd  # useless replies were paid for, and are no answers


def test_the_votes_of_each_pick_are_counted(desk):
    with FakeProvider() as provider:
        assert desk.run(provider.deployment(), votes=3).exit_code == 0
    assert len(provider.calls) == 2 * 5  # two that agree are more than half of three
    rows = read_table(desk.out("picks.parquet"), PICKS).to_pylist()
    assert {row["votes"] for row in rows} == {2}
    assert all(len(receipt["ballots"]) == 2 for receipt in desk.receipts())
    assert desk.usage()["agreement"]["n_prompts"] == 5


def test_votes_that_go_by_slots_are_all_asked_and_show_the_bias(desk):
    def first_slots(call):
        return picks(*range(1, call.block.n_picks + 1))(call)

    with FakeProvider(first_slots) as provider:
        assert desk.run(provider.deployment(), votes=3).exit_code == 0
    assert len(provider.calls) == 3 * 5
    slots = desk.usage()["slots"]
    assert slots["n_prompts"] == 5
    assert slots["observed"] == [5] + [0] * (SIZE - 1)
    assert slots["position_bias"] > slots["position_bias_by_chance"]
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


def test_attention_checks_are_asked_additionally_and_change_no_selection(desk):
    with FakeProvider() as provider:
        desk.run(provider.deployment())
        before = {name: desk.bytes()[name] for name in ("selected.parquet", "picks.parquet")}
        assert desk.run(provider.deployment(), attention_checks=6).exit_code == 0
    assert len(provider.calls) == 5 + 6
    assert {name: desk.bytes()[name] for name in before} == before
    counts = desk.usage()["attention_checks"]
    assert sum(count["shown"] for count in counts.values()) == 6
    assert set(counts) == {"gibberish", "truncated", "injection"}
    shown = [text for call in provider.calls[5:] for text in call.block.texts]
    known = {text_of(desk, i) for i in desk.records}
    assert sum(text not in known for text in shown) == 6


def test_receipts_name_the_candidates_that_were_set_aside(desk):
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


def test_answers_of_a_fallback_route_carry_its_name(desk):
    with FakeProvider(fails(503)) as down, FakeProvider() as up:
        desk.update(models={"spare": up.deployment(model="openai/spare")})
        done = desk.run(down.deployment(), fallback_routes=["spare"], max_attempts=1)
    assert done.exit_code == 0, done.said
    assert (len(down.calls), len(up.calls)) == (1, 5)
    selected = read_table(desk.out("selected.parquet"), SELECTED).to_pylist()
    assert {(row["route"], row["model"]) for row in selected} == {("spare", "openai/spare")}
    assert desk.usage()["answers"] == {"spare": 5}
    assert desk.usage()["fallback_routes"] == ["spare"]


def test_the_result_of_a_loop_is_not_printed_when_it_ends():
    """`signal` would print the result of the loop's main task: seconds and gigabytes."""

    written = []

    class Large:
        def __repr__(self):
            written.append(self)
            return "large"

    async def find():
        return Large()

    run_loop(find())
    assert not written
