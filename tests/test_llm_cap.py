"""The spending cap and interrupted runs: what is bought, and how often."""

import asyncio
import signal

import pytest

from tasks.lib.journal.models import LOST
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import late
from tests.fake_provider import USD_IN
from tests.judge_desk import USELESS, questions


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_cap_is_not_exceeded_and_the_run_ends_cleanly(provider, put, concurrency):
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


def test_a_cap_of_zero_buys_nothing(provider, put):
    verdicts = put(provider.deployment(), questions(9), cap_usd=0.0)
    assert set(verdicts) == {None}
    assert not provider.calls


def test_a_free_call_is_made_even_if_the_cap_is_used_up(provider, put):
    free = provider.deployment(input_cost_per_token=0.0, output_cost_per_token=0.0)
    assert None not in put(free, questions(3), cap_usd=0.0)


def test_unusable_and_late_replies_count_towards_the_cap(provider, put):
    provider.behave = USELESS
    verdicts = put(provider.deployment(), questions(100), cap_usd=0.02)
    assert sum(verdict is not None for verdict in verdicts) < 100
    assert provider.usd == pytest.approx(put.spent_usd)
    assert put.spent_usd <= 0.02


def test_an_interrupted_call_counts_in_full_and_is_made_again(provider, put, book):
    provider.script(late(60))

    async def interrupt():
        while not provider.calls:
            await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    def asked():
        yield from questions(1)
        tasks.append(asyncio.ensure_future(interrupt()))

    tasks = []
    with pytest.raises(KeyboardInterrupt):
        put(provider.deployment(), asked())
    lost_usd = put.spent_usd
    assert lost_usd > 0
    (verdict,) = put(provider.deployment(), questions(1))
    assert verdict.methods == (PickMethod.LLM,)
    assert book() == [LOST, "answer"]
    assert put.spent_usd == pytest.approx(lost_usd + provider.usd)
