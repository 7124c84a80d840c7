"""A preview sends questions of the run, which pays for them once, and estimates the rest."""

import json
import sqlite3
from contextlib import closing

import pytest

from flows.cli import console, show_preview
from tasks.estimate.preview import preview
from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.core.params import read_params
from tests.behaviours import fails, honest, says
from tests.selection_desk import N_RECORDS, SIZE

N_PROMPTS = N_RECORDS // SIZE


@pytest.fixture
def ask(desk):
    """Return a function that previews prompts of the desk with these parameters."""

    def ask(provider, n=2, deployment=None, *, is_grouped=True, **params):
        changes = deployment or {}
        desk.set(provider.deployment(**changes), **params)
        values = read_params(desk.root / "params.yaml")
        return preview(desk.root, values, n, is_grouped=is_grouped)

    return ask


@pytest.mark.slow
@pytest.mark.parametrize(("votes", "n_calls"), [(1, 2), (3, 4)])
def test_a_run_does_not_buy_the_previewed_answers_again(desk, ask, provider, votes, n_calls):
    first = ask(provider, votes=votes)
    assert len(provider.calls) == n_calls
    assert {asked.prompt for asked in first.exchanges} == {1, N_PROMPTS}
    assert first.new_usd == pytest.approx(provider.usd)
    again = ask(provider, votes=votes)
    assert len(provider.calls) == n_calls
    assert (again.new_usd, again.exchanges[0].calls[0].is_new) == (0, False)
    assert again.projection == first.projection
    done = desk.run(provider.deployment(), votes=votes)
    assert done.exit_code == 0, done.said
    assert len(provider.calls) == N_PROMPTS * n_calls // 2
    assert provider.usd == pytest.approx(desk.usage()["usd"])
    assert first.projection.usd == pytest.approx(provider.usd, rel=0.05)
    assert first.projection.calls == len(provider.calls)


def test_a_preview_shows_the_prompt_the_reply_its_ranking_and_what_was_dropped(ask, provider):
    shown = ask(provider, 1, {"schema": "auto"}).exchanges[0]
    assert shown.messages == provider.calls[0].messages
    (call,) = shown.calls
    assert list(shown.ranked) == json.loads(call.reply)["picks"]
    assert [provider.calls[0].block.texts[slot - 1] for slot in shown.ranked] == [
        *shown.ranked.values()
    ]
    assert shown.dropped_params == ("response_format",)
    assert (call.prompt_tokens, call.completion_tokens) == provider.tokens


def test_a_useless_reply_is_shown_with_its_problem_and_its_price(ask, provider):
    provider.behave = says("All of them are good.")
    asked = ask(provider, 1)
    (shown,) = asked.exchanges
    assert shown.no_answer == "useless"
    assert [call.outcome for call in shown.calls] == ["no_list", "no_list"]
    assert shown.calls[0].reply == "All of them are good."
    assert asked.new_usd == pytest.approx(provider.usd)
    assert asked.projection.calls == 2 * N_PROMPTS


def test_at_the_cap_the_preview_ends_with_what_it_has(ask, provider):
    one = ask(provider, 1).new_usd
    capped = ask(provider, N_PROMPTS, max_usd=3 * one)
    assert capped.is_capped
    assert sum(call.usd for asked in capped.exchanges for call in asked.calls) <= 3 * one
    assert ask(provider, 1, max_usd=0, deployment={"model": "openai/other"}).projection is None


def test_sample_prompts_have_the_runs_size_and_a_spending_limit_of_their_own(desk, ask, provider):
    size = {"candidates_per_prompt": SIZE, "n_prompts": None}
    desk.update(cluster=size)
    samples = ask(provider, 1, is_grouped=False)
    assert not samples.is_reused
    assert (samples.n_prompts, samples.exchanges[0].n_candidates) == (N_PROMPTS, SIZE)
    ask(provider, 1)
    assert len(provider.calls) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (fails(401, "Incorrect API key provided"), "does not accept the key"),
        (fails(404, "The model does not exist"), "Check the model's name"),
        (fails(503, "overloaded"), "keeps failing"),
    ],
)
def test_a_refusal_ends_the_preview_with_a_clear_message(ask, provider, behave, words):
    provider.behave = behave
    with pytest.raises(LLMError, match=words):
        ask(provider)
    assert len(provider.calls) <= 2


def test_a_call_of_an_interrupted_run_does_not_count_as_paid_now(desk, ask, provider):
    usd = ask(provider, 1).new_usd
    with closing(sqlite3.connect(desk.root / ".selectllm/journal.sqlite")) as db, db:
        db.execute("DELETE FROM answers")
        db.execute("UPDATE calls SET outcome = 'open', run = 'killed'")
    again = ask(provider, 1)
    (asked,) = again.exchanges
    assert [(call.outcome, call.is_new) for call in asked.calls] == [
        ("lost", False),
        ("answer", True),
    ]
    assert again.new_usd == pytest.approx(usd)


def test_a_missing_key_is_named_before_any_call(ask, provider, monkeypatch):
    monkeypatch.delenv("MY_ABSENT_KEY", raising=False)
    with pytest.raises(ParamError, match="MY_ABSENT_KEY is not set"):
        ask(provider, 1, {"api_key": "os.environ/MY_ABSENT_KEY"})
    assert provider.calls == []


def test_the_page_shortens_long_texts_visibly_and_ends_with_the_price_of_the_run(
    ask, provider, capsys
):
    provider.script(says("No idea."), honest)
    previewed = ask(provider, 2)
    view = show_preview.PreviewView()
    for asked in previewed.exchanges:
        view.exchange(asked)
    view.end(previewed)
    page = capsys.readouterr().out
    assert page.count("  system") == 1
    assert "characters left out" in page
    assert "no_list" in page
    assert page.index("No idea.") < page.index('{"picks"')
    assert "paid now: 3 calls" in page
    assert f"the whole run at this rate: {N_PROMPTS} prompts, 8 calls" in page
    assert max(map(len, page.splitlines())) <= console.out.width
