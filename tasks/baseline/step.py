"""Select the same number of records with other methods, to compare them with our selection."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.compute as pc
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.baseline.by_score import BY_RESPONSE, Score, Scores
from tasks.baseline.in_prompts import regroup
from tasks.baseline.methods import METHODS, BaselinePool, MethodName, selections, too_slow
from tasks.baseline.rater import Ratings
from tasks.baseline.ratings import RatingParams, check_route, rate
from tasks.baseline.response_model import MAX_TOKENS
from tasks.baseline.response_scores import response_scores
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_budgets, load_section, load_seed
from tasks.lib.core.schemas import BALLOTS, PROMPTS
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.clusters import Clusters
from tasks.lib.gateway.local_server import require_local
from tasks.lib.gateway.routes import load_route
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows
from tasks.lib.similarity.selections import MethodSelection, write_selections


class Baseline(RatingParams):
    """The baseline section of params.yaml."""

    methods: Annotated[list[Annotated[MethodName, Field(strict=False)]], Field(min_length=1)]
    n_seeds: Annotated[int, Field(ge=1, le=1000)]
    response_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)]

    @property
    def scores(self) -> set[Score]:
        """The scores that the methods select by."""
        return {score for name in self.methods if (score := METHODS[name].score)}


def check(values: Mapping[str, Any]) -> Baseline:
    """Check the baseline section, its route and local model, and the seed; return the section.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range; the route is
            unknown, or cannot rate although a method needs ratings; or a method needs the local
            model, which is not installed.
    """
    load_seed(values)
    params = load_section(values, "baseline", Baseline)
    load_route(values, params.route, "baseline.route")  # DVC needs it to exist
    if Score.RATING in params.scores:
        check_route(values, params)
    for method in params.methods:
        if METHODS[method].score in BY_RESPONSE:
            require_local(
                where=f"{PARAMS_FILE}: baseline.methods: {method}", instead="leave it out"
            )
    return params


def baseline(
    pool: BaselinePool, params: Baseline, budget: int, seed: int
) -> Iterator[tuple[MethodName, list[MethodSelection]]]:
    """Yield each method that `params` names, once and in order, together with its selections.

    Every selection has exactly `budget` distinct rows. A method that is too slow for the pool has
    no selections.

    Args:
        pool: At least `budget` records.
        params: The methods, and the number of seeds for the random ones.
        budget: Number of rows to select, at least 1.
        seed: The first seed.
    """
    for method in dict.fromkeys(params.methods):
        yield method, list(selections(method, pool, budget, seed, params.n_seeds))


def work(stage: Stage) -> None:
    """Read the pool and its prompts, and write what each method selects."""
    params, seed = check(stage.values), load_seed(stage.values)
    budget = load_budgets(stage.values)[-1]
    corpus = Corpus.read(
        stage.dep("ingest/pool.parquet"),
        stage.dep("dedupe/unique.parquet"),
        stage.dep("embed/vectors.npy"),
    )
    _check_budget(budget, len(corpus.ids))
    prompts = {}
    if any(METHODS[method].in_prompts for method in params.methods):
        clusters = Clusters.read(stage.dep("cluster/clusters.json"))
        prompts = _prompts(corpus, stage.dep("cluster/prompts.parquet"), clusters, seed)
    needs_ratings = Score.RATING in params.scores
    ratings = rate(stage, corpus, params, seed, budget) if needs_ratings else None
    scores = {Score.RATING: ratings.scores} if ratings else {}
    if by_response := params.scores & BY_RESPONSE:
        scores |= response_scores(by_response, corpus.texts, params.response_tokens, stage)
    if Score.JUDGE in params.scores:
        scores[Score.JUDGE] = _judge_scores(corpus, stage.dep("llm_select/ballots.parquet"))
    pool = BaselinePool(corpus.texts, corpus.vectors, prompts, scores)
    selected: list[MethodSelection] = []
    progress = stage.progress(len(params.methods), "methods")
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        started = time.monotonic()
        for method, by_method in baseline(pool, params, budget, seed):
            reason = too_slow(method, len(corpus.ids), budget)
            _log_method(method, len(by_method), time.monotonic() - started, reason)
            started = time.monotonic()
            selected += by_method
            progress.advance()
    write_selections(stage.out("baseline/selections.parquet"), selected, corpus.ids)
    usage = json.dumps(_usage(params, ratings), indent=2, sort_keys=True)
    stage.out("baseline/usage.json").write_text(f"{usage}\n", encoding="utf-8")


def _check_budget(budget: int, n_records: int) -> None:
    if budget > n_records:
        raise ParamError(
            f"llm_select.budget is {budget:,}, but only {n_records:,} records are left to "
            "select from",
            where=PARAMS_FILE,
            fix=f"Set it to at most {n_records}, or use a larger pool.",
        )


def _judge_scores(corpus: Corpus, path: Path) -> Scores:
    """Return the judge score of each record: float64, shape (n,), NaN if it was not judged."""
    ballots = read_table(path, BALLOTS)
    judged = ballots.filter(pc.is_null(ballots["set_aside"]))
    scores = np.full(len(corpus.ids), np.nan)
    scores[corpus.rows(judged["id"], path)] = judged["score"].to_numpy()
    return scores


def _prompts(corpus: Corpus, path: Path, clusters: Clusters, seed: int) -> dict[Mode, list[Rows]]:
    """Return the prompts by mode: the run's own, and those composed in within and across mode."""
    candidates = read_table(path, PROMPTS)
    rows = corpus.rows(candidates["id"], path)
    starts = np.flatnonzero(np.diff(candidates["prompt"].to_numpy())) + 1
    own_mode = Mode(clusters.mode)
    prompts = {own_mode: np.split(rows, starts)}
    geometry = Geometry(len(prompts[own_mode]), clusters.candidates_per_prompt)
    for mode in (Mode.WITHIN, Mode.ACROSS):
        if mode is not own_mode:
            prompts[mode] = regroup(corpus.vectors, corpus.texts, geometry, mode, seed)
    return prompts


def _usage(params: Baseline, ratings: Ratings | None) -> dict[str, Any]:
    """Return the cost of the answers behind each method, for the methods that call a model."""
    if ratings is None:
        return {}
    rated = [method for method in params.methods if METHODS[method].score is Score.RATING]
    return {method.value: ratings.cost for method in rated}


def _log_method(
    method: MethodName, n_selections: int, seconds: float, too_slow_reason: str
) -> None:
    if too_slow_reason:
        log.warning("baseline: skipping %s, which is too slow %s", method, too_slow_reason)
    elif n_selections:
        log.info("baseline: %s took %.1f s (selections: %s)", method, seconds, n_selections)
