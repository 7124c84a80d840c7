"""What the models of several routes say of some texts: one after the other, in parts if need be."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import NamedTuple

from tasks.lib.gateway.caller import Caller
from tasks.lib.gateway.endpoint import Habits
from tasks.lib.gateway.ledger import Till
from tasks.lib.gateway.prompt import Prompt
from tasks.lib.gateway.request import NoAnswer, Posed
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.models import Answer, answer_key
from tasks.lib.prompts.quota import Take
from tasks.llm_select.picks import answer_schema, parse_picks, parse_reasons
from tasks.llm_select.verdicts import Bought
from tasks.llm_select.votes import n_ranked


class Terms(NamedTuple):
    """What is asked, in the words of params.yaml where they come from there."""

    prompt: Prompt
    rationale: bool
    votes: int
    max_candidate_chars: int
    habits: Habits
    take: Take = Take.FIRST

    def n_ranks(self, n_slots: int, n_picks: int) -> int:
        """How many slots an answer ranks for a prompt of so many to make so many picks."""
        n_wanted = n_picks if self.take is Take.FIRST else n_slots
        return n_ranked(n_slots, n_wanted, self.votes)


class Named(NamedTuple):
    """A text that was picked."""

    at: int  # index of the text
    reason: str | None = None


class Aside(NamedTuple):
    """A text that no model could be shown, not even alone."""

    at: int  # index of the text
    why: NoAnswer


class Ruling(NamedTuple):
    """What came of showing some texts."""

    named: tuple[Named, ...] = ()  # the best first; fewer than asked for where answers lack
    bought: tuple[Bought, ...] = ()
    aside: tuple[Aside, ...] = ()
    is_whole: bool = False  # from one answer to all of the texts together


class Panel:
    """Routes in the order in which they are asked, within one event loop."""

    def __init__(self, routes: Sequence[Route], terms: Terms, till: Till) -> None:
        self._terms = terms
        self._callers = [
            Caller(route, terms.habits, till, is_last=route is routes[-1]) for route in routes
        ]

    async def rule(self, texts: Sequence[str], n_picks: int, vote: int) -> Ruling:
        """Which `n_picks` of the texts are picked; none where no route gives an answer.

        An answer of the journal is taken before any route is asked. Where the texts are too long
        together, or one of them is blocked, they are asked about in halves.
        """
        asked = [
            (caller, self._pose(caller.route, texts, n_picks, vote)) for caller in self._callers
        ]
        for caller, posed in asked:
            answer = caller.recall(posed)
            if isinstance(answer, Answer):
                return self._ruling(caller.route, posed, answer)
        for caller in self._callers:  # a route that stands in is not to fail when it is needed
            caller.prepare()
        for caller, posed in asked:
            told = await caller.answer(posed)
            if isinstance(told, Answer):
                return self._ruling(caller.route, posed, told)
            if told.is_of_the_text:
                return await self._rule_halves(texts, n_picks, vote, told)
        return Ruling()

    async def close(self) -> None:
        """Close the connections to the providers."""
        for caller in self._callers:
            await caller.close()

    async def _rule_halves(
        self, texts: Sequence[str], n_picks: int, vote: int, why: NoAnswer
    ) -> Ruling:
        """The picks of both halves in turn; of two winners for one pick a third answer decides."""
        if len(texts) == 1:
            return Ruling(aside=(Aside(0, why),))
        middle = -(-len(texts) // 2)
        first = await self.rule(texts[:middle], min(n_picks, middle), vote)
        second = _shift(
            await self.rule(texts[middle:], min(n_picks, len(texts) - middle), vote), middle
        )
        named = tuple(_in_turn(first.named, second.named))
        bought = first.bought + second.bought
        if n_picks == 1 and len(named) == 2 < len(texts):
            final = await self.rule([texts[each.at] for each in named], 1, vote)
            named = tuple(named[each.at] for each in final.named) or named
            bought += final.bought
        return Ruling(named[:n_picks], bought, first.aside + second.aside)

    def _pose(self, route: Route, texts: Sequence[str], n_picks: int, vote: int) -> Posed:
        terms = self._terms
        messages = terms.prompt.messages(texts, n_picks, rationale=terms.rationale)
        key = answer_key(
            model=route.model,
            messages=messages,
            temperature=route.temperature,
            seed=terms.habits.seed,
            max_tokens=terms.habits.max_answer_tokens,
            schema=route.schema_use,
            n_picks=n_picks,
            rationale=terms.rationale,
            vote=vote,
        )
        schema = answer_schema(len(texts), n_picks, rationale=terms.rationale)
        read = partial(parse_picks, n_candidates=len(texts), n_picks=n_picks)
        return Posed(key, messages, schema, read)

    def _ruling(self, route: Route, posed: Posed, answer: Answer) -> Ruling:
        """What an answer says; it may have been bought when the route had another alias."""
        bought = Bought.of(posed.key, answer)._replace(route=route.alias)
        n_picks = len(answer.picks)
        asked = self._terms.rationale
        reasons = parse_reasons(answer.text, n_picks) if asked else [None] * n_picks
        named = (Named(slot - 1, why) for slot, why in zip(answer.picks, reasons, strict=True))
        return Ruling(tuple(named), (bought,), is_whole=True)


def _shift(ruling: Ruling, by: int) -> Ruling:
    """The same ruling on texts that stand so much later."""
    return ruling._replace(
        named=tuple(each._replace(at=each.at + by) for each in ruling.named),
        aside=tuple(each._replace(at=each.at + by) for each in ruling.aside),
    )


def _in_turn(first: Sequence[Named], second: Sequence[Named]) -> Iterator[Named]:
    for pair in zip_longest(first, second):
        yield from (each for each in pair if each is not None)
