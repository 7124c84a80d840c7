"""How the llm_select step ends early: refused, interrupted, at its cap, or before it begins."""

import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from tasks.lib.core.schemas import PROMPTS
from tasks.lib.core.tables import read_table
from tests.behaviours import HANG_S, fails, late
from tests.fake_provider import FakeProvider
from tests.workspaces import wait_until


@pytest.mark.slow
def test_a_refusal_ends_with_2_in_the_provider_s_words_and_keeps_the_outputs(desk):
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


def test_the_next_run_continues_where_a_failed_one_stopped(desk):
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
        provider.behave = late(HANG_S, provider.behave)
        desk.set(provider.deployment())
        program = desk.start()
        wait_until(lambda: len(provider.calls) >= 4 or program.poll() is not None)
        program.send_signal(how)
        said = program.communicate(timeout=HANG_S / 2)[1]  # it does not wait for the late ones
    assert program.returncode == 130
    assert said.splitlines()[-2:] == ["interrupted", "  Run it again to continue."]
    assert "Traceback" not in said
    with closing(sqlite3.connect(desk.root / ".selectllm/journal.sqlite")) as journal:
        assert journal.execute("SELECT count(*) FROM answers").fetchone() == (2,)


def without_key(desk, deployment):
    return {"deployment": deployment | {"api_key": "os.environ/MY_KEY"}}


def without_price(desk, deployment):
    prices = ("input_cost_per_token", "output_cost_per_token")
    return {"deployment": {name: deployment[name] for name in deployment if name not in prices}}


def with_a_foreign_record(desk, deployment):
    shown = read_table(desk.root / "data/cluster/prompts.parquet", PROMPTS).to_pylist()
    desk.write("cluster/prompts.parquet", [shown[0] | {"id": "0" * 16}, *shown[1:]], PROMPTS)
    return {"deployment": deployment}


def with_a_damaged_journal(desk, deployment):
    (desk.root / ".selectllm").mkdir()
    (desk.root / ".selectllm/journal.sqlite").touch()
    return {"deployment": deployment}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda desk, deployment: {"deployment": deployment, "budget": 41},
            "llm_select.budget is 41, but there are only 40 records",
        ),
        (without_key, "MY_KEY is not set, so no call was made"),
        (without_price, "the price of this model is unknown"),
        (with_a_foreign_record, "a record is not in the pool"),
        (with_a_damaged_journal, "journal.sqlite: this is not a SelectLLM journal"),
    ],
    ids=["budget", "key", "price", "record", "journal"],
)
def test_a_run_that_cannot_succeed_ends_with_2_before_any_call(desk, monkeypatch, make, says):
    monkeypatch.delenv("MY_KEY", raising=False)
    with FakeProvider() as provider:
        done = desk.run(**make(desk, provider.deployment()))
    assert (done.exit_code, provider.calls) == (2, [])
    assert says in done.said


@pytest.mark.slow
def test_at_the_cap_the_selection_is_partial_until_the_cap_is_raised(desk):
    with FakeProvider(late(0.02)) as provider:
        done = desk.run(provider.deployment(), max_usd=0.0045)
        assert done.exit_code == 0, done.said
        assert "PARTIAL" in done.said
        assert "Raise it and run this again" in done.said
        assert 0 < len(provider.calls) < 5
        assert provider.usd <= 0.0045
        usage = desk.usage()
        assert usage["partial"] == "max_usd"
        first = desk.ballots()
        n_judged = len({row["prompt"] for row in first})
        assert 0 < len(desk.judgements()) == usage["n_prompts"] == n_judged < 5
        assert len(desk.choose(budget=40)) == len(first)  # all that are judged
        assert len(desk.choose()) == len(desk.receipts()) == min(12, len(first))
        n_before = len(provider.calls)
        desk.run(provider.deployment(), max_usd=0.0045)
        assert len(provider.calls) == n_before
        assert desk.run(provider.deployment(), max_usd=1.0).exit_code == 0
    assert len(provider.calls) == 5
    assert desk.usage()["partial"] is None
    whole = desk.ballots()
    assert len(whole) == 40
    assert all(row in whole for row in first)
    assert len(desk.choose()) == 12
    undisturbed = desk.bytes()
    with FakeProvider() as provider:
        shutil.rmtree(desk.root / ".selectllm")
        desk.run(provider.deployment(), max_usd=1.0)
    assert desk.bytes() == undisturbed


def test_a_cap_of_zero_gives_no_ballot_and_an_empty_selection(desk):
    with FakeProvider() as provider:
        done = desk.run(provider.deployment(), max_usd=0.0)
    assert "PARTIAL" in done.said
    assert not provider.calls
    assert (desk.ballots(), desk.choose(), desk.receipts()) == ([], [], [])
    assert desk.usage()["n_prompts"] == 0
