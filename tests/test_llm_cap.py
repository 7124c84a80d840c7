"""The cap, and runs that are interrupted or beside each other: what is bought, and how often."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tasks.lib.journal.models import LOST
from tasks.llm_select.verdicts import PickMethod
from tests.conftest import PROJECT
from tests.fake_provider import USD_IN, late
from tests.judge_desk import USELESS, questions
from tests.workspaces import PATIENCE_S, wait_until


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_cap_is_not_passed_and_the_run_ends_in_good_order(provider, put, concurrency):
    provider.behave = late(0.01)
    cap_usd = 0.02
    verdicts = put(provider.deployment(), questions(100), concurrency=concurrency, cap_usd=cap_usd)
    n_answered = sum(verdict is not None for verdict in verdicts)
    assert n_answered == put.n_done == len(provider.calls) < 100
    assert provider.usd == pytest.approx(put.spent_usd)
    assert put.spent_usd <= cap_usd
    n_bytes = max(len(str(call.messages).encode()) for call in provider.calls)
    assert put.spent_usd > cap_usd - 3 * n_bytes * USD_IN  # it does not stop long before either
    whole = put(provider.deployment(), questions(100), cap_usd=1.0)
    assert len(provider.calls) == 100
    for before, after in zip(verdicts, whole, strict=False):
        assert before in (None, after)


def test_a_cap_of_nothing_buys_nothing(provider, put):
    verdicts = put(provider.deployment(), questions(9), cap_usd=0.0)
    assert set(verdicts) == {None}
    assert not provider.calls


def test_what_is_free_needs_no_room_under_the_cap(provider, put):
    free = provider.deployment(input_cost_per_token=0.0, output_cost_per_token=0.0)
    assert None not in put(free, questions(3), cap_usd=0.0)


def test_useless_and_late_replies_count_for_the_cap(provider, put):
    provider.behave = USELESS
    verdicts = put(provider.deployment(), questions(100), cap_usd=0.02)
    assert sum(verdict is not None for verdict in verdicts) < 100
    assert provider.usd == pytest.approx(put.spent_usd)
    assert put.spent_usd <= 0.02


def test_a_call_that_was_interrupted_is_booked_in_full_and_asked_again(provider, put, book):
    provider.script(late(60))

    async def interrupt(run):
        while not provider.calls:
            await asyncio.sleep(0.01)
        run.cancel()  # as Ctrl-C does

    def asked():
        yield from questions(1)
        tasks.append(asyncio.ensure_future(interrupt(asyncio.current_task())))

    tasks = []
    with pytest.raises(asyncio.CancelledError):
        put(provider.deployment(), asked())
    lost_usd = put.spent_usd
    assert lost_usd > 0
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.methods == (PickMethod.LLM,)
    assert book() == [LOST, "answer"]
    assert put.spent_usd == pytest.approx(lost_usd + provider.usd)


@pytest.mark.slow
def test_two_runs_at_once_buy_each_answer_once_and_pay_once(provider, put, tmp_path, book):
    provider.behave = late(0.05)
    script = tmp_path / "beside.py"
    script.write_text(BESIDE)
    beside = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "journal.sqlite"), provider.api_base],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with beside:
        wait_until(lambda: provider.calls or beside.poll() is not None)
        mine = put(provider.deployment(), questions(25), concurrency=4)
        theirs = json.loads(beside.communicate(timeout=PATIENCE_S)[0])
    assert [list(verdict.slots) for verdict in mine] == theirs
    assert len(provider.calls) == 25
    assert Counter(book()) == {"answer": 25}


BESIDE = """
import asyncio, json, sys
from contextlib import aclosing, closing
from pathlib import Path
from tasks.lib.journal.journal import Journal
from tasks.llm_select.judge import Judge
from tasks.llm_select.cascade import JudgeSettings
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain
from tests.judge_desk import PROMPT, questions, texts

path, api_base = sys.argv[1:]
deployment = {
    "model": "openai/fake", "schema": "never", "api_base": api_base, "api_key": "none",
    "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6,
}
routes = load_chain({"models": {"mine": deployment}}, "mine", [])
calls = CallSettings(0, 64, 3, 50.0, 4, backoff_s=0.01)
settings = JudgeSettings(PROMPT, False, 1, 500, calls)

async def talk(journal):
    async with aclosing(Gateway(routes, calls, journal)) as gateway:
        return await Judge(gateway, routes, settings, texts)(questions(25))

with closing(Journal(Path(path), cap_usd=5.0)) as journal:
    verdicts = asyncio.run(talk(journal))
print(json.dumps([list(verdict.slots) for verdict in verdicts]))
"""
