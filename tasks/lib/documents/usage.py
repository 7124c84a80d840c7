"""usage.json, which llm_select writes: what the answers cost, and how the judge behaved."""

import operator
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from tasks.lib.documents.document import Document, Part


class SlotChoices(Part):
    """First choices by slot, from the first vote on each prompt.

    Attributes:
        is_shuffled: Whether slots are random. In paper mode slots are clusters, so the other
            fields say nothing about the judge.
        n_prompts: The number of prompts counted.
        observed: First choices by slot, from slot 1.
        expected: The same for a judge that ignores slots.
        position_bias: Total variation distance between observed and expected shares, 0 to 1.
        position_bias_by_chance: The mean position bias of a judge that ignores slots.
        chi_square: The test statistic; None if there are too few prompts for the test.
        df: The degrees of freedom of the test.
        p_value: The probability of a chi-square at least as large for a judge that ignores slots.
    """

    is_shuffled: bool
    n_prompts: int
    observed: tuple[int, ...]
    expected: tuple[float, ...]
    position_bias: float | None
    position_bias_by_chance: float | None
    chi_square: float | None
    df: int | None
    p_value: float | None


class VoteAgreement(Part):
    """How often the votes on a prompt agree on the first pick; None if there are no prompts.

    Attributes:
        n_prompts: The number of prompts with two votes or more.
        same_first: Mean share of pairs of votes with the same first pick.
        by_chance: The same for random picks.
        kappa: 0 for chance, 1 for votes that always agree.
    """

    n_prompts: int
    same_first: float | None
    by_chance: float | None
    kappa: float | None


class CheckCounts(Part):
    """Attention checks of one kind.

    Attributes:
        shown: The number of checks that got a vote.
        picked: The number of checks that were picked.
        by_chance: The number of checks that random picks would hit on average.
    """

    shown: int
    picked: int
    by_chance: float


class Usage(Document):
    """The usage.json document of llm_select.

    Tokens and prices count every reply that was paid for, including those without an answer. Calls
    without a reply are listed separately, since it is unknown whether they were charged.

    Attributes:
        route: The alias of the first route.
        fallback_routes: The aliases of the other routes, in the order in which they are tried.
        model: The model of the first route.
        budget: The number of records to select.
        n_prompts: The number of prompts that were judged.
        n_prompts_planned: The number of prompts that were to be judged.
        partial: ``max_usd`` if the cap left prompts without a judgement, otherwise None.
        calls: The number of answers used.
        prompt_tokens: The tokens of the questions.
        cached_tokens: The prompt tokens that the provider found in its cache.
        completion_tokens: The tokens of the replies, including thinking.
        reasoning_tokens: The completion tokens that were used for thinking.
        usd: The price of the replies; an upper bound if a provider reported no usage.
        usd_without_answer: The part of this price for replies without an answer.
        replies_without_answer: The number of these replies, by reason.
        usd_without_reply: The most that calls without a reply may have cost, in addition to `usd`.
        calls_without_reply: The number of these calls, by reason.
        n_unknown_usage: The number of replies whose usage is missing or impossible.
        answers: The number of answers by route.
        answers_digest: A hash of all answers used, in prompt order with attention checks last, and
            of the calls without an answer, with their prices.
        dropped_params: By route, the parameters that its model does not accept.
        methods: The number of prompts by how they were judged: llm, offline or fallback.
        set_aside: The number of candidates that could not be judged, by reason.
        slots_without_logprob: The number of slots whose letter was not among the likeliest tokens,
            in all answers from routes with logprobs; absent if 0.
        attention_checks: Counts by kind of check.
        attention_checks_planned: The number of checks that were planned.
    """

    renamed: ClassVar[Mapping[str, str]] = {
        "left_out": "dropped_params",
        "canaries": "attention_checks",
        "canaries_planned": "attention_checks_planned",
        "slots.slot_bias": "slots.position_bias",
        "slots.slot_bias_by_chance": "slots.position_bias_by_chance",
    }

    route: str
    fallback_routes: tuple[str, ...]
    model: str
    budget: int
    n_prompts: int
    n_prompts_planned: int
    partial: str | None
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    usd: float
    usd_without_answer: float
    replies_without_answer: dict[str, int]
    usd_without_reply: float
    calls_without_reply: dict[str, int]
    n_unknown_usage: int
    answers: dict[str, int]
    answers_digest: str
    dropped_params: dict[str, tuple[str, ...]]
    methods: dict[str, int]
    set_aside: dict[str, int]
    slots_without_logprob: int = Field(default=0, exclude_if=operator.not_)
    slots: SlotChoices
    agreement: VoteAgreement
    attention_checks: dict[str, CheckCounts]
    attention_checks_planned: int
