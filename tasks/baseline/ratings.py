"""Scores that are a model's ratings of the records' outputs: who rates, and for how much."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from tasks.baseline.rater import Item, Rater, Ratings, rating_name
from tasks.baseline.registry import MIN_RATING
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, Params, load_section
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.gateway.endpoint import Habits
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.local_server import require_local
from tasks.lib.gateway.routes import Route, load_route, require_key
from tasks.lib.journal.journal import Journal
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


class RatingParams(Params):
    """The keys of section baseline that ratings go by."""

    route: str
    max_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_answer_tokens: Annotated[int, Field(ge=64)]  # whitespace of a constrained answer counts


class _Calls(Params):
    """How calls are made, which is the same for all steps."""

    model_config = ConfigDict(extra="ignore")

    max_attempts: Annotated[int, Field(ge=1)]
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1)]


def read_route(values: Mapping[str, Any], params: RatingParams) -> Route:
    """The route whose model rates.

    Raises:
        ParamError: There is no such route, or it is the rubric.
    """
    route = load_route(values, params.route, "baseline.route")
    if route.is_rubric:
        raise ParamError(
            f"baseline.route is {route.alias}, rules that cannot rate an answer as "
            "baseline.methods wants it rated",
            where=PARAMS_FILE,
            fix="Set baseline.route to a model's, or leave alpagasus and alpagasus_threshold out "
            "of baseline.methods.",
        )
    return route


def check_route(values: Mapping[str, Any], params: RatingParams) -> None:
    """Refuse a route that cannot rate, before any call.

    Raises:
        ParamError: It is unknown or the rubric, its key is not set, or its model not installed.
    """
    route = read_route(values, params)
    require_key(route)
    if route.deployments[0].is_embedded:
        require_local()


def read_habits(values: Mapping[str, Any], params: RatingParams, seed: int) -> Habits:
    """How a rater is called: as the judge is, but for the room of an answer.

    Raises:
        ParamError: Section llm_select is not as it should be.
    """
    calls = load_section(values, "llm_select", _Calls)
    return Habits(
        seed, params.max_answer_tokens, calls.max_attempts, calls.timeout_s, calls.concurrency
    )


def with_outputs(corpus: Corpus) -> Rows:
    """The rows of the records that have an output, in their order."""
    return np.flatnonzero([output is not None for output in corpus.outputs])


def items_of(corpus: Corpus, rows: Rows) -> list[Item]:
    """What is rated of these records: instruction and input, and the output."""
    return [Item(corpus.texts[row], corpus.outputs[row] or "") for row in rows]


def rate(
    stage: Stage, corpus: Corpus, params: RatingParams, seed: int, budget: int
) -> Ratings | None:
    """The ratings of all records, NaN for those without an output.

    None where they would mislead, which the log says: some were not asked for since the cap was
    reached, or there are fewer than `budget`. Every answer is in the journal before it counts, and
    is not paid for again.

    Raises:
        ParamError: Fewer than `budget` records have an output, and no call was made; or the
            route's provider or price is unknown.
        LLMError: The provider refuses, or cannot be reached; answers so far are kept.
    """
    rows = with_outputs(corpus)
    files = stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet")
    _check_outputs(len(rows), len(corpus.ids), budget, files[0])
    route = read_route(stage.values, params)
    habits = read_habits(stage.values, params, seed)
    name = rating_name(route, habits, *files)
    progress = stage.progress(len(rows), "ratings")
    path = stage.state / JOURNAL
    with closing(Journal(path, selection=name, cap_usd=params.max_usd)) as journal:
        rater = Rater(route, habits, journal, progress.advance)
        told = run_loop(_all(rater, items_of(corpus, rows)))
        spent_usd = journal.spent_usd
    _tell(told, route, spent_usd, params.max_usd)
    why_not = _why_not(told, budget)
    if why_not:
        log.warning("alpagasus and alpagasus_threshold are left out: %s", why_not)
        return None
    scores = np.full(len(corpus.ids), np.nan)
    scores[rows] = told.scores
    return told._replace(scores=scores)


def _check_outputs(n_outputs: int, n_records: int, budget: int, pool_file: Path) -> None:
    if n_outputs < budget:
        raise ParamError(
            f"alpagasus rates outputs: {n_outputs:,} of {n_records:,} records have one, and "
            f"{budget:,} are to be chosen",
            where=str(pool_file),
            fix="Leave alpagasus and alpagasus_threshold out of baseline.methods, or give a pool "
            "with outputs (ingest.columns says which column holds them).",
        )


async def _all(rater: Rater, items: list[Item]) -> Ratings:
    try:
        return await rater(items)
    finally:
        await rater.close()


def _tell(told: Ratings, route: Route, spent_usd: float, max_usd: float) -> None:
    n, n_rated = len(told.scores), told.cost["calls"]
    log.info(
        "baseline: %s of %s outputs rated by %s, %s of them %g or higher: %s",
        f"{n_rated:,}",
        f"{n:,}",
        route.model,
        f"{np.count_nonzero(told.scores >= MIN_RATING):,}",
        MIN_RATING,
        f"{told.cost['usd']:.4f} USD" if told.cost["usd"] else "free",
    )
    if spent_usd:
        log.info("spent on these ratings: %.4f of %g USD (baseline.max_usd)", spent_usd, max_usd)
    if n_rated < told.n_asked:
        log.warning(
            "the model gave no rating for %s of %s outputs; `dvc repro -f baseline` asks again "
            "where it was not reached",
            f"{told.n_asked - n_rated:,}",
            f"{n:,}",
        )


def _why_not(told: Ratings, budget: int) -> str:
    """Why no method is to go by the ratings, in words; empty where they may."""
    n, n_rated = len(told.scores), told.cost["calls"]
    if told.n_asked < n:
        return (
            f"after {told.n_asked:,} of {n:,} outputs the next call could have passed "
            "baseline.max_usd. All ratings so far are kept: raise it and run this again to go on "
            "from there; none is paid for again."
        )
    if n_rated < budget:
        return f"{n_rated:,} outputs have a rating, and {budget:,} records are to be chosen."
    return ""
