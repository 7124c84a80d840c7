"""Send a few prompts of a selection before the rest, and project the cost of the whole run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.estimate.estimate import Range, cost_at
from tasks.estimate.journal_admin import calls_for
from tasks.estimate.quote_selection import read_setup
from tasks.estimate.tokens_needed import Workload, prompt_tokens
from tasks.lib.core.stage import Stage
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.prompt_fence import parse_block
from tasks.lib.gateway.request import Messages, NoAnswer, Request
from tasks.lib.gateway.routes import Route, require_usable
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import Place, journal_place
from tasks.lib.journal.models import ANSWER, Answer
from tasks.llm_select.judge import Judge
from tasks.llm_select.params import selection_name
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import JudgedPrompt, Question

MAX_ATTEMPTS = 2  # someone is waiting at the terminal


class PreviewCall(NamedTuple):
    """A call for a request, as recorded in the journal."""

    outcome: str  # "answer", or the kind of error
    message: str
    reply: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    seconds: float
    is_new: bool  # whether this preview made it


class PreviewedRequest(NamedTuple):
    """A request for a previewed prompt, and the model's reply."""

    prompt: int
    n_candidates: int
    messages: Messages
    ranked: dict[int, str]  # the text in each ranked slot, best first; empty if there is no answer
    no_answer: str  # why there is no answer; empty if there is one
    dropped_params: tuple[str, ...]
    calls: list[PreviewCall]  # including failed ones


class Projection(NamedTuple):
    """The whole run at the rate of the previewed prompts."""

    calls: int
    usd: float
    seconds: Range
    max_usd: float


class Preview(NamedTuple):
    """A few prompts of a selection, and a projection for the rest."""

    route: str
    model: str
    n_prompts: int
    is_reused: bool  # whether the run sends the same prompts, and so reuses their answers
    exchanges: list[PreviewedRequest]
    new_usd: float  # paid now
    projection: Projection | None  # None if no call was made
    is_capped: bool  # llm_select.max_usd was reached before the last prompt
    is_interrupted: bool  # Ctrl-C ended it before the last prompt
    unknown_usd: float  # the most that interrupted calls may have cost, in addition to new_usd


def preview(
    root: Path,
    values: Mapping[str, Any],
    n: int,
    *,
    is_grouped: bool,
    show: Callable[[PreviewedRequest], None] = lambda _: None,
) -> Preview:
    """Send `n` prompts, evenly spaced, to the route in use; the journal keeps their answers.

    These are the requests that a run would send, including all votes, so the run does not pay for
    them again. They count toward the run's `llm_select.max_usd`. After Ctrl-C, the preview covers
    the prompts sent so far.

    Args:
        root: The workspace.
        values: All of params.yaml.
        n: The number of prompts.
        is_grouped: Whether the prompts in `root` match `values`. If not, sample prompts of the same
            sizes are sent, with answers that no run can use.
        show: Called with each exchange as soon as it ends.

    Raises:
        ParamError: A parameter is wrong, or the route's key is not set.
        DataError: A file is missing or not in the format that its step writes.
        LLMError: The provider refuses, or cannot be reached.
    """
    setup = read_setup(root, values, is_grouped=is_grouped)
    route = setup.routes[0]
    require_usable(route)
    stage = Stage("llm_select" if is_grouped else "embed", root)
    named_by = stage.dep("cluster/prompts.parquet" if is_grouped else "dedupe/unique.parquet")
    name = selection_name(setup.params, setup.settings, setup.routes, named_by)
    exchanges: list[PreviewedRequest] = []
    is_capped = is_interrupted = False

    def keep(asked: PreviewedRequest) -> None:
        exchanges.append(asked)
        show(asked)

    place = journal_place(stage.state, values)
    with closing(Journal(place, name, cap_usd=setup.params.max_usd)) as journal:
        spent_before = journal.spent_usd
        try:
            is_capped = run_loop(_ask(setup, _spaced(setup, n), journal, keep))
        except KeyboardInterrupt:
            is_interrupted = True
        spent = journal.spent_usd - spent_before
    new_usd = sum(call.usd for asked in exchanges for call in asked.calls if call.is_new)
    return Preview(
        route=route.alias,
        model=route.model,
        n_prompts=len(setup.candidates.prompts),
        is_reused=is_grouped,
        exchanges=exchanges,
        new_usd=new_usd,
        projection=_project(setup, route, exchanges),
        is_capped=is_capped,
        is_interrupted=is_interrupted,
        unknown_usd=max(0.0, spent - new_usd) if is_interrupted else 0.0,
    )


