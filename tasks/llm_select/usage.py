"""The cost of the answers, and what they show about the judge."""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Self

from tasks.lib.documents.usage import CheckCounts, SlotChoices, Usage, VoteAgreement
from tasks.lib.gateway.lookup import WithoutAnswer
from tasks.lib.journal.models import CallCost, FailedCall
from tasks.lib.journal.reader import JournalReader
from tasks.lib.prompts.geometry import Mode
from tasks.llm_select.attention_checks import CheckKind
from tasks.llm_select.position_bias import Agreement, PositionBias
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import Judged, JudgedPrompt, PickMethod, UsedAnswer

USD_DIGITS = 9


class Bill(NamedTuple):
    """What was paid for the questions: the answers, and the replies without an answer.

    `silent` are the calls without a reply, which may have been charged; they are not in the price.
    """

    answers: list[UsedAnswer]
    unused: list[FailedCall]
    silent: list[FailedCall]

    @classmethod
    def of(cls, judged: Judged, journal: JournalReader) -> Self:
        """Return the bill of the judgements, in all runs together."""
        verdicts = [prompt.verdict for prompt in (*judged.prompts, *judged.attention_checks)]
        answers = [answer for verdict in verdicts for answer in verdict.answers]
        keys = {key for verdict in verdicts for key in verdict.unanswered}
        keys.update(answer.key for answer in answers)
        return cls(answers, *WithoutAnswer.of(journal, keys))

    @property
    def replies(self) -> list[UsedAnswer | CallCost]:
        """The tokens and price of each reply."""
        return [*self.answers, *(call.cost for call in self.unused)]


def make_usage(judged: Judged, setup: Setup, journal: JournalReader) -> Usage:
    """Return the usage.json document of the judgements.

    The journal says which replies without an answer were also paid for.
    """
    routes, params = setup.routes, setup.params
    verdicts = [prompt.verdict for prompt in judged.prompts]
    bill = Bill.of(judged, journal)
    answers, paid = bill.answers, bill.replies
    methods = Counter(verdict.method for verdict in verdicts)
    return Usage(
        route=routes[0].alias,
        fallback_routes=tuple(route.alias for route in routes[1:]),
        model=routes[0].model,
        budget=params.budget[-1],
        n_prompts=len(verdicts),
        n_prompts_planned=judged.n_planned,
        partial="max_usd" if judged.is_partial else None,
        calls=len(answers),
        prompt_tokens=sum(reply.prompt_tokens for reply in paid),
        cached_tokens=sum(reply.cached_tokens for reply in paid),
        completion_tokens=sum(reply.completion_tokens for reply in paid),
        reasoning_tokens=sum(reply.reasoning_tokens for reply in paid),
        usd=round(sum(reply.usd for reply in paid), USD_DIGITS),
        usd_without_answer=round(sum(call.cost.usd for call in bill.unused), USD_DIGITS),
        replies_without_answer=Counter(call.outcome for call in bill.unused),
        usd_without_reply=round(sum(call.cost.usd for call in bill.silent), USD_DIGITS),
        calls_without_reply=Counter(call.outcome for call in bill.silent),
        n_unknown_usage=sum(reply.is_upper_bound for reply in paid),
        answers=Counter(answer.route for answer in answers),
        answers_digest=_digest(bill),
        dropped_params=_dropped_params(answers),
        methods={method.value: methods[method] for method in PickMethod},
        set_aside=Counter(why for verdict in verdicts for why in verdict.set_aside.values()),
        slots_without_logprob=sum(
            ballot.n_candidates - len(ballot.ranking)
            for verdict in verdicts
            for ballot in verdict.ballots
            if ballot.preferences
        ),
        slots=_slots(judged, setup.mode),
        agreement=_agreement(judged, params.votes),
        attention_checks=_attention_checks(judged.attention_checks),
        attention_checks_planned=params.attention_checks,
    )


def _digest(bill: Bill) -> str:
    """Return a hash of all answers, and of the replies without an answer, with their prices.

    Calls without a reply are not part of it, since a killed run has more of them.
    """
    digest = sha256()
    for answer in bill.answers:
        digest.update(f"{answer.key} {answer.digest}\n".encode())
    # Sorted, since calls at the same time fail in any order.
    for line in sorted(f"{call.key} {call.outcome} {list(call.cost)}\n" for call in bill.unused):
        digest.update(line.encode())
    return digest.hexdigest()


def _dropped_params(answers: Iterable[UsedAnswer]) -> dict[str, tuple[str, ...]]:
    names: dict[str, set[str]] = {}
    for answer in answers:
        if answer.dropped_params:
            names.setdefault(answer.route, set()).update(answer.dropped_params)
    return {route: tuple(sorted(dropped)) for route, dropped in names.items()}


def _slots(judged: Judged, mode: Mode) -> SlotChoices:
    bias = PositionBias()
    for _, verdict in judged.prompts:
        if verdict.ballots and verdict.ballots[0].is_whole:
            bias.add(verdict.ballots[0].n_candidates, verdict.ballots[0].shown)
    return SlotChoices(is_shuffled=mode is not Mode.PAPER, **bias.summary())


def _agreement(judged: Judged, n_votes: int) -> VoteAgreement:
    agreement = Agreement(n_votes)
    for question, verdict in judged.prompts:
        if verdict.ballots:
            rankings = [ballot.ranking for ballot in verdict.ballots]
            agreement.add(len(question.candidates), rankings)
    return VoteAgreement(**agreement.summary())


def _attention_checks(checks: Sequence[JudgedPrompt]) -> dict[str, CheckCounts]:
    shown: Counter[str] = Counter()
    picked: Counter[str] = Counter()
    by_chance: dict[str, float] = {}
    for question, verdict in checks:
        if question.attention_check is not None and verdict.ballots:
            kind = question.attention_check.kind.value
            shown[kind] += 1
            picked[kind] += verdict.attention_check_slot in verdict.ballots[0].shown
            chance = min(1.0, question.n_ranked / len(question.candidates))
            by_chance[kind] = round(by_chance.get(kind, 0.0) + chance, 6)
    return {
        kind: CheckCounts(shown=shown[kind], picked=picked[kind], by_chance=by_chance[kind])
        for kind in map(str, CheckKind)
        if shown[kind]
    }
