"""Have a model rate the outputs of records, for the methods that select by ratings."""

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from tasks.baseline.methods import MIN_RATING
from tasks.baseline.rater import RatedItem, Rater, Ratings, rating_name
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, Params, load_section
from tasks.lib.core.stage import Stage
from tasks.lib.documents.replies import silent_calls
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import Route, load_route, require_usable
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import journal_place
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


class RatingParams(Params):
    """The rating settings of the baseline section."""

    route: str
    max_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_answer_tokens: Annotated[int, Field(ge=64)]  # schema-bound answers may contain whitespace


class _Calls(Params):
    """The call settings of the llm_select section, which apply to all steps."""

    model_config = ConfigDict(extra="ignore")

    max_attempts: Annotated[int, Field(ge=1)]
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1)]


def read_route(values: Mapping[str, Any], params: RatingParams) -> Route:
    """Return the rating model's route.

    Raises:
        ParamError: The route is unknown, is the offline judge, or uses logprobs.
    """
    route = load_route(values, params.route, "baseline.route")
    if route.is_offline:
        raise ParamError(
            f"baseline.route is {route.alias}, but the offline judge cannot rate answers, as "
            "baseline.methods requires",
            where=PARAMS_FILE,
            fix="Set baseline.route to the route of a model, or remove alpagasus and "
            "alpagasus_threshold from baseline.methods.",
        )
    if route.logprobs:
        raise ParamError(
            f"baseline.route is {route.alias}, which has logprobs: true, but a rating is a number",
            where=PARAMS_FILE,
            fix="Set baseline.route to a route without logprobs.",
        )
    return route


def check_route(values: Mapping[str, Any], params: RatingParams) -> None:
    """Check, before any call, that the route can rate.

    Raises:
        ParamError: The route is unknown or the offline judge, or lacks its key or its model.
    """
    route = read_route(values, params)
    require_usable(route)


def read_call_settings(values: Mapping[str, Any], params: RatingParams, seed: int) -> CallSettings:
    """Return the rater's call settings: the judge's, with a separate limit on answer tokens.

    Raises:
        ParamError: The llm_select section is wrong.
    """
    calls = load_section(values, "llm_select", _Calls)
    return CallSettings(seed=seed, max_answer_tokens=params.max_answer_tokens, **calls.model_dump())


def with_outputs(corpus: Corpus) -> Rows:
    """Return the rows of the records that have an output, in order."""
    return np.flatnonzero([output is not None for output in corpus.outputs])


def items_of(corpus: Corpus, rows: Rows) -> list[RatedItem]:
    """Return the request (instruction and input) and the output of each of these records."""
    return [RatedItem(corpus.texts[row], corpus.outputs[row] or "") for row in rows]


def rate(
    stage: Stage, corpus: Corpus, params: RatingParams, seed: int, budget: int
) -> Ratings | None:
    """Return the ratings of all records, NaN for those without an output.

    Return None, after a warning, if the ratings would be misleading, because either the cap was
    reached before all outputs were rated, or there are fewer ratings than `budget`. Every answer is
    written to the journal before it is used, and is never paid for again.

    Raises:
        ParamError: Fewer than `budget` records have an output (no call is made), or the route's
            provider or price is unknown.
        LLMError: The provider refuses, or cannot be reached; answers so far are kept.
    """
    rows = with_outputs(corpus)
    files = stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet")
    _check_outputs(len(rows), len(corpus.ids), budget, files[0])
    route = read_route(stage.values, params)
    settings = read_call_settings(stage.values, params, seed)
    name = rating_name(route, settings, *files)
    progress = stage.progress(len(rows), "ratings")
    items = items_of(corpus, rows)

    async def rate_all(journal: Journal) -> Ratings:
        async with aclosing(Gateway([route], settings, journal)) as gateway:
            return await Rater(gateway, journal, route, settings, progress.advance)(items)

    place = journal_place(stage.state, stage.values)
    with closing(Journal(place, name, cap_usd=params.max_usd)) as journal:
        ratings = run_loop(rate_all(journal))
        spent_usd = journal.spent_usd
    _log_result(ratings, route, spent_usd, params.max_usd)
    why_unusable = _why_unusable(ratings, budget)
    if why_unusable:
        log.warning("baseline: skipping alpagasus and alpagasus_threshold: %s", why_unusable)
        return None
    scores = np.full(len(corpus.ids), np.nan)
    scores[rows] = ratings.scores
    return ratings._replace(scores=scores)


def _check_outputs(n_outputs: int, n_records: int, budget: int, pool_file: Path) -> None:
    if n_outputs < budget:
        raise ParamError(
            f"alpagasus rates outputs, but only {n_outputs:,} of {n_records:,} records have one, "
            f"fewer than the {budget:,} to select",
            where=str(pool_file),
            fix="Remove alpagasus and alpagasus_threshold from baseline.methods, or provide a pool "
            "with outputs (ingest.columns says which column has them).",
        )


def _log_result(ratings: Ratings, route: Route, spent_usd: float, max_usd: float) -> None:
    n, n_rated = len(ratings.scores), ratings.cost["calls"]
    log.info(
        "baseline: %s of %s outputs have a rating from %s, and %s a rating of at least %g; "
        "cost: %s",
        f"{n_rated:,}",
        f"{n:,}",
        route.model,
        f"{np.count_nonzero(ratings.scores >= MIN_RATING):,}",
        MIN_RATING,
        f"{ratings.cost['usd']:.4f} USD" if ratings.cost["usd"] else "none",
    )
    silent_usd = sum(call.cost.usd for call in ratings.silent)
    silent = silent_calls(Counter(call.outcome for call in ratings.silent), silent_usd)
    if silent:
        log.info("baseline: %s", silent)
    if spent_usd:
        log.info("baseline: %.4f of %g USD (baseline.max_usd) spent on ratings", spent_usd, max_usd)
    if n_rated < ratings.n_final:
        log.warning(
            "baseline: the model gave no rating for %s of %s outputs; if it could not be reached, "
            "run `dvc repro -f baseline` to retry",
            f"{ratings.n_final - n_rated:,}",
            f"{n:,}",
        )


def _why_unusable(ratings: Ratings, budget: int) -> str:
    """Return why the ratings cannot be used; empty if they can."""
    n, n_rated = len(ratings.scores), ratings.cost["calls"]
    if ratings.n_final < n:
        return (
            f"after {ratings.n_final:,} of {n:,} outputs, the next call could have exceeded "
            "baseline.max_usd. Raise this limit and run this again to continue; ratings so far "
            "are stored and not paid for again."
        )
    if n_rated < budget:
        return f"only {n_rated:,} outputs have a rating, fewer than the {budget:,} to select."
    return ""
