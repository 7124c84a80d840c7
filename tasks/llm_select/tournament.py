"""The selection by a judge: rounds of prompts, from all candidates to as many as the budget.

`verify` goes through it too, with a judge that only looks up what was answered.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.plan import Round, Rules, plan_rounds
from tasks.lib.prompts.quota import prompt_order, quotas
from tasks.llm_select.attention_checks import plan as plan_attention_checks
from tasks.llm_select.verdicts import Candidates, Judge, Pick, Question, Selection, Verdict


async def llm_select(
    prompts: Sequence[Candidates], clusters: NDArray[np.int32], rules: Rules, judge: Judge
) -> Selection:
    """Select `rules.budget` candidates by the judgement of `judge`, in as few rounds as will do.

    The first picks of a round's prompts make up the prompts of the next round, until there are no
    more prompts than the smallest budget has picks. The same judgements give the same selection,
    and its first n records are the selection for each smaller budget n.

    Args:
        prompts: The first round's prompts; no candidate stands in two, and together they hold
            at least as many as are to be selected.
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        rules: How.
        judge: Who picks.
    """
    first = list(prompts)
    won: list[Pick] = []
    picks: list[Pick] = []
    selected: list[Pick] = []
    plan = plan_rounds(sum(map(len, prompts)), len(prompts), rules)
    for this in plan:
        if this.round > 1:
            winners = [pick.candidate for pick in won if pick.rank == 1]
            prompts = next_prompts(winners, clusters, rules, this.round - 1)
        sizes = np.array([len(prompt) for prompt in prompts])
        won = await _hold(this, prompts, quotas(this.n_picks, sizes, rules.seed), judge)
        picks += won
        is_partial = len(won) < this.n_picks
        place = np.argsort(prompt_order(sizes, rules.seed))
        won_here = sorted(won, key=lambda pick: (pick.rank, place[pick.question.prompt - 1]))
        selected = _in_front(won_here, selected)
        if is_partial:  # winners of earlier rounds fill it up: they are paid for, too
            return Selection(selected[: rules.budget], picks, plan, [], is_partial=True)
    attention_checks = await _audit(first, plan[0], rules, judge)
    return Selection(selected[: rules.budget], picks, plan, attention_checks, is_partial=False)


def _in_front(picks: Sequence[Pick], others: Sequence[Pick]) -> list[Pick]:
    """The picks, then the others, less those of the same candidates."""
    candidates = {pick.candidate for pick in picks}
    return [*picks, *(pick for pick in others if pick.candidate not in candidates)]


def next_prompts(
    winners: Sequence[int], clusters: NDArray[np.int32], rules: Rules, n_held: int
) -> list[Candidates]:
    """The prompts of the round after `n_held` rounds, made up of the winners of the last one.

    Args:
        winners: Candidates, in the order of the prompts that picked them.
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        rules: How.
        n_held: Rounds so far.
    """
    won = np.array(winners)
    n_prompts = -(-len(won) // rules.later_size)
    groups = compose(clusters[won], n_prompts, rules.mode, rules.seed + n_held)
    return [won[group] for group in groups]


async def _hold(
    this: Round, prompts: Sequence[Candidates], n_picks: NDArray[np.intp], judge: Judge
) -> list[Pick]:
    """The picks of a round, by prompt and rank; fewer than planned when the judge was halted."""

    def questions() -> Iterator[Question]:
        for i, candidates in enumerate(prompts):
            yield Question(this.round, i + 1, candidates, int(n_picks[i]))

    verdicts = await judge(questions())
    return [
        Pick(question, verdict, rank + 1)
        for question, verdict in zip(questions(), verdicts, strict=False)
        if verdict is not None
        for rank in range(question.n_picks)
    ]


async def _audit(
    prompts: Sequence[Candidates], this: Round, rules: Rules, judge: Judge
) -> list[tuple[Question, Verdict]]:
    """Ask questions of the first round once more, each with an attention check inserted."""
    n_picks = max(1, this.n_picks // this.n_prompts)
    questions = [
        Question(this.round, each.prompt + 1, prompts[each.prompt], n_picks, each)
        for each in plan_attention_checks(len(prompts), rules.n_attention_checks, rules.seed)
    ]
    verdicts = await judge(questions)
    return [(q, v) for q, v in zip(questions, verdicts, strict=False) if v is not None]
