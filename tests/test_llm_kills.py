"""Killed and concurrent runs: nothing is bought twice, and the outputs are the same."""

import multiprocessing
import os
import random
import signal
import time

import pytest

from tasks.lib.batches import job as batch_job
from tasks.lib.batches.store import Phase, StoredBatch
from tasks.lib.core.stage import QUIET, run_step
from tasks.lib.gateway.routes import load_route
from tasks.llm_select.step import work
from tests.behaviours import fault, faulty, honest
from tests.fake_provider import FakeProvider
from tests.money_desk import MoneyDesk, assert_books_agree, assert_covers, price
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


def without_usage(desk):
    return {name: content for name, content in desk.bytes().items() if name != "usage.json"}


def select():
    run_step("llm_select", work)


@pytest.fixture(scope="module")
def forked():
    """Return a function that starts the step as a process with LiteLLM already loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["litellm", "tasks.llm_select.step", "tasks.lib.gateway.endpoint"]
    )

    def start(target=select):
        process = context.Process(target=target)
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
    usages = [desk.usage() for desk in (killed, undisturbed)]
    n_silent = usages[0]["calls_without_reply"]
    for usage in usages:  # only these two differ, since they say what the kills may have cost
        del usage["calls_without_reply"], usage["usd_without_reply"]
    assert usages[0] == usages[1]
    assert without_usage(killed) == without_usage(undisturbed)
    ledger = killed.ledger()
    outcomes = [row.outcome for row in ledger]
    n_lost = outcomes.count("lost")
    assert N_KILLS // 2 <= n_lost <= N_KILLS * CONCURRENCY
    assert n_silent["lost"] == n_lost
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


def batch_step():
    """Run the step without waiting for a lost batch to appear in the list."""
    batch_job.APPEAR_S = 0.0
    run_step("llm_select", work)


MOMENTS = [
    *[
        (request, is_done)
        for request in ("POST /v1/files", "POST /v1/batches")
        for is_done in (0, 1)
    ],
    *[("GET /v1/batches/", is_done) for is_done in (0, 1, 0, 1)],
    *[("GET /v1/files/", is_done) for is_done in (0, 1)],
]
"""A request for files or batches at which the run is killed, before or after it is done."""
N_STORED = (4, 9, 15, 22, 30, 38, 45, 51, 56)  # replies in the journal at which it is killed


def leave_finished_batch(desk, provider):
    """Leave what a run leaves that is killed after it has settled the last call of a batch."""
    (mine,) = load_route({"models": {"mine": provider.deployment()}}, "mine").deployments
    batch = StoredBatch.new(desk.journal, mine)
    batch.save(phase=Phase.READY)
    batch.release()


@pytest.mark.slow
def test_a_batch_run_killed_at_20_moments_gives_the_bytes_of_single_calls_and_buys_nothing_twice(
    tmp_path, monkeypatch, forked
):
    killed, undisturbed = (MoneyDesk(tmp_path / name, 60) for name in ("killed", "undisturbed"))
    children = []
    with FakeProvider() as provider:
        killed.set(provider.deployment(), batch=True, concurrency=2)
        monkeypatch.chdir(killed.root)

        def run(kill_at=None, n_stored=None):
            def notice(request, is_done):
                is_now = kill_at and request.startswith(kill_at[0]) and is_done == kill_at[1]
                if is_now:
                    children[-1].kill()
                return is_now

            provider.batches.notice = notice
            children.append(forked(batch_step))
            while n_stored and killed.count("SELECT count(*) FROM answers") < n_stored:
                time.sleep(0.001)
            if n_stored:
                children[-1].kill()
            children[-1].join(PATIENCE_S)
            return children[-1].exitcode

        def answer_and_kill(call):
            children[-1].kill()
            return honest(call)

        provider.script(answer_and_kill)  # the first call, which goes alone
        assert run() == -signal.SIGKILL
        for moment in MOMENTS:
            assert run(kill_at=moment) == -signal.SIGKILL, moment
        for n_stored in N_STORED:
            assert run(n_stored=n_stored) == -signal.SIGKILL, n_stored
        assert run() == 0
        leave_finished_batch(killed, provider)
        assert run() == 0
        assert len(provider.batches.sizes) == 1
    assert len(children) > N_KILLS
    with FakeProvider() as other:
        undisturbed.set(other.deployment())
        monkeypatch.chdir(undisturbed.root)
        process = forked()
        process.join()
        assert process.exitcode == 0
    assert killed.bytes()["ballots.parquet"] == undisturbed.bytes()["ballots.parquet"]
    bought = provider.n_answers
    assert len(bought) == killed.n_prompts
    assert bought.total() == killed.n_prompts + 1  # the first call was in flight when it was killed
    assert "open" not in [row.outcome for row in killed.ledger()]
    assert list((killed.root / ".selectllm/batches").glob("*.json")) == []
    _, first, *others = (price(entry.tokens) for entry in provider.book)
    usd = sum(row.usd for row in killed.ledger() if row.outcome == "answer")
    assert usd == pytest.approx(first + sum(others) / 2)


@pytest.mark.slow
def test_an_interrupted_wait_for_a_batch_ends_at_once_and_a_batch_that_expires_can_stop_the_run(
    tmp_path, monkeypatch, forked
):
    desk = MoneyDesk(tmp_path / "desk", 20)
    monkeypatch.chdir(desk.root)
    with FakeProvider() as provider:
        desk.set(provider.deployment(), batch=True, batch_rest="stop")
        provider.batches.n_looks, provider.batches.share = 10**6, 0.5
        provider.batches.status = "expired"
        process = forked()
        while "GET /v1/batches/batch_1" not in provider.batches.requests and process.is_alive():
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGINT)
        process.join(PATIENCE_S)
        assert process.exitcode == 130
        provider.batches.batches["batch_1"]["looks"] = 0
        process = forked()  # it continues with the batch
        process.join(PATIENCE_S)
        assert process.exitcode == 2
        provider.batches.n_looks, provider.batches.share = 0, 1.0
        provider.batches.status = "completed"
        process = forked()  # it sends the rest in a new batch
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    assert len(provider.batches.sizes) == 2
    assert len(provider.n_answers) == provider.n_answers.total() == desk.n_prompts
