"""Models as the judge of questions, with the rubric in their place where they give no answer."""

from collections.abc import Callable, Iterable, Sequence

from tasks.lib.gateway.fence import shorten
from tasks.lib.gateway.ledger import Till
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.workers import WAITING_PER_CALL, Crowd
from tasks.lib.journal.journal import Journal
from tasks.lib.prompts.quota import Take
from tasks.lib.rubric.rubric import choose
from tasks.llm_select.attention_checks import plant
from tasks.llm_select.cascade import Panel, Ruling, Terms
from tasks.llm_select.verdicts import Candidates, Method, Question, SetAside, Verdict, Vote
from tasks.llm_select.votes import as_ballot, combine, is_settled, n_useful, order


class ModelJudge:
    """Lets models pick, within one event loop.

    Every answer is looked for in the journal first, and is in it before it counts. Each question
    goes to the first route; where that gives no answer, to the next; then to the rubric.

    Args:
        routes: Whose models to ask, in this order.
        terms: What to ask, and how.
        texts: Gives the texts of candidates, in their order.
        journal: Where answers are kept and spending is booked.
        advance: Called for each question that has its verdict.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        terms: Terms,
        texts: Callable[[Candidates], Sequence[str]],
        journal: Journal,
        advance: Callable[[], None],
    ) -> None:
        self._terms, self._texts = terms, texts
        self._method = Method.RUBRIC if routes[0].is_rubric else Method.LLM
        limit = WAITING_PER_CALL * terms.habits.concurrency
        self._crowd = Crowd(self._judge, limit=limit, advance=advance)
        self._till = Till(journal, self._crowd.stopping)
        self._panel = Panel(routes, terms, self._till)

    async def __call__(self, questions: Iterable[Question]) -> list[Verdict | None]:
        """A verdict on each question, in their order; texts are read when it is their turn.

        Once the cap is reached, None stands for a question that was left, and those that were not
        even looked at are missing at the end.

        Raises:
            LLMError: A provider refuses, or none can be reached; answers so far are kept.
            ParamError: A route's provider or price is unknown, or its key is not set.
        """
        return await self._crowd.answers(questions)

    async def close(self) -> None:
        """Close the connections, and tell in one line which calls failed."""
        await self._panel.close()
        self._till.tell()

    async def _judge(self, question: Question) -> Verdict:
        """The verdict of all votes on a question."""
        limit = self._terms.max_candidate_chars
        texts = [shorten(text, limit) for text in self._texts(question.candidates)]
        attention_check = question.attention_check
        attention_check_slot = None
        if attention_check is not None:
            texts, attention_check_slot = plant(texts, attention_check.kind, attention_check.seed)
        terms = (
            self._terms
            if attention_check is None
            else self._terms._replace(votes=1, take=Take.FIRST)
        )
        n_votes = n_useful(len(texts), terms.votes)
        n_ranks = terms.n_ranks(len(texts), question.n_picks)
        n_wanted = question.n_picks if terms.take is Take.FIRST else len(texts)
        votes: list[Vote] = []
        rulings: list[Ruling] = []
        for number in range(1, n_votes + 1):
            shown = order(len(texts), number, n_votes)
            ruling = await self._panel.rule([texts[i] for i in shown], n_ranks, number)
            rulings.append(_unturned(ruling, shown))
            votes += _votes(ruling, shown)
            if is_settled([vote.ballot for vote in votes], n_votes, n_wanted):
                break
        verdict = self._verdict(texts, n_wanted, votes, rulings)
        kept = terms.take.ranks(n_wanted, question.n_picks)
        return verdict._replace(
            slots=verdict.slots[kept],
            methods=verdict.methods[kept],
            reasons=verdict.reasons[kept],
            attention_check_slot=attention_check_slot,
        )

    def _verdict(
        self, texts: list[str], n_picks: int, votes: list[Vote], rulings: list[Ruling]
    ) -> Verdict:
        """What the votes come to; the rubric fills up what they leave open."""
        voted = combine([vote.ballot for vote in votes], texts, n_picks)
        aside = {each.at + 1: each.why.value for ruling in rulings for each in ruling.aside}
        reasons = {e.at + 1: e.reason for ruling in reversed(rulings) for e in ruling.named}
        n_left = n_picks - len(voted)
        slots = voted + (_others(texts, {*voted}, {*aside})[:n_left] if n_left else ())
        methods = [self._method] * len(voted) + [Method.FALLBACK] * n_left
        return Verdict(
            slots,
            tuple(methods),
            tuple(reasons.get(slot) for slot in slots),
            tuple(votes),
            tuple(bought for ruling in rulings for bought in ruling.bought),
            tuple(SetAside(*each) for each in sorted(aside.items())),
        )


def _votes(ruling: Ruling, shown: Sequence[int]) -> list[Vote]:
    """The vote that a ruling is, if it names anything."""
    if not ruling.named:
        return []
    slots = tuple(each.at + 1 for each in ruling.named)
    return [Vote(len(shown), slots, as_ballot(slots, shown), ruling.is_whole)]


def _unturned(ruling: Ruling, shown: Sequence[int]) -> Ruling:
    """The ruling with its texts' places in the prompt's own order."""
    return ruling._replace(
        named=tuple(each._replace(at=shown[each.at]) for each in ruling.named),
        aside=tuple(each._replace(at=shown[each.at]) for each in ruling.aside),
    )


def _others(texts: Sequence[str], named: set[int], aside: set[int]) -> tuple[int, ...]:
    """The slots that no vote names, as the rubric ranks them; those set aside come last."""
    ranked = [slot for slot in choose(texts, len(texts)) if slot not in named]
    return tuple(sorted(ranked, key=lambda slot: slot in aside))
