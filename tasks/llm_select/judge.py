"""The judge of questions: models, or the rubric where they give no answer."""

from collections.abc import Callable, Iterable, Sequence

from tasks.lib.core.shown import shorten
from tasks.lib.gateway.lookup import AnswerSource
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.task_pool import WAITING_PER_CALL, TaskPool
from tasks.lib.prompts.quota import Take
from tasks.lib.rubric.rubric import choose
from tasks.llm_select.attention_checks import insert
from tasks.llm_select.cascade import Judgement, JudgeSettings, RouteCascade
from tasks.llm_select.verdicts import Ballot, Members, PickMethod, Question, Verdict
from tasks.llm_select.votes import as_ballot, combine, is_settled, n_useful, order


class Judge:
    """Asks models for their picks, within one event loop.

    Each question goes to the first route; if that gives no answer, to the next; then to the
    rubric.

    Args:
        gateway: Answers the requests.
        routes: Of the gateway, in the order in which they are asked.
        settings: How votes are asked for.
        texts: Returns the texts of candidates, in their order.
        advance: Called for each question that has its verdict.
    """

    def __init__(
        self,
        gateway: AnswerSource,
        routes: Sequence[Route],
        settings: JudgeSettings,
        texts: Callable[[Members], Sequence[str]],
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self._gateway, self._routes = gateway, routes
        self._settings, self._texts = settings, texts
        self._method = PickMethod.RUBRIC if routes[0].is_rubric else PickMethod.LLM
        limit = WAITING_PER_CALL * settings.calls.concurrency
        self._pool = TaskPool(self._judge, limit=limit, advance=advance, stopping=gateway.stopping)

    async def __call__(self, questions: Iterable[Question]) -> list[Verdict | None]:
        """Return a verdict on each question, in their order; texts are read when their turn comes.

        Once the cap is reached, the verdict on a question without an answer is None; questions
        that were not begun are missing at the end.

        Raises:
            LLMError: A provider refuses, or none can be reached; answers so far are kept.
            ParamError: A route's provider or price is unknown, or its key is not set.
        """
        return await self._pool.answers(questions)

    async def _judge(self, question: Question) -> Verdict:
        """Return the verdict of all votes on a question."""
        settings, n_picks = self._settings, question.n_picks
        max_chars = settings.max_candidate_chars
        texts = [shorten(text, max_chars) for text in self._texts(question.candidates)]
        check, check_slot = question.attention_check, None
        if check is not None:
            texts, check_slot = insert(texts, check.kind, check.seed)
            settings = settings._replace(votes=1, take=Take.FIRST)
        n_ranked = n_picks if settings.take is Take.FIRST else len(texts)
        ballots, judgements = await self._vote(texts, n_picks, n_ranked, settings)
        verdict = self._verdict(texts, n_ranked, ballots, judgements)
        kept = settings.take.ranks(n_ranked, n_picks)
        return verdict._replace(
            slots=verdict.slots[kept],
            methods=verdict.methods[kept],
            reasons=verdict.reasons[kept],
            attention_check_slot=check_slot,
        )

    async def _vote(
        self, texts: list[str], n_picks: int, n_ranked: int, settings: JudgeSettings
    ) -> tuple[list[Ballot], list[Judgement]]:
        """Show the texts in one order after another, until the vote is settled."""
        cascade = RouteCascade(self._gateway, self._routes, settings)
        n_votes = n_useful(len(texts), settings.votes)
        n_asked = settings.n_ranks(len(texts), n_picks)
        ballots: list[Ballot] = []
        judgements: list[Judgement] = []
        for vote in range(1, n_votes + 1):
            shown = order(len(texts), vote, n_votes)
            judgement = await cascade.judge([texts[i] for i in shown], n_asked, vote)
            judgements.append(judgement.renumbered(shown))
            if judgement.picks:
                slots = tuple(i + 1 for i in judgement.picks)
                ranking = as_ballot(slots, shown)
                ballots.append(Ballot(len(shown), slots, ranking, judgement.is_whole))
            if is_settled([ballot.ranking for ballot in ballots], n_votes, n_ranked):
                break
        return ballots, judgements

    def _verdict(
        self,
        texts: list[str],
        n_ranked: int,
        ballots: list[Ballot],
        judgements: list[Judgement],
    ) -> Verdict:
        """Return the result of the votes; the rubric fills the ranks that they leave open."""
        voted = combine([ballot.ranking for ballot in ballots], texts, n_ranked)
        set_aside = {i + 1: why.value for j in judgements for i, why in j.set_aside.items()}
        reasons: dict[int, str | None] = {}
        for judgement in reversed(judgements):
            reasons |= zip((i + 1 for i in judgement.picks), judgement.reasons, strict=True)
        n_open = n_ranked - len(voted)
        slots = voted + (_others(texts, {*voted}, {*set_aside})[:n_open] if n_open else ())
        return Verdict(
            slots=slots,
            methods=(self._method,) * len(voted) + (PickMethod.FALLBACK,) * n_open,
            reasons=tuple(reasons.get(slot) for slot in slots),
            ballots=tuple(ballots),
            answers=tuple(answer for judgement in judgements for answer in judgement.answers),
            set_aside=dict(sorted(set_aside.items())),
        )


def _others(texts: Sequence[str], named: set[int], set_aside: set[int]) -> tuple[int, ...]:
    """Return the slots that no vote names, in the rubric's order, those set aside last."""
    ranked = [slot for slot in choose(texts, len(texts)) if slot not in named]
    return tuple(sorted(ranked, key=lambda slot: slot in set_aside))
