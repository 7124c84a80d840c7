"""The llm_select step: its outputs, and how they can be traced back to its questions."""

import json

import pytest

from tasks.lib.core import tables
from tasks.lib.core.schemas import BALLOTS
from tasks.lib.gateway.event_loop import run_loop
from tasks.llm_select import outputs
from tests.behaviours import fails, honest, picks, says
from tests.fake_provider import FakeProvider
from tests.selection_desk import N_RECORDS, SIZE, text_of


def test_ballots_have_the_bytes_of_one_table_however_many_row_groups_they_need(desk, monkeypatch):
    monkeypatch.setattr(outputs, "BLOCK", 2)
    for module in (outputs, tables):
        monkeypatch.setattr(module, "ROW_GROUP", 7)
    assert desk.run().exit_code == 0
    ballots = tables.read_table(desk.out("ballots.parquet"), BALLOTS)
    assert ballots.num_rows == N_RECORDS
    tables.write_table(desk.root / "whole.parquet", ballots, BALLOTS)
    assert desk.out("ballots.parquet").read_bytes() == (desk.root / "whole.parquet").read_bytes()


@pytest.mark.slow
def test_a_run_without_a_key_is_judged_by_the_offline_judge_and_says_so(desk):
    done = desk.run()
    assert done.exit_code == 0, done.said
    assert "5 of 5 prompts judged by offline/typical in 5 answers: free" in done.said
    ballots = desk.ballots()
    assert len(ballots) == 40
    assert {row["method"] for row in ballots} == {"offline"}
    listed = [row["id"] for row in ballots if row["score"]]
    assert not any("qwlekjq" in text_of(desk, record_id) for record_id in listed)
    assert desk.usage()["usd"] == 0
    before = desk.bytes()
    program = desk.run_program()
    assert (program.returncode, program.stdout) == (0, "")
    assert "5 of 5 prompts judged" in program.stderr
    assert desk.bytes() == before


def test_every_ballot_can_be_traced_back_to_its_prompt(desk):
    with FakeProvider() as provider:
        done = desk.run(provider.deployment())
    assert done.exit_code == 0, done.said
    assert len(provider.calls) == 5
    ballots, judgements = desk.ballots(), desk.judgements()
    assert [row["id"] for row in ballots] == [i for shown in desk.prompts for i in shown]
    for judgement, shown in zip(judgements, desk.prompts, strict=True):
        assert judgement["ids"] == shown
        assert (judgement["route"], judgement["model"]) == ("mine", "openai/fake")
        (ranking,) = judgement["ballots"]
        rows = [row for row in ballots if row["prompt"] == judgement["prompt"]]
        assert [row["slot"] for row in rows] == list(range(1, SIZE + 1))
        assert {row["rank"]: row["slot"] for row in rows if row["rank"]} == dict(
            enumerate(ranking, 1)
        )
        alphabet = sorted(shown, key=lambda i: text_of(desk, i))  # what the fake provider goes by
        assert [shown[slot - 1] for slot in ranking] == alphabet[:5]
    scores = {(row["rank"], round(row["score"], 3), row["votes"]) for row in ballots}
    assert scores == {*((i + 1, round(1 - i / 5, 3), 1) for i in range(5)), (None, 0.0, 0)}
    answers = {answer["key"]: answer for line in judgements for answer in line["answers"]}
    n_in, n_out = provider.tokens
    assert sum(answer["prompt_tokens"] for answer in answers.values()) == n_in
    assert sum(answer["usd"] for answer in answers.values()) == pytest.approx(provider.usd)
    usage = desk.usage()
    counts = {name: usage[name] for name in ("calls", "prompt_tokens", "completion_tokens")}
    assert counts == {"calls": 5, "prompt_tokens": n_in, "completion_tokens": n_out}
    assert usage["usd"] == pytest.approx(provider.usd)
    assert (usage["route"], usage["model"]) == ("mine", "openai/fake")
    assert (usage["budget"], usage["n_prompts"], usage["partial"]) == (12, 5, None)
    assert usage["methods"] == {"llm": 5, "offline": 0, "fallback": 0}
    assert usage["answers"] == {"mine": 5}
    assert usage["n_unknown_usage"] == 0


@pytest.mark.parametrize(
    ("changes", "n_picks"),
    [
        ({}, 5),
        ({"shortlist": 1}, 3),
        ({"budget": 29}, 6),
        ({"shortlist": 9}, 8),
        ({"budget": 2}, 5),
    ],
)
def test_a_prompt_ranks_its_shortlist_or_its_share_of_the_budget(desk, changes, n_picks):
    with FakeProvider() as provider:
        assert desk.run(provider.deployment(), **changes).exit_code == 0
    assert {call.block.n_picks for call in provider.calls} == {n_picks}


def test_scores_are_the_same_for_every_budget(desk):
    scores = []
    for budget in (2, 12, 40):
        with FakeProvider() as provider:
            desk.run(provider.deployment(), budget=budget)
        scores.append([row["score"] for row in desk.ballots()])
    assert scores[0] == scores[1] == scores[2]


def test_the_offline_judge_ranks_a_shortlist_for_each_record_that_a_prompt_gives(desk):
    for budget, n_ranks in ((5, 5), (6, 8)):
        desk.run(budget=budget, shortlist=5)
        ranks = [row["rank"] for row in desk.ballots() if row["prompt"] == 1]
        assert sum(rank is not None for rank in ranks) == n_ranks
        assert sum(row["score"] > 0 for row in desk.ballots() if row["prompt"] == 1) == 5


