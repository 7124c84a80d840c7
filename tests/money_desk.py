"""A workspace for llm_select, and checks of its ledger against the provider's book."""

import asyncio
import math
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.lib.core.schemas import BALLOTS
from tasks.lib.core.tables import read_table
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import WithoutAnswer
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_route
from tasks.lib.journal.journal import Journal
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.count_usage import Bill
from tasks.llm_select.judge import Judge
from tasks.llm_select.judge_all import judge_prompts
from tasks.llm_select.prompt import read_prompt
from tests.behaviours import FAULTS
from tests.fake_provider import USD_IN, USD_OUT
from tests.selection_desk import Desk, record
from tests.workspaces import PROJECT

SIZE = 5
SILENT = {name for name, fault in FAULTS.items() if not fault.is_reported} - {"no usage"}
"""Faults after which no reply can be read, although it may have to be paid."""
TIMEOUT_S = 6.0  # LiteLLM takes seconds over its first call when the machine is busy


class Ledger(NamedTuple):
    """A row of the journal's calls."""

    key: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: int


class MoneyDesk(Desk):
    """A desk that ranks one record per prompt, and its ledger."""

    def __init__(self, root: Path, n_prompts: int, caplog=None, *, is_reversed=False) -> None:
        self.n_prompts = n_prompts
        text = "Explain topic {} to a beginner, with two examples."
        records = [record(i, text.format(i)) for i in range(n_prompts * SIZE)]
        super().__init__(root, records, SIZE, n_prompts, caplog, is_reversed=is_reversed)

    def set(self, deployment=None, **params):
        super().set(deployment, **{"shortlist": 1} | params)

    @property
    def journal(self) -> Path:
        return self.root / ".selectllm/journal.sqlite"

    def ask(self, provider, **changes):
        """Send the questions from this process, with short waits; return those with a verdict."""
        route = load_route({"models": {"mine": provider.deployment()}}, "mine")
        usual = {"max_attempts": 12, "timeout_s": TIMEOUT_S, "concurrency": 8, "backoff_s": 0.01}
        settings = JudgeSettings(
            read_prompt(PROJECT / "tasks/llm_select/criteria.txt"),
            rationale=False,
            votes=1,
            max_candidate_chars=2000,
            calls=CallSettings(seed=0, max_answer_tokens=256, **usual | changes),
            shortlist=1,
        )
        data = self.root / "data"
        known = Candidates.read(
            *(data / tail for tail in ("cluster/prompts.parquet", "ingest/pool.parquet")),
            data / "dedupe/known.parquet",
        )

        async def talk(journal):
            async with aclosing(Gateway([route], settings.calls, journal)) as gateway:
                judge = Judge(gateway, [route], settings, known.texts)
                await judge_prompts(known.prompts, 1, [], judge, judged.append)

        judged, bill = [], Bill()
        with closing(Journal(self.journal, cap_usd=math.inf)) as journal:
            asyncio.run(talk(journal))
            verdicts = [verdict for _, verdict in filter(None, judged)]
            for verdict in verdicts:
                bill.add(verdict)
            self.bill = bill.facts(journal)
            answers = [answer for verdict in verdicts for answer in verdict.answers]
            keys = [key for verdict in verdicts for key in verdict.unanswered]
            unused, self.silent = WithoutAnswer.of(journal, [*keys, *(a.key for a in answers)])
        self.replies = [*answers, *(call.cost for call in unused)]
        return [*filter(None, judged)]

    def count(self, query):
        with closing(sqlite3.connect(self.journal)) as db:
            return db.execute(query).fetchone()[0]

    def ledger(self):
        with closing(sqlite3.connect(self.journal)) as db:
            rows = db.execute(f"SELECT {', '.join(Ledger._fields)} FROM calls").fetchall()
        return [Ledger(*row) for row in rows]

    def judged(self):
        """Return the ranked records."""
        table = read_table(self.root / "data/llm_select/ballots.parquet", BALLOTS)
        ids = [row["id"] for row in table.to_pylist() if row["rank"]]
        assert len(set(ids)) == len(ids)
        return set(ids)


def tokens(rows):
    rows = list(rows)
    return sum(row.prompt_tokens for row in rows), sum(row.completion_tokens for row in rows)


def price(used):
    return used[0] * USD_IN + used[1] * USD_OUT


def assert_covers(ledger, provider):
    """Check that the provider billed no more than the ledger says was spent."""
    ours, theirs = tokens(ledger), provider.billed_tokens
    assert ours[0] >= theirs[0]
    assert ours[1] >= theirs[1]
    assert sum(row.usd for row in ledger) >= price(theirs) - 1e-9


def assert_books_agree(ledger, provider):
    """Check that both books agree on complete replies, and that ours is higher for other calls."""
    assert len(ledger) == len(provider.book)
    known = sorted(
        (row.prompt_tokens, row.completion_tokens) for row in ledger if not row.is_upper_bound
    )
    assert known == sorted(entry.tokens for entry in provider.book if entry.is_reported)
    assert tokens(row for row in ledger if not row.is_upper_bound) == provider.reported_tokens
    assert_covers(ledger, provider)
    bought = [row.key for row in ledger if row.outcome == "answer"]
    assert len(bought) == len(set(bought))


def assert_bill_agrees(desk, provider):
    """Check that usage.json bills the replies with usage, and lists all other calls separately."""
    known = [reply for reply in desk.replies if not reply.is_upper_bound]
    assert tokens(known) == provider.reported_tokens
    assert sum(reply.usd for reply in known) == pytest.approx(price(provider.reported_tokens))
    bill = desk.bill
    assert (bill["prompt_tokens"], bill["completion_tokens"]) == tokens(desk.replies)
    assert bill["n_unknown_usage"] == len(desk.replies) - len(known)
    total = sum(row.usd for row in desk.ledger())
    assert bill["usd"] + bill["usd_without_reply"] == pytest.approx(total)
    is_silent = [entry.fault in SILENT for entry in provider.book]
    assert sum(bill["calls_without_reply"].values()) == len(desk.silent) == sum(is_silent)
