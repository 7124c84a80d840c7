"""Money: what the provider's own book says of runs that meet faults, kills, caps and each other."""

import asyncio
import json
import math
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ruamel.yaml import YAML

from tasks.core.errors import CurationError
from tasks.core.records import record_id
from tasks.core.schemas import POOL, PROMPTS, SELECTED
from tasks.core.stage import QUIET, Stage, run_step
from tasks.core.tables import read_table, write_table
from tasks.grouping.compose import Mode, compose
from tasks.llm.endpoint import Habits
from tasks.llm.journal.journal import Journal
from tasks.llm.judge import ModelJudge
from tasks.llm.panel import Terms
from tasks.llm.prompt import read_prompt
from tasks.llm.routes import load_route
from tasks.llm.rules import Rules
from tasks.llm.shown import Shown
from tasks.llm_select import llm_select, work
from tests.conftest import PROJECT
from tests.fake_provider import USD_IN, USD_OUT, Call, Response, fails, honest, says
from tests.metered_provider import FAULTS, MeteredProvider, faulty

SIZE = 5
TIMEOUT_S = 6.0  # LiteLLM takes seconds over its first call when the machine is busy


class Ledger(NamedTuple):
    """A row of the journal's calls."""

    key: str
    outcome: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_bound: int


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
        prompts = compose(clusters, SIZE, Mode.ACROSS, 0)
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

    def select(self, provider, **habits):
        """The same in this process and with short waits, as a selection."""
        route = load_route({"models": {"mine": provider.deployment()}}, "mine")
        usual = {"max_attempts": 12, "timeout_s": TIMEOUT_S, "concurrency": 8, "backoff_s": 0.01}
        terms = Terms(
            read_prompt(PROJECT / "tasks/llm/prompts/criteria.txt"),
            rationale=False,
            votes=1,
            max_candidate_chars=2000,
            habits=Habits(seed=0, max_answer_tokens=256, **usual | habits),
        )
        data = self.root / "data"
        known = Shown.read(data / "cluster/prompts.parquet", data / "ingest/pool.parquet")
        rules = Rules((self.n_prompts,), SIZE, Mode.ACROSS, 0)

        async def talk(journal):
            judge = ModelJudge([route], terms, known.texts, journal, lambda: None)
            try:
                return await llm_select(known.prompts, known.clusters, rules, judge)
            finally:
                await judge.close()

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


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path / "desk", 16)


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
    known = sorted((row.prompt_tokens, row.completion_tokens) for row in ledger if not row.is_bound)
    assert known == sorted(entry.tokens for entry in provider.book if entry.is_told)
    assert tokens(row for row in ledger if not row.is_bound) == provider.told_tokens
    assert_covers(ledger, provider)
    bought = [row.key for row in ledger if row.outcome == "answer"]
    assert len(bought) == len(set(bought))


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_survives_a_fault_and_the_books_agree(desk, name):
    with MeteredProvider(faulty([name], rate=0.3, seed=3)) as provider:
        selection = desk.select(provider)
        assert name in {entry.fault for entry in provider.book}
    chosen = [pick.candidate for pick in selection.selected]
    assert len(chosen) == len(set(chosen)) == desk.n_prompts
    assert not selection.is_partial
    assert_books_agree(desk.ledger(), provider)
    if FAULTS[name].is_told:
        assert max(provider.n_answers.values()) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_run_survives_a_mixture_of_all_faults_and_the_books_agree(desk, seed):
    with MeteredProvider(faulty(FAULTS, rate=0.3, seed=seed)) as provider:
        selection = desk.select(provider)
    chosen = [pick.candidate for pick in selection.selected]
    assert len(chosen) == len(set(chosen)) == desk.n_prompts
    assert_books_agree(desk.ledger(), provider)
    assert max(provider.n_answers.values()) == 1


N_KILLS = 20
CONCURRENCY = 8


def some_prose(seed):
    """Faults at random, and prose whenever certain questions are first put."""
    others = faulty(("500", "429 with Retry-After", "body cut short"), rate=0.1, seed=seed)

    def choose(call):
        is_first = not call.is_reask
        return "prose" if is_first and "topic 1" in call.block.texts[0] else others(call)

    return choose


