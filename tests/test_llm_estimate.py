"""The estimate of a selection, compared with a server's count for the same questions."""

import asyncio
import gzip
import json
import tempfile
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.cluster import step as cluster
from tasks.estimate.estimate import estimate
from tasks.estimate.quote_selection import quote
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.core.errors import ParamError
from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.routes import load_routes
from tasks.lib.gateway.token_count import _encodings, fewest_tokens
from tasks.lib.journal.journal import Journal
from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.prompt_size import Mode
from tasks.llm_select.candidate_texts import CandidateTexts
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.judge import Judge
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import ignore
from tests.behaviours import honest
from tests.conftest import PROJECT
from tests.fake_provider import FakeProvider
from tests.workspaces import StepWorkspace

DOLLY = PROJECT.parent / "shared" / "data" / "dolly_15k.jsonl.gz"
CRITERIA = PROJECT / "tasks/llm_select/criteria.txt"
CHINESE = "请用三句话说明为什么海水是咸的，并举一个第{}条河流的例子。"
CODE = (
    "def f_{0}(xs):\n    return [x ** {0} for x in xs if x % 2 == 0]  # explain, then speed it up"
)


def read_sample():
    lines = (PROJECT / "data/sample/instructions.jsonl").read_text(errors="replace").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    texts = {text for row in rows if isinstance(text := row.get("instruction"), str) and text}
    return [text.encode(errors="ignore").decode() for text in texts]


def read_dolly():
    with gzip.open(DOLLY, "rt") as file:
        rows = [json.loads(line) for line in file][:300]
    return list({f"{row['instruction']}\n\n{row.get('context', '')}"[:5000] for row in rows})


POOLS = {
    "sample": lambda: sorted(read_sample()),
    "chinese": lambda: [CHINESE.format(i) * 4 for i in range(60)],
    "code": lambda: [CODE.format(i) for i in range(60)],
    "dolly": lambda: sorted(read_dolly()),
}
TOKENIZERS = {
    "cl100k": lambda text: len(_encodings()[0].encode(text, disallowed_special=())) + 4,
    "o200k": lambda text: len(_encodings()[1].encode(text, disallowed_special=())) + 4,
    "bytes": lambda text: len(text.encode()) + 20,
}


