"""Send a question to the routes in turn, and split it in half if it is too long."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, zip_longest
from typing import Any, NamedTuple, Self

from tasks.lib.gateway.journal_lookup import AnswerSource
from tasks.lib.gateway.request import (
    REASK_WORDS,
    CallSettings,
    Messages,
    NoAnswer,
    Request,
    make_request,
)
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.models import Answer
from tasks.lib.prompts.share_budget import Take
from tasks.llm_select.letters import Preferences, parse_letters, read_preferences
from tasks.llm_select.picks import answer_schema, parse_picks, parse_reasons
from tasks.llm_select.prompt import LETTER_REASK_WORDS, Prompt
from tasks.llm_select.verdicts import UsedAnswer
from tasks.llm_select.votes import n_asked


class JudgeSettings(NamedTuple):
    """The settings of the judge; most fields are named as in params.yaml."""

    prompt: Prompt
    rationale: bool
    votes: int
    max_candidate_chars: int
    calls: CallSettings
    shortlist: int
    take: Take = Take.FIRST

    def n_asked(self, n_slots: int, n_ranked: int) -> int:
        """Return the number of slots that an answer ranks so that `n_ranked` can be taken."""
        is_first = self.take is Take.FIRST
        return n_asked(n_slots, n_ranked, self.votes) if is_first else n_slots

    def question(
        self, texts: Sequence[str], n_picks: int, *, by_letter: bool
    ) -> tuple[Messages, dict[str, Any] | None]:
        """Return the messages about the texts, and the schema of the reply, None for a letter."""
        if by_letter:
            return self.prompt.letter_messages(texts), None
        return (
            self.prompt.messages(texts, n_picks, rationale=self.rationale),
            answer_schema(len(texts), n_picks, rationale=self.rationale),
        )


class CascadeAnswer(NamedTuple):
    """The picks from a list of texts, as indices."""

    picks: tuple[int, ...] = ()  # the best first; fewer than asked for if answers are missing
    reasons: tuple[str | None, ...] = ()  # of each pick
    answers: tuple[UsedAnswer, ...] = ()
    set_aside: Mapping[int, NoAnswer] = {}  # texts that no model accepts, even alone
    is_whole: bool = False  # one answer ranks all of the texts together
    unanswered: tuple[str, ...] = ()  # the keys of requests that gave no answer, or were not sent
    preferences: Preferences = ()  # in the order of the texts, if one answer has log-probabilities

    def renumbered(self, indices: Sequence[int]) -> Self:
        """Return the same picks with index i replaced by ``indices[i]``."""
        set_aside = {indices[i]: reason for i, reason in self.set_aside.items()}
        return self._replace(picks=tuple([indices[i] for i in self.picks]), set_aside=set_aside)


class RouteCascade:
    """Sends the texts of one question to the routes of a gateway in turn."""

    def __init__(
        self, gateway: AnswerSource, routes: Sequence[Route], settings: JudgeSettings
    ) -> None:
        self._gateway, self._routes, self._settings = gateway, routes, settings
        self._votes_by_key: dict[str, set[int]] = defaultdict(set)

    async def judge(self, texts: Sequence[str], n_picks: int, vote: int) -> CascadeAnswer:
        """Return the best `n_picks` of the texts; none if no route gives an answer.

        An answer in the journal is used before any route is called. If the texts are too long
        together, or one of them is blocked, each half is judged separately.
        """
        requests = [self._request(route, texts, n_picks, vote) for route in self._routes]
        if len(requests) > 1:
            for request in requests:
                answer = await self._gateway.lookup(request)
                if isinstance(answer, Answer):
                    return self._from_answer(answer, request, requests, len(texts))
        for request in requests:
            answer = await self._gateway.ask(request)
            if isinstance(answer, Answer):
                return self._from_answer(answer, request, requests, len(texts))
            if answer.may_need_fewer_texts:
                halves = await self._judge_halves(texts, n_picks, vote, answer)
                return halves._replace(unanswered=(*_keys(requests), *halves.unanswered))
        return CascadeAnswer(unanswered=_keys(requests))

    async def _judge_halves(
        self, texts: Sequence[str], n_picks: int, vote: int, reason: NoAnswer
    ) -> CascadeAnswer:
        """Judge both halves and interleave their picks; if one is needed, judge the two again."""
        n = len(texts)
        if n == 1:
            return CascadeAnswer(set_aside={0: reason})
        middle = -(-n // 2)
        halves = [
            (await self.judge(texts[start:end], min(n_picks, end - start), vote)).renumbered(
                range(start, end)
            )
            for start, end in ((0, middle), (middle, n))
        ]
        picks = _in_turn(*(half.picks for half in halves))
        reason_of = dict(chain(*(zip(half.picks, half.reasons, strict=True) for half in halves)))
        answers = halves[0].answers + halves[1].answers
        unanswered = halves[0].unanswered + halves[1].unanswered
        if n_picks == 1 and len(picks) == 2 < n:
            final = await self.judge([texts[i] for i in picks], 1, vote)
            answers += final.answers
            unanswered += final.unanswered
            picks = list(final.renumbered(picks).picks) or picks
        picks = picks[:n_picks]
        return CascadeAnswer(
            tuple(picks),
            tuple(reason_of[i] for i in picks),
            answers,
            {**halves[0].set_aside, **halves[1].set_aside},
            unanswered=unanswered,
        )

    def _request(self, route: Route, texts: Sequence[str], n_picks: int, vote: int) -> Request:
        """Return the request of a vote, with a repeat number if an earlier vote sent the same one.

        Votes differ in the order of their texts, but the halves of two votes can be equal.
        """
        settings, n = self._settings, len(texts)
        request = make_request(
            route,
            settings.calls,
            *settings.question(texts, n_picks, by_letter=route.logprobs),
            read=partial(parse_letters, n_candidates=n)
            if route.logprobs
            else partial(parse_picks, n_candidates=n, n_picks=n_picks),
            reask_words=LETTER_REASK_WORDS if route.logprobs else REASK_WORDS,
            former_facts=partial(self._former_facts, texts, n_picks, vote),
        )
        votes = self._votes_by_key[request.key]
        votes.add(vote)
        return replace(request, repeat=len(votes)) if len(votes) > 1 else request

    def _former_facts(self, texts: Sequence[str], n_picks: int, vote: int) -> dict[str, Any]:
        settings = self._settings
        prompt = settings.prompt.former or settings.prompt
        messages = prompt.messages(texts, n_picks, rationale=settings.rationale)
        facts = {"n_picks": n_picks, "rationale": settings.rationale, "vote": vote}
        return {"messages": messages, **facts}

    def _from_answer(
        self, answer: Answer, request: Request, requests: Sequence[Request], n_texts: int
    ) -> CascadeAnswer:
        n_picks = len(answer.parsed)
        has_reasons = self._settings.rationale
        reasons = parse_reasons(answer.text, n_picks) if has_reasons else [None] * n_picks
        return CascadeAnswer(
            tuple(slot - 1 for slot in answer.parsed),
            tuple(reasons),
            (UsedAnswer.of(answer, request.alias),),
            is_whole=True,
            unanswered=tuple(key for key in _keys(requests) if key != answer.key),
            preferences=read_preferences(answer.text, n_texts) if request.reads_logprobs else (),
        )


def _keys(requests: Sequence[Request]) -> tuple[str, ...]:
    return tuple(request.key for request in requests)


def _in_turn(first: Sequence[int], second: Sequence[int]) -> list[int]:
    pairs = zip_longest(first, second)
    return [pick for pair in pairs for pick in pair if pick is not None]