@pytest.fixture(scope="module")
def forked():
    """Starts the step in the current folder as a process of its own, LiteLLM loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["litellm", "tasks.llm_select", "tasks.llm.client"])
    old = dict(os.environ)
    os.environ.update(QUIET)  # what the step would set before it loads LiteLLM
    os.environ.pop("DVC_ROOT", None)

    def start():
        process = context.Process(target=run_step, args=("llm_select", work))
        process.start()
        return process

    yield start
    os.environ.clear()
    os.environ.update(old)


@pytest.mark.slow
def test_killed_at_20_moments_a_run_ends_in_the_same_bytes_and_buys_nothing_twice(
    tmp_path, monkeypatch, forked
):
    killed, undisturbed = (Desk(tmp_path / name, 100) for name in ("killed", "undisturbed"))
    rng = random.Random(5)
    with MeteredProvider(some_prose(5), latency_s=(0.02, 0.06)) as provider:
        killed.set(provider.deployment(), concurrency=CONCURRENCY)
        monkeypatch.chdir(killed.root)
        for i in range(N_KILLS):
            n_before = len(provider.book)
            process = forked()
            if i % 4 == 0:  # at any time, also before the first call
                time.sleep(rng.uniform(0.05, 1.0))
            else:  # amid the calls
                n_calls = rng.randint(1, 9)
                while len(provider.book) < n_before + n_calls and process.is_alive():
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.06))
            assert process.is_alive(), f"it had ended before kill {i + 1}"
            process.kill()
            process.join()
        last = killed.step()
        assert last.wait(60) == 0, last.stderr.read()
        last.communicate()
    with MeteredProvider(some_prose(9)) as other:
        undisturbed.set(other.deployment(), concurrency=CONCURRENCY)
        monkeypatch.chdir(undisturbed.root)
        process = forked()
        process.join()
        assert process.exitcode == 0
    assert killed.outputs() == undisturbed.outputs()
    ledger = killed.ledger()
    outcomes = [row.outcome for row in ledger]
    n_lost = outcomes.count("lost")
    assert N_KILLS // 2 <= n_lost <= N_KILLS * CONCURRENCY
    assert outcomes.count("answer") == len({row.key for row in ledger}) == killed.n_prompts
    assert len(provider.book) <= len(ledger)  # the rest was killed on its way
    assert "open" not in outcomes
    assert_covers(ledger, provider)


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_provider_s_bill_stays_under_the_cap_and_a_higher_one_completes(
    tmp_path, monkeypatch, caplog, concurrency
):
    desk = Desk(tmp_path / "desk", 80)
    monkeypatch.chdir(desk.root)
    names = ("500", "prose", "429 with Retry-After", "body cut short", "no usage", "too long")
    chooser = faulty(names, rate=0.2, seed=concurrency)
    with MeteredProvider(chooser, latency_s=(0.0, 0.05)) as provider:
        for max_usd in (0.0, 0.02, 0.04, 1.0):
            desk.set(provider.deployment(), concurrency=concurrency, max_usd=max_usd)
            caplog.clear()
            exit_code = desk.run()
            bill, is_whole = price(provider.billed_tokens), max_usd == 1.0
            assert bill <= max_usd
            assert exit_code == 0, caplog.text
            usage = desk.usage()
            assert usage["partial"] == (None if is_whole else "max_usd")
            assert len(desk.selected()) == usage["selected"]
            if is_whole:
                assert usage["selected"] == desk.n_prompts
            else:
                assert ("PARTIAL" in caplog.text) and usage["selected"] < desk.n_prompts
                assert bill >= max_usd / 3  # it does spend what it may
    assert_books_agree(desk.ledger(), provider)


@pytest.mark.slow
def test_two_runs_at_once_buy_each_answer_once(tmp_path):
    first = Desk(tmp_path / "first", 60)
    second = Desk(tmp_path / "second", 60, is_reversed=True)  # else it would trail behind
    with MeteredProvider(latency_s=(0.2, 0.4)) as provider:
        for desk in (first, second):
            desk.set(provider.deployment(), concurrency=4)
        shared = {"DVC_ROOT": str(first.root)}  # as in the copies that DVC makes for experiments
        steps = [desk.step(**shared) for desk in (first, second)]
        said = [step.communicate(timeout=100)[1] for step in steps]
    assert [step.returncode for step in steps] == [0, 0], said
    assert len(provider.book) == first.n_prompts
    assert_books_agree(first.ledger(), provider)
    assert first.selected() == second.selected()
    runs = first.count("SELECT count(DISTINCT run) FROM calls WHERE outcome = 'answer'")
    assert runs == 2  # both did buy


KEYS = {"MY_API_KEY": "sk-live-Zq7PbN3vXw9LmR2tYh5K", "LOGIN": "gH4kVd8sJ1cTfB6nWx0u"}


def tells_the_key(call: Call) -> Response:
    """Whatever it says, it says the key that it was sent."""
    key = call.headers["authorization"]
    slot = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])["picks"]
    behaviours = [
        fails(429, f"Rate limit reached for {key}", retry_after=0.01),
        fails(500, f"cannot serve {key}"),
        says(f"I will not choose for {key}."),
        says(json.dumps({"picks": slot, "key": key, "reasons": [f"because {key}"]})),
        says(json.dumps({"picks": slot}), finish_reason=key),
        says(json.dumps({"picks": slot}), model=key),
        fails(400, f"content policy: {key}", code="content_policy_violation"),
    ]
    return behaviours[call.n % len(behaviours)](call)


def refuses_the_key(call: Call) -> Response:
    return fails(401, f"Incorrect API key: {call.headers['authorization']}")(call)


@pytest.mark.slow
def test_a_key_is_nowhere_in_what_a_run_leaves_behind_or_says(tmp_path):
    desk = Desk(tmp_path / "desk", 20)
    events = desk.root / "events.jsonl"
    said = []
    with MeteredProvider() as provider:
        both = [provider.deployment(api_key=f"os.environ/{name}") for name in KEYS]
        for ends_with in (0, 2):
            provider.behave = refuses_the_key if ends_with else tells_the_key
            desk.set(both, concurrency=4, rationale=not ends_with)
            step = desk.step(**KEYS, SELECTLLM_EVENTS=str(events))
            said += step.communicate(timeout=100)
            assert step.returncode == ends_with, said
    heard = {call.headers["authorization"] for call in provider.calls}
    assert heard == {f"Bearer {key}" for key in KEYS.values()}
    assert events.exists()
    left = {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()}
    left[Path("said")] = "".join(said).encode()
    pieces = [key[i : i + 8].encode() for key in KEYS.values() for i in range(len(key) - 7)]
    assert [str(p) for p, content in left.items() if any(each in content for each in pieces)] == []