def test_take_decides_which_part_of_the_ranking_counts(desk):
    by_take = {}
    for take in ("first", "middle", "last"):
        desk.run(take=take, budget=5)
        rows = [row for row in desk.ballots() if row["prompt"] == 1]
        by_take[take] = {row["rank"]: row["id"] for row in rows if row["rank"]}
        assert sorted(by_take[take]) == [1, 2, 3, 4, 5]
        assert {row["id"] for row in rows if row["score"]} == set(by_take[take].values())
    assert len({ids[1] for ids in by_take.values()}) == 3


def test_records_without_a_model_s_answer_are_flagged(desk):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return says("No.")(call) if sees else provider_honest(call)

    with FakeProvider() as provider:
        provider_honest, provider.behave = provider.behave, behave
        done = desk.run(provider.deployment(), max_attempts=2)
    assert done.exit_code == 0, done.said
    assert "judged by the offline judge, because the model gave no answer" in done.said
    flagged = [row for row in desk.ballots() if row["method"] == "fallback"]
    assert {r["prompt"] for r in flagged} == {
        p + 1
        for p, ids in enumerate(desk.prompts)
        if any("topic 11 " in text_of(desk, i) for i in ids)
    }
    assert len(flagged) == SIZE
    assert {row["votes"] for row in flagged} == {0}
    assert sorted(row["rank"] for row in flagged if row["score"]) == [1, 2, 3, 4, 5]
    (judgement,) = [j for j in desk.judgements() if j["prompt"] == flagged[0]["prompt"]]
    assert (judgement["model"], judgement["answers"]) == ("offline/typical", [])
    assert desk.usage()["calls"] == 4
    assert desk.usage()["methods"]["fallback"] == 1
    usage = desk.usage()
    assert usage["usd"] == pytest.approx(provider.usd)
    assert 0 < usage["usd_without_answer"] < usage["usd"]
    assert usage["replies_without_answer"] == {"no_list": 2}
    assert "2 replies had no list of slots. Set schema: always on the route" in done.said


def test_the_votes_for_each_record_are_counted(desk):
    with FakeProvider() as provider:
        assert desk.run(provider.deployment(), votes=3).exit_code == 0
    assert len(provider.calls) == 2 * 5  # two that agree are more than half of three
    assert {row["votes"] for row in desk.ballots() if row["rank"]} == {2}
    assert all(len(judgement["ballots"]) == 2 for judgement in desk.judgements())
    assert desk.usage()["agreement"]["n_prompts"] == 5


def test_votes_that_go_by_slots_are_all_cast_and_show_the_bias(desk):
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


def test_a_rationale_is_kept_with_its_slot(desk):
    def explained(call):
        answer = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])
        reasons = [f"Because of slot {slot}." for slot in answer["picks"]]
        return says(json.dumps(answer | {"reasons": reasons}))(call)

    with FakeProvider(explained) as provider:
        assert desk.run(provider.deployment(), rationale=True).exit_code == 0
    for judgement in desk.judgements():
        (ranking,) = judgement["ballots"]
        assert judgement["reasons"] == {str(slot): f"Because of slot {slot}." for slot in ranking}


def test_attention_checks_are_additional_and_change_no_ballot(desk):
    with FakeProvider() as provider:
        desk.run(provider.deployment())
        before = {name: desk.bytes()[name] for name in ("ballots.parquet", "judgements.jsonl")}
        assert desk.run(provider.deployment(), attention_checks=6).exit_code == 0
    assert len(provider.calls) == 5 + 6
    assert {name: desk.bytes()[name] for name in before} == before
    counts = desk.usage()["attention_checks"]
    assert sum(count["shown"] for count in counts.values()) == 6
    assert set(counts) == {"gibberish", "truncated", "injection"}
    shown = [text for call in provider.calls[5:] for text in call.block.texts]
    known = {text_of(desk, i) for i in desk.records}
    assert sum(text not in known for text in shown) == 6


def test_a_candidate_that_cannot_be_judged_is_set_aside_with_its_reason(desk):
    def behave(call):
        sees = any("topic 11 " in text for text in call.block.texts)
        return (fails(400, "blocked by the content policy") if sees else honest)(call)

    with FakeProvider(behave) as provider:
        assert desk.run(provider.deployment()).exit_code == 0
    (blocked,) = [i for i in desk.records if "topic 11 " in text_of(desk, i)]
    (row,) = [row for row in desk.ballots() if row["set_aside"]]
    assert (row["id"], row["set_aside"]) == (blocked, "content_filter")
    assert (row["rank"], row["score"], row["votes"]) == (None, 0, 0)
    (judgement,) = [judgement for judgement in desk.judgements() if judgement["set_aside"]]
    assert judgement["set_aside"] == {str(row["slot"]): "content_filter"}
    usage = desk.usage()
    assert usage["set_aside"] == {"content_filter": 1}
    assert usage["methods"]["llm"] == 5


def test_answers_of_a_fallback_route_carry_its_name(desk):
    with FakeProvider(fails(503)) as down, FakeProvider() as up:
        desk.update(models={"spare": up.deployment(model="openai/spare")})
        done = desk.run(down.deployment(), fallback_routes=["spare"], max_attempts=1)
    assert done.exit_code == 0, done.said
    assert (len(down.calls), len(up.calls)) == (1, 5)
    routes = {(judgement["route"], judgement["model"]) for judgement in desk.judgements()}
    assert routes == {("spare", "openai/spare")}
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
