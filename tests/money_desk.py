"""A workspace with prompts for llm_select, and how its books are held against the provider's."""

import asyncio
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ruamel.yaml import YAML

from tasks.lib.core.errors import CurationError
from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import POOL, PROMPTS, SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_route
from tasks.lib.journal.journal import Journal
from tasks.lib.prompts.compose import Mode, compose
from tasks.lib.prompts.plan import TournamentPlan
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.cascade import JudgeSettings
from tasks.llm_select.judge import Judge
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.step import llm_select, work
from tests.conftest import PROJECT
from tests.fake_provider import USD_IN, USD_OUT

SIZE = 5
TIMEOUT_S = 6.0  # LiteLLM takes seconds over its first call when the machine is busy


class Ledger(NamedTuple):
    """A row of the journal's calls."""

    key: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: int


class Desk:
    """A workspace in which prompts are ready for llm_select."""

    def __init__(self, root: Path, n_prompts: int, *, is_reversed: bool = False) -> None:
        self.root, self.n_prompts = root, n_prompts
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "tasks", root / "tasks", ignore=skipped)
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(PROJECT / name, root / name)
        n = n_prompts * SIZE
        records = [
            {
                "id": record_id(f"Explain topic {i} to a beginner, with two examples.", ""),
                "instruction": f"Explain topic {i} to a beginner, with two examples.",
                "input": "",
                "output": None,
                "source": f"pool.jsonl:{i + 1}",
                "extra": "{}",
            }
            for i in range(n)
        ]
        clusters = (np.arange(n) % SIZE).astype(np.int32)
        prompts = compose(clusters, n_prompts, Mode.ACROSS, 0)
        rows = [
            {"prompt": p + 1, "slot": s + 1, "id": records[i]["id"], "cluster": clusters[i] + 1}
            for p, prompt in enumerate(prompts[::-1] if is_reversed else prompts)
            for s, i in enumerate(prompt)
        ]
        for folder in ("ingest", "cluster"):
            (root / "data" / folder).mkdir(parents=True)
        write_table(root / "data/ingest/pool.parquet", records, POOL)
        write_table(root / "data/cluster/prompts.parquet", rows, PROMPTS)
        facts = {"mode": "across", "candidates_per_prompt": SIZE, "n_prompts": n_prompts}
        (root / "data/cluster/clusters.json").write_text(json.dumps(facts))

    @property
    def journal(self) -> Path:
        return self.root / ".selectllm/journal.sqlite"

    def set(self, deployment, **params):
        """Ask this deployment, in a short while and with these parameters."""
        yaml = YAML(typ="safe")
        values = yaml.load((self.root / "params.yaml").read_text())
        ours = {"budget": self.n_prompts, "route": "mine", "timeout_s": 60.0}
        values["llm_select"] |= ours | params
        values["models"]["mine"] = deployment
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(values, file)

    def step(self, **env):
        """The step as DVC starts it."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tasks.llm_select"],
            cwd=self.root,
            env={name: v for name, v in os.environ.items() if name != "DVC_ROOT"} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def select(self, provider, **changes):
        """The same in this process and with short waits, as a selection."""
        route = load_route({"models": {"mine": provider.deployment()}}, "mine")
        usual = {"max_attempts": 12, "timeout_s": TIMEOUT_S, "concurrency": 8, "backoff_s": 0.01}
        settings = JudgeSettings(
            read_prompt(PROJECT / "tasks/llm_select/criteria.txt"),
            rationale=False,
            votes=1,
            max_candidate_chars=2000,
            calls=CallSettings(seed=0, max_answer_tokens=256, **usual | changes),
        )
        data = self.root / "data"
        known = Candidates.read(data / "cluster/prompts.parquet", data / "ingest/pool.parquet")
        plan = TournamentPlan((self.n_prompts,), SIZE, Mode.ACROSS, 0)

        async def talk(journal):
            gateway = Gateway([route], settings.calls, journal)
            judge = Judge(gateway, [route], settings, known.texts)
            try:
                return await llm_select(known.prompts, known.clusters, plan, judge)
            finally:
                await gateway.close()

        with closing(Journal(self.journal, cap_usd=math.inf)) as journal:
            return asyncio.run(talk(journal))

    def run(self):
        """The step in this process; the exit code that it would end with."""
        try:
            Stage("llm_select", self.root).run(work)
        except CurationError as error:
            return error.exit_code
        return 0

    def count(self, query):
        with closing(sqlite3.connect(self.journal)) as db:
            return db.execute(query).fetchone()[0]

    def ledger(self):
        with closing(sqlite3.connect(self.journal)) as db:
            rows = db.execute(f"SELECT {', '.join(Ledger._fields)} FROM calls").fetchall()
        return [Ledger(*row) for row in rows]

    def usage(self):
        return json.loads((self.root / "data/llm_select/usage.json").read_text())

    def selected(self):
        table = read_table(self.root / "data/llm_select/selected.parquet", SELECTED)
        ids = set(table["id"].to_pylist())
        assert len(ids) == table.num_rows
        return ids

    def outputs(self):
        return {path.name: path.read_bytes() for path in (self.root / "data/llm_select").iterdir()}


def tokens(rows):
    rows = list(rows)
    return sum(row.prompt_tokens for row in rows), sum(row.completion_tokens for row in rows)


def price(used):
    return used[0] * USD_IN + used[1] * USD_OUT


def assert_covers(ledger, provider):
    """No bill can be more than what the ledger says was spent."""
    ours, theirs = tokens(ledger), provider.billed_tokens
    assert ours[0] >= theirs[0]
    assert ours[1] >= theirs[1]
    assert sum(row.usd for row in ledger) >= price(theirs) - 1e-9


def assert_books_agree(ledger, provider):
    """Ours and the provider's: equal for what arrived whole, ours the higher for the rest."""
    assert len(ledger) == len(provider.book)
    known = sorted(
        (row.prompt_tokens, row.completion_tokens) for row in ledger if not row.is_upper_bound
    )
    assert known == sorted(entry.tokens for entry in provider.book if entry.is_told)
    assert tokens(row for row in ledger if not row.is_upper_bound) == provider.told_tokens
    assert_covers(ledger, provider)
    bought = [row.key for row in ledger if row.outcome == "answer"]
    assert len(bought) == len(set(bought))
