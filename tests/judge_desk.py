"""Questions, and a function that sends them, with one journal for the whole test."""

import asyncio
import sqlite3
from contextlib import aclosing, closing

import numpy as np
import pytest

from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_chain
from tasks.lib.journal.journal import Journal
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.verdicts import Question
from tests.behaviours import fails, honest, says
from tests.fake_provider import FakeProvider
from tests.workspaces import PROJECT

PROMPT = read_prompt(PROJECT / "tasks/llm_select/criteria.txt")
SIZE = 3
NOISE = "zzz"
TOO_LONG = fails(400, "This model's maximum context length is 4096 tokens")
FILTERED = fails(400, "blocked by the content policy")
USELESS = says("I cannot choose.")


def texts(candidates):
    """Return texts; every third text is noise, which comes last in the alphabet."""
    return [
        NOISE if i % SIZE == 1 else f"Explain item {i} of the list, and give an example of it."
        for i in candidates
    ]


def questions(n, n_ranked=1, size=SIZE):
    return [Question(i + 1, np.arange(i * size, (i + 1) * size), n_ranked) for i in range(n)]


def chosen(question, verdict):
    return [int(question.candidates[slot - 1]) for slot in verdict.slots]


def on(item, then, otherwise=honest):
    """Return a behaviour that behaves like `then` if the candidate `item` is shown."""

    def behave(call):
        sees = any(f"item {item} " in text for text in call.block.texts)
        return (then if sees else otherwise)(call)

    return behave


@pytest.fixture(scope="session")
def warm_client():
    """Make LiteLLM's first call, which takes seconds, before tests with short deadlines."""

    async def talk(litellm, **call):
        await litellm.acompletion(model="openai/fake", api_key="none", **call)
        await litellm.close_litellm_async_clients()

    with FakeProvider(says("ready")) as server:
        question = [{"role": "user", "content": "Are you ready?"}]
        asyncio.run(talk(load_litellm(), api_base=server.api_base, messages=question))


@pytest.fixture
def provider(warm_client):
    with FakeProvider() as server:
        yield server


@pytest.fixture
def second():
    with FakeProvider() as server:
        yield server


@pytest.fixture
def my_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", "key-0123456789")


@pytest.fixture
def put(tmp_path):
    """Return a function that sends questions, with one journal for the whole test."""

    def put(
        deployment,
        asked,
        *fallbacks,
        concurrency=4,
        max_attempts=3,
        timeout_s=50.0,
        seed=0,
        votes=1,
        rationale=False,
        shortlist=3,
        cap_usd=5.0,
        alias="mine",
    ):
        chain = {alias: deployment} | {
            f"other{i}": fallback for i, fallback in enumerate(fallbacks)
        }
        routes = load_chain({"models": chain}, alias, [*chain][1:])
        calls = CallSettings(seed, 64, max_attempts, timeout_s, concurrency, backoff_s=0.01)
        settings = JudgeSettings(PROMPT, rationale, votes, 500, calls, shortlist)
        put.n_done, verdicts = 0, []

        def advance():
            put.n_done += 1

        def receive(judged):
            verdicts.append(judged and judged.verdict)

        async def talk(journal):
            async with aclosing(Gateway(routes, calls, journal)) as gateway:
                await Judge(gateway, routes, settings, texts, advance)(iter(asked), receive)

        with closing(Journal(tmp_path / "journal.sqlite", cap_usd=cap_usd)) as journal:
            try:
                asyncio.run(talk(journal))
            finally:
                put.spent_usd = journal.spent_usd
        return verdicts

    return put


@pytest.fixture
def book(tmp_path):
    """Return a function that reads columns of the journal's calls, in order."""

    def book(columns="outcome"):
        with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db:
            rows = db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()
        return [row[0] for row in rows] if "," not in columns else rows

    return book
