"""Questions that are sent in batches, with one journal for the whole test."""

import asyncio
import gc
import warnings
from contextlib import aclosing, closing, contextmanager

import pytest

from tasks.lib.batches import job as batch_job
from tasks.lib.batches.buyer import BatchBuyer
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain
from tasks.lib.journal.journal import Journal
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.verdicts import ignore
from tests.behaviours import fails
from tests.fake_provider import USD_IN, USD_OUT
from tests.judge_desk import PROMPT, texts

N = 6
MAX_ATTEMPTS = 3


@contextmanager
def unclosed_clients():
    """Accept that LiteLLM leaves the connections of batch endpoints to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        finally:
            gc.collect()


class Batches:
    """Questions that are sent in batches, with one journal for the whole test."""

    def __init__(self, folder):
        self.journal = folder / "journal.sqlite"
        self.unanswered = set()
        self.spent_usd = 0.0

    def ask(self, deployment, asked, *fallbacks, votes=1, cap_usd=5.0, is_buying=True, **changes):
        """Return the verdicts after batches and single calls."""
        chain = {"mine": deployment} | {f"other{i}": route for i, route in enumerate(fallbacks)}
        routes = load_chain({"models": chain}, "mine", [*chain][1:])
        usual = {"max_attempts": MAX_ATTEMPTS, "timeout_s": 50.0, "concurrency": 4}
        calls = CallSettings(0, max_answer_tokens=64, backoff_s=0.01, **usual | changes)
        settings = JudgeSettings(PROMPT, False, votes, 500, calls, 3)

        verdicts = []

        def receive(judged):
            verdicts.append(judged and judged.verdict)

        async def talk(journal):
            async with aclosing(Gateway(routes, calls, journal)) as gateway:
                buyer = BatchBuyer(gateway, routes[0], calls, journal, is_buying=is_buying)
                await buyer.buy(
                    lambda source: Judge(source, routes, settings, texts)(asked, ignore)
                )
                self.unanswered = buyer.unanswered
                await Judge(gateway, routes, settings, texts)(asked, receive)

        with closing(Journal(self.journal, cap_usd=cap_usd)) as journal, unclosed_clients():
            try:
                asyncio.run(talk(journal))
            finally:
                self.spent_usd = journal.spent_usd
        return verdicts

    @property
    def left(self):
        """The files of unfinished batches."""
        return sorted(path.suffix for path in (self.journal.parent / "batches").glob("*"))


@pytest.fixture
def batches(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_job, "APPEAR_S", 0.0)  # a lost batch is in the list at once
    return Batches(tmp_path)


def rankings(verdicts):
    return [verdict.slots for verdict in verdicts]


def price(entries):
    return sum(entry.tokens[0] * USD_IN + entry.tokens[1] * USD_OUT for entry in entries)


def error(status):
    return fails(status)(None)
