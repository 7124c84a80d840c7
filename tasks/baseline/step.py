"""Choose as many records by other methods, for a selection to be held against."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.baseline.by_score import BY_RESPONSE, Score
from tasks.baseline.methods import IN_PROMPTS, SCORED, Choice, Method, Pool, choices, too_much
from tasks.baseline.rater import Ratings
from tasks.baseline.ratings import RatingParams, check_route, rate
from tasks.baseline.response_model import MAX_TOKENS
from tasks.baseline.response_scores import response_scores
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_budgets, load_section, load_seed
from tasks.lib.core.schemas import PROMPTS, SELECTIONS
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.gateway.local_server import require_local
from tasks.lib.gateway.routes import load_route
from tasks.lib.prompts.geometry import Geometry, Mode
from tasks.lib.prompts.plan import TournamentPlan, read_plan
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows

MethodName = Annotated[Method, Field(strict=False)]  # a string in YAML


class Baseline(RatingParams):
    """Section baseline of params.yaml."""

    methods: Annotated[list[MethodName], Field(min_length=1)]
    n_seeds: Annotated[int, Field(ge=1, le=1000)]
    response_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)]


def check(values: Mapping[str, Any]) -> Baseline:
    """The checked section, and what it names; the seed is checked, too.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range; the route is
            unknown, or cannot rate where a method wants ratings; or a method needs the local
            model, which is not installed.
    """
    load_seed(values)
    params = load_section(values, "baseline", Baseline)
    load_route(values, params.route, "baseline.route")  # DVC wants it to be there
    if Score.RATING in _wanted(params):
        check_route(values, params)
    for method in params.methods:
        if SCORED.get(method) in BY_RESPONSE:
            require_local(
                where=f"{PARAMS_FILE}: baseline.methods: {method}", instead="leave it out"
            )
    return params


def baseline(
    pool: Pool, params: Baseline, budget: int, seed: int
) -> Iterator[tuple[Method, list[Choice]]]:
    """Each method that `params` names, in its order and once, with all its choices.

    Every choice holds exactly `budget` distinct rows. A method that cannot do with so many records
    has no choice.

    Args:
        pool: At least `budget` records.
        params: Which methods, and with how many seeds those that are nothing but chance.
        budget: How many rows to choose, at least 1.
        seed: The first seed.
    """
    for method in dict.fromkeys(params.methods):
        yield method, list(choices(method, pool, budget, seed, params.n_seeds))


def work(stage: Stage) -> None:
    """Read the pool and its prompts, write what each method would choose."""
    params, seed = check(stage.values), load_seed(stage.values)
    budgets = load_budgets(stage.values)
    budget = budgets[-1]
    corpus = Corpus.read(
        stage.dep("ingest/pool.parquet"),
        stage.dep("dedupe/unique.parquet"),
        stage.dep("embed/vectors.npy"),
    )
    _check_budget(budget, len(corpus.ids))
    prompts = {}
    if IN_PROMPTS.intersection(params.methods):
        plan = read_plan(stage.dep("cluster/clusters.json"), budgets, seed)
        prompts = _prompts(corpus, stage.dep("cluster/prompts.parquet"), plan)
    wanted = _wanted(params)
    ratings = rate(stage, corpus, params, seed, budget) if Score.RATING in wanted else None
    scores = {Score.RATING: ratings.scores} if ratings else {}
    if by_response := wanted & BY_RESPONSE:
        scores |= response_scores(by_response, corpus.texts, params.response_tokens, stage)
    pool = Pool(corpus.texts, corpus.vectors, prompts, scores)
    found: list[Choice] = []
    progress = stage.progress(len(params.methods), "methods")
    with threadpool_limits(1):  # a sum's last bits tell how many threads shared it
        started = time.monotonic()
        for method, chosen in baseline(pool, params, budget, seed):
            _tell(
                method,
                chosen,
                time.monotonic() - started,
                too_much(method, len(corpus.ids), budget),
            )
            started = time.monotonic()
            found += chosen
            progress.advance()
    write_table(stage.out("baseline/selections.parquet"), _table(found, corpus.ids), SELECTIONS)
    bill = json.dumps(_bill(params, ratings), indent=2, sort_keys=True)
    stage.out("baseline/usage.json").write_text(f"{bill}\n", encoding="utf-8")


def _check_budget(budget: int, n_records: int) -> None:
    if budget > n_records:
        raise ParamError(
            f"llm_select.budget is {budget:,}, and only {n_records:,} records are left to "
            "choose from",
            where=PARAMS_FILE,
            fix=f"Set it to {n_records} at most, or give a larger pool.",
        )


def _prompts(corpus: Corpus, path: Path, plan: TournamentPlan) -> dict[Mode, list[Rows]]:
    """The run's own prompts by their mode, and those that within and across would have made."""
    shown = read_table(path, PROMPTS)
    rows = corpus.rows(shown["id"], path)
    starts = np.flatnonzero(np.diff(shown["prompt"].to_numpy())) + 1
    prompts = {plan.mode: np.split(rows, starts)}
    geometry = Geometry(len(prompts[plan.mode]), plan.candidates_per_prompt)
    from tasks.baseline.in_prompts import regroup  # noqa: PLC0415  scikit-learn

    for mode in (Mode.WITHIN, Mode.ACROSS):
        if mode is not plan.mode:
            prompts[mode] = regroup(corpus.vectors, corpus.texts, geometry, mode, plan.seed)
    return prompts


def _wanted(params: Baseline) -> set[Score]:
    """The scores that methods go by."""
    return {SCORED[method] for method in params.methods if method in SCORED}


def _bill(params: Baseline, ratings: Ratings | None) -> dict[str, Any]:
    """What the answers cost that each method goes by; a method that asks no model is not in it."""
    if ratings is None:
        return {}
    rated = [method for method in params.methods if SCORED.get(method) is Score.RATING]
    return {method.value: ratings.cost for method in rated}


def _tell(method: Method, chosen: list[Choice], seconds: float, why_not: str) -> None:
    if why_not:
        log.warning("baseline: %s is left out, being too slow %s", method, why_not)
    elif chosen:
        log.info("baseline: %s, %.1f s for %s choices", method, seconds, len(chosen))


def _table(found: list[Choice], ids: list[str]) -> pa.Table:
    """Rows of SELECTIONS."""
    if not found:
        return SELECTIONS.empty_table()
    sizes = [len(choice.rows) for choice in found]
    rows = np.concatenate([choice.rows for choice in found])
    return pa.table(
        {
            "method": pa.array(np.repeat([choice.method for choice in found], sizes)),
            "seed": pa.array(np.repeat([choice.seed for choice in found], sizes)),
            "rank": pa.array(np.concatenate([np.arange(size) + 1 for size in sizes])),
            "id": [ids[row] for row in rows],
        }
    )