def shown_of(texts, size=12):
    columns = {name: [""] * len(texts) for name in POOL.names}
    columns |= {"id": [record_id(text, "") for text in texts], "instruction": texts}
    columns["output"] = [None] * len(texts)
    clusters = (np.arange(len(texts)) % size).astype(np.int32)
    prompts = compose(clusters, -(-len(texts) // size), Mode.ACROSS, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.parquet"
        write_table(path, pa.table(columns, schema=POOL), POOL)
        is_known = np.zeros(len(texts), np.bool_)
        rows = np.arange(len(texts), dtype=np.int32)
        return Candidates(CandidateTexts(path, rows), rows, prompts, is_known)


def setup_of(shown, budget=10, **params):
    """Return the setup for these candidates: the settings in params.yaml, changed by `params`."""
    values = load_yaml(PROJECT / "params.yaml")
    quick = {"max_attempts": 2, "timeout_s": 20.0, "concurrency": 8}
    values["llm_select"] |= quick | {"budget": budget} | params
    return Setup.of(values, shown, Mode.ACROSS, PROJECT)


def routes_of(provider, **changes):
    return load_routes({"models": {"mine": provider.deployment(**changes)}})["mine"]


def counted_by(count):
    """Return an honest judge that reports the usage given by `count`."""

    def behave(call):
        response = honest(call)
        body = json.loads(response.body)
        n_in = sum(count(message["content"]) for message in call.messages)
        n_out = count(body["choices"][0]["message"]["content"])
        body["usage"] = {
            "prompt_tokens": n_in,
            "completion_tokens": n_out,
            "total_tokens": n_in + n_out,
        }
        return replace(response, body=json.dumps(body).encode(), tokens=(n_in, n_out))

    return behave


def served(provider, setup, tmp_path):
    """Return calls and tokens of the real selection."""

    async def talk(journal):
        routes = [routes_of(provider)]
        async with aclosing(Gateway(routes, setup.settings.calls, journal)) as gateway:
            judge = Judge(gateway, routes, setup.settings, setup.candidates.texts)
            await setup.judge(judge, ignore)

    with closing(Journal(tmp_path / "journal.sqlite", cap_usd=1e9)) as journal:
        asyncio.run(talk(journal))
    return len(provider.calls), *provider.tokens


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("pool", POOLS)
def test_the_actual_usage_lies_inside_the_estimate(pool, tokenizer, tmp_path):
    if pool == "dolly" and not DOLLY.exists():
        pytest.skip("the shared data folder is not next to the project")
    shown = shown_of(POOLS[pool]())
    setup = setup_of(shown, 4 * len(shown.prompts) + 1)
    with FakeProvider(counted_by(TOKENIZERS[tokenizer])) as provider:
        work = estimate(setup, [routes_of(provider)], {}).work
        used = served(provider, setup, tmp_path)
    assert work.calls[0] == used[0] == work.calls[1]
    assert work.prompt_tokens[0] <= used[1] <= work.prompt_tokens[1]
    assert work.completion_tokens[0] <= used[2] <= work.completion_tokens[1]


@pytest.fixture
def ungrouped(tmp_path):
    """Return a workspace in which dedupe has run and no vectors exist."""
    workspace = StepWorkspace(tmp_path)
    texts = POOLS["sample"]()[:90]
    columns = {name: [""] * len(texts) for name in POOL.names} | {"instruction": texts}
    columns |= {"id": [record_id(text, "") for text in texts], "output": [None] * len(texts)}
    workspace.write_no_references(0)
    workspace.write("ingest/pool.parquet", pa.table(columns, schema=POOL), POOL)
    unique = pa.table({"id": columns["id"][::-1]}, schema=UNIQUE)
    workspace.write("dedupe/unique.parquet", unique, UNIQUE)
    return workspace


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("n_prompts", "size"), [(20, None), (30, None), (None, 7)])
def test_the_estimate_is_the_same_before_and_after_clustering(ungrouped, mode, n_prompts, size):
    values = load_yaml(ungrouped.root / "params.yaml")
    k = n_prompts or 13
    values["llm_select"] |= {"budget": 2 * k, "votes": 3, "prompt": str(CRITERIA)}
    values["cluster"] |= {"mode": mode, "n_prompts": n_prompts, "candidates_per_prompt": size}
    before = quote(ungrouped.root, values, is_grouped=False)
    (ungrouped.root / "params.yaml").write_text(json.dumps(values))
    vectors = np.random.default_rng(0).standard_normal((90, 8), np.float32)
    np.save(ungrouped.file("embed/vectors.npy"), vectors)
    Stage("cluster", ungrouped.root).run(cluster.work)
    after = quote(ungrouped.root, values, is_grouped=True)
    assert before.n_prompts == after.n_prompts == k
    assert before.n_ranked == after.n_ranked
    assert before.work.calls == after.work.calls
    assert before.work.completion_tokens == after.work.completion_tokens
    least, most = after.work.prompt_tokens
    assert before.work.prompt_tokens == (pytest.approx(least, rel=0.01), most)


def test_before_clustering_a_number_of_prompts_that_does_not_fit_is_refused(ungrouped):
    values = load_yaml(ungrouped.root / "params.yaml")
    values["cluster"] |= {"n_prompts": 46, "candidates_per_prompt": None}
    with pytest.raises(ParamError, match="from 1 to 45"):
        quote(ungrouped.root, values, is_grouped=False)


@pytest.mark.parametrize("budget", [3, 20, 80])
def test_the_estimate_includes_votes_ranks_and_attention_checks(budget, tmp_path):
    shown = shown_of(POOLS["sample"]()[:90], size=6)
    asked = {"votes": 3, "rationale": True, "attention_checks": 4, "max_answer_tokens": 300}
    setup = setup_of(shown, budget, **asked)
    with FakeProvider(counted_by(TOKENIZERS["o200k"])) as provider:
        estimated = estimate(setup, [routes_of(provider)], {})
        used = served(provider, setup, tmp_path)
    assert estimated.n_ranked == {3: 5, 20: 10, 80: 30}[budget]  # the offline judge's
    for bounds, n in zip(estimated.work, used, strict=True):
        assert bounds[0] <= n <= bounds[1]


def test_a_longer_prompt_is_counted_in_every_call():
    shown = shown_of(POOLS["code"](), size=6)
    plain, asking = (setup_of(shown, rationale=asked) for asked in (False, True))
    short, long = (
        sum(len(m["content"].encode()) for m in t.prompt.messages(["x"], 1, rationale=t.rationale))
        for t in (plain.settings, asking.settings)
    )
    routes = load_routes({"models": {"x": {"model": "offline/typical", "schema": "never"}}})
    less, more = (estimate(setup, [routes["x"]], {}).work for setup in (plain, asking))
    assert more.calls[1] == 10
    assert long > short
    grown = more.prompt_tokens[1] - less.prompt_tokens[1]
    assert grown >= more.calls[1] * (long - short)


def test_the_estimate_is_priced_by_tokens_and_an_unknown_price_names_the_keys_to_set(tmp_path):
    setup = setup_of(shown_of(POOLS["code"]()))
    with FakeProvider() as provider:
        priced = routes_of(provider, input_cost_per_token=2e-6, output_cost_per_token=1e-5)
        nameless = load_routes(
            {"models": {"x": {"model": "openai/nobody-knows", "schema": "auto"}}}
        )
        estimated = estimate(setup, [priced, nameless["x"]], {})
        assert provider.calls == []
    known, unknown = estimated.costs
    for i in (0, 1):
        exact = estimated.work.prompt_tokens[i] * 2e-6 + estimated.work.completion_tokens[i] * 1e-5
        assert known.usd[i] == pytest.approx(exact)
    assert unknown.usd is None
    assert "models.x (openai/nobody-knows)" in unknown.problem
    assert "input_cost_per_token" in unknown.problem


def test_the_papers_geometry_makes_one_call_per_prompt_with_whole_texts():
    texts = [f"{i} {'long ' * 1000}" for i in range(60)]
    setup = setup_of(shown_of(texts))
    route = load_routes({"models": {"offline": {"model": "offline/typical", "schema": "never"}}})
    estimated = estimate(setup, [route["offline"]], {})
    assert estimated.paper.calls == (10, 10)
    assert estimated.paper.prompt_tokens[1] > sum(map(len, texts)) > estimated.work.prompt_tokens[1]
    assert estimated.costs[0].usd == estimated.paper_usd == (0, 0)


def test_the_estimated_time_follows_earlier_calls_and_rate_limits():
    setup = setup_of(shown_of(POOLS["code"]()))
    with FakeProvider() as provider:
        route, paced = routes_of(provider), routes_of(provider, rpm=1)
        estimated = estimate(setup, [route, paced], {route.model: (2.0, 4.0)})
    assert estimated.costs[0].seconds == (5 * 2.0 / 8, 5 * 4.0 / 8)
    assert estimated.costs[1].seconds == (300.0, 300.0)


@pytest.mark.parametrize("text", ["", "🙂" * 50, "\n" * 80, "กขค " * 30, "x" * 3000, "1" * 50])
def test_the_lower_bound_is_below_the_count_of_any_tokenizer(text):
    assert fewest_tokens(text) <= min(count(text) for count in TOKENIZERS.values())
