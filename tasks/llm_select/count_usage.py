"""The cost of the answers, and what they show about the judge."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from tasks.lib.documents.usage import CheckCounts, SlotChoices, Usage, VoteAgreement
from tasks.lib.gateway.journal_lookup import WithoutAnswer
from tasks.lib.journal.models import CallCost
from tasks.lib.journal.reader import JournalReader
from tasks.lib.prompts.prompt_size import Mode
from tasks.llm_select.position_bias import PositionBias
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import JudgedPrompt, PickMethod, Question, UsedAnswer, Verdict
from tasks.llm_select.vote_agreement import Agreement

USD_DIGITS = 9
TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


class UsageTally:
    """Counts verdicts one by one, so that none of them has to be kept in memory.

    Args:
        setup: The questions and the judge.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._bill, self._checks = Bill(), _Checks()
        self._bias, self._agreement = PositionBias(), Agreement(setup.params.votes)
        self._methods: Counter[PickMethod] = Counter()
        self._set_aside: Counter[str] = Counter()
        self._slots_without_logprob = 0

    def add(self, judged: JudgedPrompt) -> None:
        """Count a verdict; those on attention checks come last."""
        question, verdict = judged
        self._bill.add(verdict)
        if question.attention_check is not None:
            self._checks.add(question, verdict)
            return
        self._methods[verdict.method] += 1
        self._set_aside.update(verdict.set_aside.values())
        if verdict.ballots:
            first = verdict.ballots[0]
            if first.is_whole:
                self._bias.add(first.n_candidates, first.shown)
            rankings = [ballot.ranking for ballot in verdict.ballots]
            self._agreement.add(len(question.candidates), rankings)
        self._slots_without_logprob += sum(
            ballot.n_candidates - len(ballot.ranking)
            for ballot in verdict.ballots
            if ballot.preferences
        )

    def usage(self, journal: JournalReader) -> Usage:
        """Return the usage.json document of the verdicts.

        The journal says which replies without an answer were also paid for.
        """
        routes, params = self._setup.routes, self._setup.params
        n_planned, n_prompts = len(self._setup.candidates.prompts), self._methods.total()
        return Usage(
            route=routes[0].alias,
            fallback_routes=tuple(route.alias for route in routes[1:]),
            model=routes[0].model,
            budget=params.budget[-1],
            n_prompts=n_prompts,
            n_prompts_planned=n_planned,
            partial="max_usd" if n_prompts < n_planned else None,
            methods={method.value: self._methods[method] for method in PickMethod},
            set_aside=self._set_aside,
            slots_without_logprob=self._slots_without_logprob,
            slots=SlotChoices(
                is_shuffled=self._setup.mode is not Mode.PAPER, **self._bias.summary()
            ),
            agreement=VoteAgreement(**self._agreement.summary()),
            attention_checks=self._checks.counts(),
            attention_checks_planned=params.attention_checks,
            **self._bill.facts(journal),
        )


class Bill:
    """The answers so far: their number, their cost, and a hash of all of them."""

    def __init__(self) -> None:
        self._routes: Counter[str] = Counter()
        self._dropped_params: dict[str, set[str]] = {}
        self._cost = _Cost()
        self._digest = sha256()
        self._keys = bytearray()  # of all questions, 32 bytes each

    def add(self, verdict: Verdict) -> None:
        """Count the answers behind a verdict."""
        for answer in verdict.answers:
            self._routes[answer.route] += 1
            if answer.dropped_params:
                names = self._dropped_params.setdefault(answer.route, set())
                names.update(answer.dropped_params)
            self._cost.add(answer)
            self._digest.update(f"{answer.key} {answer.digest}\n".encode())
            self._keys += bytes.fromhex(answer.key)
        for key in verdict.unanswered:
            self._keys += bytes.fromhex(key)

    def facts(self, journal: JournalReader) -> dict[str, Any]:
        """Return what the answers and the calls without an answer cost, in all runs together.

        Calls without a reply, which may have been charged, are not in the price. Nor are they in
        the hash, since a killed run has more of them.
        """
        unused, silent = WithoutAnswer.of(journal, self._each_key())
        for call in unused:
            self._cost.add(call.cost)
        # Sorted, since calls at the same time fail in any order.
        for line in sorted(f"{call.key} {call.outcome} {list(call.cost)}\n" for call in unused):
            self._digest.update(line.encode())
        dropped = {route: tuple(sorted(names)) for route, names in self._dropped_params.items()}
        return {
            "calls": self._routes.total(),
            "usd_without_answer": round(sum(call.cost.usd for call in unused), USD_DIGITS),
            "replies_without_answer": Counter(call.outcome for call in unused),
            "usd_without_reply": round(sum(call.cost.usd for call in silent), USD_DIGITS),
            "calls_without_reply": Counter(call.outcome for call in silent),
            "answers": self._routes,
            "answers_digest": self._digest.hexdigest(),
            "dropped_params": dropped,
            **self._cost.totals(),
        }

    def _each_key(self) -> Iterator[str]:
        for start in range(0, len(self._keys), sha256().digest_size):
            yield self._keys[start : start + sha256().digest_size].hex()


class _Cost:
    """The tokens and the price of replies."""

    def __init__(self) -> None:
        self._tokens: Counter[str] = Counter()
        self._usd, self._n_unknown = 0.0, 0

    def add(self, reply: UsedAnswer | CallCost) -> None:
        """Add a reply that was paid for."""
        for name in TOKENS:
            self._tokens[name] += getattr(reply, name)
        self._usd += reply.usd
        self._n_unknown += reply.is_upper_bound

    def totals(self) -> dict[str, Any]:
        """Return the totals, named as in usage.json."""
        tokens = {name: self._tokens[name] for name in TOKENS}
        usd = round(self._usd, USD_DIGITS)
        return {**tokens, "usd": usd, "n_unknown_usage": self._n_unknown}


class _Checks:
    """The attention checks that got a vote, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, CheckCounts] = {}

    def add(self, question: Question, verdict: Verdict) -> None:
        """Count a check."""
        if question.attention_check is None or not verdict.ballots:
            return
        kind = question.attention_check.kind.value
        old = self._counts.get(kind, CheckCounts(shown=0, picked=0, by_chance=0.0))
        chance = min(1.0, question.n_ranked / len(question.candidates))
        self._counts[kind] = CheckCounts(
            shown=old.shown + 1,
            picked=old.picked + (verdict.attention_check_slot in verdict.ballots[0].shown),
            by_chance=round(old.by_chance + chance, 6),
        )

    def counts(self) -> dict[str, CheckCounts]:
        """Return the counts of each kind that was shown."""
        return self._counts
