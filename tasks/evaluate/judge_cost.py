"""Check that the judge can be called and paid for, and estimate what it costs."""

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.estimate.estimate import cost_at
from tasks.estimate.tokens_needed import Workload, question_tokens
from tasks.evaluate.judge.prompts import GRADE_SCHEMA, WINNER_SCHEMA, comparison, grading
from tasks.evaluate.params import RANDOM, call_settings, check
from tasks.evaluate.tune.prompts import AskedQuestion
from tasks.evaluate.tune.setup import TuningSetup
from tasks.lib.documents.evaluation import JudgePlan
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import require_price
from tasks.lib.gateway.routes import Route, load_route, require_usable

BYTES_PER_TOKEN = 6  # of an answer; an upper bound for usual text


def ready_judge(values: Mapping[str, Any]) -> Route | None:
    """Return the judge's route after checking it, or None if there is no judge.

    These checks run before the hours of training, not after them.

    Raises:
        ParamError: The route is unknown, lacks its key or its model, or has no price.
    """
    route = load_route(values, check(values).route, "evaluate.route")
    if route.is_offline:
        return None
    require_usable(route)
    for deployment in route.deployments:
        require_price(deployment, load_litellm(), route.where)
    return route


def judge_plan(route: Route, setup: TuningSetup, values: Mapping[str, Any]) -> JudgePlan:
    """Return the judge's calls and price, for answers of any length up to the limit.

    Identical answers need no call, and verdicts in the journal are not paid for again, so the
    actual number may be smaller.
    """
    settings = call_settings(values)
    room = route.max_answer_tokens or settings["max_answer_tokens"]
    n_calls, fewest, most = 0, 0, 0
    for n, tokens in _asked(setup):
        n_calls, fewest, most = n_calls + n, fewest + n * tokens[0], most + n * tokens[1]
    work = Workload((n_calls, n_calls), (fewest, most), (n_calls, n_calls * room))
    usd = cost_at(route, work, settings["concurrency"], None).usd
    return JudgePlan(
        route=route.alias,
        model=route.model,
        calls=n_calls,
        usd=usd or (0.0, 0.0),
        max_usd=setup.params.max_usd,
    )


def _asked(setup: TuningSetup) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield, for each question, the number of judge calls and the range of tokens in each."""
    longest = "x" * BYTES_PER_TOKEN * setup.params.max_new_tokens
    n_pairs = sum(run.arm != RANDOM for run in setup.runs)
    for question in setup.questions:
        if question.n_answers and question.is_graded:
            fewest, most = (_tokens_of_grade(question, text) for text in ("", longest))
            yield len(setup.runs) * question.n_answers, (fewest[0], most[1])
        elif question.n_answers:
            request = _request(question)
            fewest, most = (
                question_tokens(comparison(request, text, text), WINNER_SCHEMA)
                for text in ("", longest)
            )
            yield 2 * n_pairs, (fewest[0], most[1])


def _tokens_of_grade(question: AskedQuestion, text: str) -> tuple[int, int]:
    """Return the range of tokens in a request to grade one answer, with a reference."""
    texts = {"request": f"{_request(question)}{question.follow_up or ''}"}
    return question_tokens(
        grading(texts | {"first": text, "second": text, "reference": 2 * text}), GRADE_SCHEMA
    )


def _request(question: AskedQuestion) -> str:
    return "\n\n".join(message["content"] for message in question.messages)
