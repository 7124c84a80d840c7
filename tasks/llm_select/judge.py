"""The judge of prompts: models, or the offline judge where they give no answer."""

from collections.abc import Callable, Iterable, Sequence

from tasks.lib.core.shown_text import shorten
from tasks.lib.gateway.journal_lookup import AnswerSource, Pending
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.task_pool import WAITING_PER_CALL, TaskPool
from tasks.lib.prompts.share_budget import Take
from tasks.lib.typicality.typicality import choose
from tasks.llm_select.ask_routes import CascadeAnswer, JudgeSettings, RouteCascade
from tasks.llm_select.attention_checks import insert
from tasks.llm_select.letters import LetterBias, mean_preferences
from tasks.llm_select.verdicts import (
    PENDING,
    Ballot,
    JudgedPrompt,
    Members,
    PickMethod,
    Question,
    Receive,
    Verdict,
)
from tasks.llm_select.votes import (
    as_ballot,
    combine,
    is_settled,
    judge_scores,
    n_certain,
    n_useful,
    order,
)


class Judge:
    """Asks models to rank candidates, within one event loop.

    Each question goes to the routes in turn until one answers; if none does, to the offline judge.

    Args:
        gateway: Answers the requests.
        routes: The routes of the gateway, in the order in which they are tried.
        settings: The settings of the judge.
        texts: Returns the texts of candidates, in order.
        advance: Called whenever a question gets its verdict.
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
        self._bias = LetterBias()
        self._method = PickMethod.OFFLINE if routes[0].is_offline else PickMethod.LLM
        limit = WAITING_PER_CALL * settings.calls.concurrency
        self._pool = TaskPool(
            self._judge_or_wait, limit=limit, advance=advance, stopping=gateway.stopping
        )

    async def __call__(self, questions: Iterable[Question], receive: Receive) -> None:
        """Pass each question on with its verdict, in order; texts are read just before it is sent.

        Once the cap is reached, None is passed on for a question without an answer, and the
        questions that were not started are missing from the end. With log-probabilities, nothing
        is passed on before the last answer, since the letters' bias is estimated from all of them.

        Raises:
            LLMError: A provider refuses, or none can be reached; answers so far are kept.
            ParamError: A route's provider or price is unknown, or its key is not set.
        """
        if not any(route.logprobs for route in self._routes):
            await self._pool.pass_on(questions, receive)
            return
        judged = await self._pool.answers(questions)
        for _, verdict in filter(None, judged):
            for ballot in verdict.ballots:
                if ballot.preferences:
                    self._bias.add(ballot.preferences)
        for prompt in judged:
            receive(prompt and prompt._replace(verdict=self._calibrated(prompt.verdict)))

    def _calibrated(self, verdict: Verdict) -> Verdict:
        """Rank the slots of a verdict by their log-probabilities if every ballot has them."""
        votes = [ballot.preferences for ballot in verdict.ballots]
        if not votes or not all(votes):
            return verdict
        orders = [ballot.order for ballot in verdict.ballots]
        means = mean_preferences(votes, orders, self._bias.without(votes))
        named = {slot: None for ballot in verdict.ballots for slot in ballot.ranking}
        ranked = sorted(named, key=lambda slot: -means[slot - 1])[: len(verdict.slots)]
        others = tuple(slot for slot in verdict.slots if slot not in named)
        scores = judge_scores(tuple(ranked), len(means), self._settings.shortlist)
        return verdict._replace(slots=(*ranked, *others), scores=scores)

    async def _judge_or_wait(self, question: Question) -> JudgedPrompt:
        try:
            return JudgedPrompt(question, await self._judge(question))
        except Pending:
            return JudgedPrompt(question, PENDING)

    async def _judge(self, question: Question) -> Verdict:
        """Return the verdict of all votes on a question."""
        settings = self._settings
        max_chars = settings.max_candidate_chars
        texts = [shorten(text, max_chars) for text in self._texts(question.candidates)]
        check, check_slot = question.attention_check, None
        if check is not None:
            texts, check_slot = insert(texts, check.kind, check.seed)
            settings = settings._replace(votes=1, take=Take.FIRST)
        is_first = settings.take is Take.FIRST  # then every slot that a ballot names has a rank
        n_needed = question.n_ranked if is_first else len(texts)
        ballots, answers = await self._vote(texts, n_needed, settings)
        taken = slice(None) if is_first else settings.take.ranks(n_needed, question.n_ranked)
        verdict = self._verdict(texts, taken, n_needed, ballots, answers)
        return verdict._replace(attention_check_slot=check_slot) if check else verdict

    async def _vote(
        self, texts: list[str], n_needed: int, settings: JudgeSettings
    ) -> tuple[list[Ballot], list[CascadeAnswer]]:
        """Show the texts in one order after another, until the vote is settled.

        Raises:
            Pending: Answers are missing; votes that might prove unnecessary were not requested.
        """
        cascade = RouteCascade(self._gateway, self._routes, settings)
        n_votes = n_useful(len(texts), settings.votes)
        n_asked = settings.n_asked(len(texts), n_needed)
        ballots: list[Ballot] = []
        answers: list[CascadeAnswer] = []
        pending: Pending | None = None
        for vote in range(1, n_votes + 1):
            rankings = [ballot.ranking for ballot in ballots]
            if pending and vote > n_certain(rankings, n_votes, n_needed):
                break
            shown = order(len(texts), vote, n_votes)
            try:
                answer = await cascade.judge([texts[i] for i in shown], n_asked, vote)
            except Pending as error:
                pending = error
                continue
            answers.append(answer if vote == 1 else answer.renumbered(shown))  # 1 keeps the order
            if answer.picks:
                slots = tuple(i + 1 for i in answer.picks)
                ballot = Ballot(len(shown), slots, as_ballot(slots, shown), answer.is_whole)
                if answer.preferences:
                    ballot = ballot._replace(preferences=answer.preferences, order=shown)
                ballots.append(ballot)
            if is_settled([ballot.ranking for ballot in ballots], n_votes, n_needed):
                break
        if pending:
            raise pending
        return ballots, answers

    def _verdict(
        self,
        texts: list[str],
        taken: slice,
        n_needed: int,
        ballots: list[Ballot],
        answers: list[CascadeAnswer],
    ) -> Verdict:
        """Combine the votes into a verdict; the offline judge fills the ranks left open."""
        voted = combine([ballot.ranking for ballot in ballots], texts)
        not_judged = {i + 1: why.value for a in answers for i, why in a.set_aside.items()}
        set_aside = {slot: not_judged[slot] for slot in sorted(not_judged) if slot not in voted}
        reasons: dict[int, str] = {}
        for answer in reversed(answers):
            pairs = zip(answer.picks, answer.reasons, strict=True)
            reasons |= {i + 1: reason for i, reason in pairs if reason}
        n_open = max(0, n_needed - len(voted))
        others = _others(texts, {*voted, *set_aside})[:n_open] if n_open else ()
        slots = (voted + others)[taken]
        scored = tuple(slot for slot in slots if slot in voted) if ballots else slots
        return Verdict(
            slots=slots,
            scores=judge_scores(scored, len(texts), self._settings.shortlist),
            method=self._method if ballots else PickMethod.FALLBACK,
            reasons=reasons,
            ballots=tuple(ballots),
            answers=tuple(used for answer in answers for used in answer.answers),
            set_aside=set_aside,
            unanswered=tuple(key for answer in answers for key in answer.unanswered),
        )


def _others(texts: Sequence[str], excluded: set[int]) -> tuple[int, ...]:
    """Return the slots that are not excluded, in the offline judge's order."""
    return tuple(slot for slot in choose(texts, len(texts)) if slot not in excluded)
