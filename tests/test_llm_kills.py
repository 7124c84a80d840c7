"""Killed and concurrent runs: nothing is bought twice, and the outputs are the same."""

import multiprocessing
import random
import time

import pytest

from tasks.lib.core.stage import QUIET, run_step
from tasks.llm_select.step import work
from tests.fake_provider import FakeProvider, fault, faulty
from tests.money_desk import MoneyDesk, assert_books_agree, assert_covers
from tests.workspaces import PATIENCE_S

N_KILLS = 10
CONCURRENCY = 8


def some_prose(seed):
    """Return a behaviour with random faults, and with prose in some first replies."""
    others = faulty(("500", "429 with Retry-After", "body cut short"), rate=0.1, seed=seed)

    def behave(call):
        is_chatty = not call.is_reask and "topic 1" in call.block.texts[0]
        return (fault("prose") if is_chatty else others)(call)

    return behave


@pytest.fixture(scope="module")
def forked():
    """Return a function that starts the step as a process with LiteLLM already loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["litellm", "tasks.llm_select.step", "tasks.lib.gateway.endpoint"]
    )

    def start():
        process = context.Process(target=run_step, args=("llm_select", work))
        process.start()
        return process

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in QUIET.items():  # what the step would set before it loads LiteLLM
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        yield start


@pytest.mark.slow
def test_a_run_killed_at_any_moment_gives_the_same_bytes_and_buys_nothing_twice(
    tmp_path, monkeypatch, forked
):
    killed, undisturbed = (MoneyDesk(tmp_path / name, 100) for name in ("killed", "undisturbed"))
    rng = random.Random(5)
    with FakeProvider(some_prose(5), latency_s=(0.02, 0.06)) as provider:
        killed.set(provider.deployment(), concurrency=CONCURRENCY)
        monkeypatch.chdir(killed.root)
        for i in range(N_KILLS):
            n_before = len(provider.book)
            process = forked()
            if i % 4 == 0:  # at any time, also before the first call
                process.join(rng.uniform(0.05, 1.0))
            else:  # amid the calls
                n_calls = rng.randint(1, 9)
                while len(provider.book) < n_before + n_calls and process.is_alive():
                    time.sleep(0.001)
                process.join(rng.uniform(0, 0.06))
            assert process.is_alive(), f"it had ended before kill {i + 1}"
            process.kill()
            process.join()
        last = killed.run_program()
        assert last.returncode == 0, last.stderr
    with FakeProvider(some_prose(9)) as other:
        undisturbed.set(other.deployment(), concurrency=CONCURRENCY)
        monkeypatch.chdir(undisturbed.root)
        process = forked()
        process.join()
        assert process.exitcode == 0
    assert killed.bytes() == undisturbed.bytes()
    ledger = killed.ledger()
    outcomes = [row.outcome for row in ledger]
    n_lost = outcomes.count("lost")
    assert N_KILLS // 2 <= n_lost <= N_KILLS * CONCURRENCY
    assert outcomes.count("answer") == len({row.key for row in ledger}) == killed.n_prompts
    assert len(provider.book) <= len(ledger)  # the rest was killed on its way
    assert "open" not in outcomes
    assert_covers(ledger, provider)


@pytest.mark.slow
def test_two_runs_at_once_buy_each_answer_once(tmp_path):
    first = MoneyDesk(tmp_path / "first", 60)
    second = MoneyDesk(tmp_path / "second", 60, is_reversed=True)  # else it would trail behind
    with FakeProvider(latency_s=(0.2, 0.4)) as provider:
        for desk in (first, second):
            desk.set(provider.deployment(), concurrency=4)
        shared = {"DVC_ROOT": str(first.root)}  # as in the copies that DVC makes for experiments
        steps = [desk.start(**shared) for desk in (first, second)]
        messages = [step.communicate(timeout=PATIENCE_S)[1] for step in steps]
    assert [step.returncode for step in steps] == [0, 0], messages
    assert len(provider.book) == first.n_prompts
    assert_books_agree(first.ledger(), provider)
    assert first.judged() == second.judged()
    runs = first.count("SELECT count(DISTINCT run) FROM calls WHERE outcome = 'answer'")
    assert runs == 2  # both did buy
