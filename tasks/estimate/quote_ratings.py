"""Estimate the cost of a workspace's ratings, before any money is spent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ConfigDict

from tasks.baseline.by_score import Score
from tasks.baseline.methods import METHODS
from tasks.baseline.rating_prompt import SCHEMA, rating_question
from tasks.baseline.ratings import (
    RatingParams,
    items_of,
    read_call_settings,
    read_route,
    with_outputs,
)
from tasks.estimate.estimate import Cost, cost_at
from tasks.estimate.journal_admin import latencies
from tasks.estimate.tokens_needed import Workload, question_tokens
from tasks.lib.core.params import load_section, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.location import journal_place
from tasks.lib.similarity.corpus import Corpus

RATED = {name.value for name, method in METHODS.items() if method.score is Score.RATING}


class RatingQuote(NamedTuple):
    """The work of rating, and its cost on baseline.route."""

    work: Workload
    cost: Cost
    max_usd: float


class _RatingSection(RatingParams):
    model_config = ConfigDict(extra="ignore")

    methods: list[str]


def rating_route(values: Mapping[str, Any]) -> Route | None:
    """Return the route that rates outputs, or None if no method needs ratings.

    Raises:
        ParamError: A parameter is invalid.
    """
    params = load_section(values, "baseline", _RatingSection)
    return read_route(values, params) if RATED.intersection(params.methods) else None


def quote_ratings(root: Path, values: Mapping[str, Any]) -> RatingQuote | None:
    """Return the cost of rating the outputs in `root`, or None if no method needs ratings.

    The cost includes ratings that are already in the journal. This needs no key and no network.

    Raises:
        ParamError: A parameter is invalid.
        DataError: The records are missing or damaged.
    """
    route = rating_route(values)
    if route is None:
        return None
    params = load_section(values, "baseline", _RatingSection)
    stage = Stage("baseline", root)
    corpus = Corpus.read(stage.dep("ingest/pool.parquet"), stage.dep("dedupe/unique.parquet"))
    settings = read_call_settings(values, params, load_seed(values))
    items = items_of(corpus, with_outputs(corpus))
    fewest, most, n = 0, 0, len(items)
    for item in items:
        tokens = question_tokens(rating_question(*item), SCHEMA)
        fewest, most = fewest + tokens[0], most + tokens[1]
    work = Workload((n, n), (fewest, most), (n, n * settings.max_answer_tokens))
    known = latencies(journal_place(stage.state, stage.values)).get(route.model)
    return RatingQuote(work, cost_at(route, work, settings.concurrency, known), params.max_usd)
