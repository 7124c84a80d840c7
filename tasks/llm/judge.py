"""A model as the judge of questions, with the rubric in its place where it gives no answer."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tasks.llm.ask import Crowd
from tasks.llm.calls import BACKOFF_S, Caller, Posed
from tasks.llm.client import Client
from tasks.llm.fence import shorten
from tasks.llm.journal import Answer, Journal, answer_key
from tasks.llm.prices import stated_price
from tasks.llm.prompt import Prompt
from tasks.llm.rounds import Candidates, Method, Question, Verdict
from tasks.llm.routes import Route
from tasks.llm.rubric import choose

VOTE = 1  # the only one so far; part of the key


class Terms(NamedTuple):
    """How questions are put, in the words of params.yaml where they come from there."""

    prompt: Prompt
    seed: int
    max_candidate_chars: int
    max_answer_tokens: int
    max_attempts: int
    timeout_s: float
    concurrency: int
    backoff_s: float = BACKOFF_S


class ModelJudge:
    """Lets the model of a route pick, within one event loop.

    Every answer is looked for in the journal first, and is in it before it counts.

    Args:
        route: Whose model to ask.
        terms: How to ask.
        texts: Gives the texts of candidates, in their order.
        journal: Where answers are kept.
        advance: Called for each question that has its verdict.
    """

    def __init__(
        self,
        route: Route,
        terms: Terms,
        texts: Callable[[Candidates], Sequence[str]],
        journal: Journal,
        advance: Callable[[], None],
    ) -> None:
        self._deployment, self._terms = route.deployment, terms
        self._texts, self._journal = texts, journal
        self._stated = stated_price(route.deployment)
        self._crowd = Crowd(self._recall, self._ask, concurrency=terms.concurrency, advance=advance)
        client = Client(
            route,
            seed=terms.seed,
            max_tokens=terms.max_answer_tokens,
            timeout_s=terms.timeout_s,
        )
        self._caller = Caller(
            client,
            journal,
            max_attempts=terms.max_attempts,
            stopping=self._crowd.stopping,
            backoff_s=terms.backoff_s,
        )

    async def __call__(self, questions: Iterable[Question]) -> list[Verdict]:
        """A verdict on each question, in their order; texts are read when it is their turn.

        Raises:
            LLMError: The provider refuses, or cannot be reached; answers so far are kept.
            ParamError: The route's provider is unknown, or its key is not set.
        """
        return await self._crowd.answers(map(self._pose, questions))

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._caller.close()

    def _pose(self, question: Question) -> Posed:
        terms, deployment = self._terms, self._deployment
        shown = [shorten(t, terms.max_candidate_chars) for t in self._texts(question.candidates)]
        messages = terms.prompt.messages(shown, question.n_picks)
        key = answer_key(
            model=deployment.model,
            messages=messages,
            temperature=deployment.temperature or 0.0,
            seed=terms.seed,
            max_tokens=terms.max_answer_tokens,
            schema=deployment.schema_use,
            n_picks=question.n_picks,
            vote=VOTE,
        )
        return Posed(key, messages, shown, question.n_picks)

    def _recall(self, posed: Posed) -> Verdict | None:
        """The verdict that earlier calls gave: an answer, or that the model will not give one."""
        answer = self._journal.answer(posed.key)
        if answer is not None:
            return self._verdict(posed, answer)
        return _fallback(posed) if self._caller.is_given_up(posed) else None

    async def _ask(self, posed: Posed) -> Verdict:
        answer = await self._caller.answer(posed)
        return _fallback(posed) if answer is None else self._verdict(posed, answer)

    def _verdict(self, posed: Posed, answer: Answer) -> Verdict:
        tokens = answer.prompt_tokens, answer.completion_tokens
        usd = answer.usd
        if usd is None and self._stated:  # params.yaml has been given a price since
            usd = self._stated.cost_usd(*tokens)
        method = Method.RUBRIC if self._deployment.is_rubric else Method.LLM
        n_prompt, n_completion = (n or 0 for n in tokens)
        return Verdict(answer.picks, method, posed.key, n_prompt, n_completion, usd)


def _fallback(posed: Posed) -> Verdict:
    slots = tuple(choose(posed.texts, posed.n_picks))
    return Verdict(slots, Method.FALLBACK, posed.key, 0, 0, 0.0)