class _Recorder:
    """Passes a question's requests to a gateway, and each request with its result to `keep`."""

    def __init__(
        self, gateway: Gateway, journal: Place, keep: Callable[[PreviewedRequest], None]
    ) -> None:
        self.stopping, self._gateway, self._journal = gateway.stopping, gateway, journal
        self._keep = keep
        self.question: Question | None = None

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        return await self._gateway.lookup(request)

    async def ask(self, request: Request) -> Answer | NoAnswer:
        n_before = len(calls_for(self._journal, request.key))
        result = await self._gateway.ask(request)
        rows = calls_for(self._journal, request.key)
        calls = [_call(row, is_new=i >= n_before) for i, row in enumerate(rows)]
        if self.question:
            self._keep(_exchange(self.question, request, result, calls))
        return result


async def _ask(
    setup: Setup,
    questions: Iterator[Question],
    journal: Journal,
    keep: Callable[[PreviewedRequest], None],
) -> bool:
    """Send the questions one by one; return whether the cap was reached."""
    calls = setup.settings.calls._replace(max_attempts=MAX_ATTEMPTS)
    settings, routes = setup.settings._replace(calls=calls), setup.routes[:1]
    async with aclosing(Gateway(routes, calls, journal)) as gateway:
        recorder = _Recorder(gateway, journal.path, keep)
        judge = Judge(recorder, routes, settings, setup.candidates.texts)
        judged: list[JudgedPrompt | None] = []
        for question in questions:
            recorder.question = question
            await judge([question], judged.append)
            if None in judged:
                break
    return None in judged


def _spaced(setup: Setup, n: int) -> Iterator[Question]:
    """Yield `n` questions of a run, evenly spaced, or all if there are fewer."""
    prompts = setup.candidates.prompts
    for i in np.unique(np.linspace(0, len(prompts) - 1, min(n, len(prompts))).round().astype(int)):
        yield Question(int(i) + 1, prompts[i], min(setup.n_ranked, len(prompts[i])))


def _exchange(
    question: Question, request: Request, result: Answer | NoAnswer, calls: list[PreviewCall]
) -> PreviewedRequest:
    blocks = [parse_block(message["content"]) for message in request.messages]
    texts = next((block.texts for block in blocks if block), [])
    asked = PreviewedRequest(question.prompt, len(texts), request.messages, {}, "", (), calls)
    if not isinstance(result, Answer):
        return asked._replace(no_answer=result.value)
    return asked._replace(
        ranked={slot: texts[slot - 1] for slot in result.parsed if slot <= len(texts)},
        dropped_params=result.dropped_params,
        calls=[c._replace(reply=result.text) if c.outcome == ANSWER else c for c in calls],
    )


def _call(row: Mapping[str, Any], *, is_new: bool) -> PreviewCall:
    facts = {**row, "is_upper_bound": bool(row["is_upper_bound"]), "is_new": is_new}
    return PreviewCall(seconds=facts.pop("duration_s"), **facts)


def _project(setup: Setup, route: Route, exchanges: list[PreviewedRequest]) -> Projection | None:
    """Return the cost of the whole run, assuming the cost per token of these prompts."""
    calls = [call for exchange in exchanges for call in exchange.calls]
    if not calls:
        return None
    tokens = prompt_tokens(setup)[:, 1]
    numbers = sorted({exchange.prompt for exchange in exchanges})
    shares = tokens / tokens[np.array(numbers) - 1].sum()
    scale = float(shares.sum() + setup.params.attention_checks * shares.mean())
    n_calls = round(len(calls) / len(numbers) * setup.n_questions)
    n_tokens = [
        round(scale * sum(getattr(call, name) for call in calls))
        for name in ("prompt_tokens", "completion_tokens")
    ]
    work = Workload((n_calls, n_calls), (n_tokens[0],) * 2, (n_tokens[1],) * 2)
    seconds = [call.seconds for call in calls]
    cost = cost_at(route, work, setup.settings.calls.concurrency, (min(seconds), max(seconds)))
    usd = scale * sum(call.usd for call in calls)
    return Projection(n_calls, usd, cost.seconds, setup.params.max_usd)
