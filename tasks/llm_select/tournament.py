"""The selection by a judge: rounds of prompts that narrow all candidates down to the budget.

`verify` runs it too, with a judge that only looks up answers.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.plan import Round, TournamentPlan, plan_rounds
from tasks.lib.prompts.quota import prompt_order, quotas
from tasks.llm_select.attention_checks import plan_checks
from tasks.llm_select.verdicts import AskJudge, Members, Pick, Question, Selection, Verdict


async def llm_select(
    prompts: Sequence[Members], clusters: NDArray[np.int32], plan: TournamentPlan, judge: AskJudge
) -> Selection:
    """Select `plan.budget` candidates by the judgement of `judge`, in as few rounds as possible.

    The first picks of a round's prompts make up the prompts of the next round, until there are no
    more prompts than the smallest budget has picks. The same judgements give the same selection,
    and its first n records are the selection for each smaller budget n.

    Args:
        prompts: The first round's prompts; no candidate is in two, and together they have
            at least as many candidates as are to be selected.
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        plan: The budgets, and how later prompts are composed.
        judge: Picks from each prompt.
    """
    first = list(prompts)
    round_picks: list[Pick] = []
    picks: list[Pick] = []
    selected: list[Pick] = []
    rounds = plan_rounds(sum(map(len, prompts)), len(prompts), plan)
    for size in rounds:
        if size.round > 1:
            winners = [pick.candidate for pick in round_picks if pick.rank == 1]
            prompts = next_prompts(winners, clusters, plan, size.round - 1)
        sizes = np.array([len(prompt) for prompt in prompts])
        n_picks = quotas(size.n_picks, sizes, plan.seed)
        round_picks = await run_round(size.round, prompts, n_picks, judge)
        picks += round_picks
        place = np.argsort(prompt_order(sizes, plan.seed))
        ranked = sorted(round_picks, key=lambda pick: (pick.rank, place[pick.question.prompt - 1]))
        selected = promote(ranked, selected)
        if len(round_picks) < size.n_picks:  # the cap was reached: earlier winners fill the rest
            return Selection(selected[: plan.budget], picks, rounds, [], is_partial=True)
    checks = await ask_attention_checks(first, rounds[0], plan, judge)
    return Selection(selected[: plan.budget], picks, rounds, checks, is_partial=False)


def promote(picks: Sequence[Pick], others: Sequence[Pick]) -> list[Pick]:
    """Return the picks, then the others without those of the same candidates."""
    candidates = {pick.candidate for pick in picks}
    return [*picks, *(pick for pick in others if pick.candidate not in candidates)]


def next_prompts(
    winners: Sequence[int], clusters: NDArray[np.int32], plan: TournamentPlan, n_held: int
) -> list[Members]:
    """Return the prompts of the round after `n_held` rounds, made of the winners of the last one.

    Args:
        winners: Candidates, in the order of the prompts that picked them.
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        plan: How prompts are composed.
        n_held: Number of rounds so far.
    """
    won = np.array(winners)
    n_prompts = -(-len(won) // plan.final_prompt_size)
    groups = compose(clusters[won], n_prompts, plan.mode, plan.seed + n_held)
    return [won[group] for group in groups]


async def run_round(
    number: int, prompts: Sequence[Members], n_picks: NDArray[np.intp], judge: AskJudge
) -> list[Pick]:
    """Return the picks of a round, by prompt and rank; fewer than planned if the judge stopped."""

    def questions() -> Iterator[Question]:
        for i, members in enumerate(prompts):
            yield Question(number, i + 1, members, int(n_picks[i]))

    verdicts = await judge(questions())
    return [
        Pick(question, verdict, rank + 1)
        for question, verdict in zip(questions(), verdicts, strict=False)
        if verdict is not None
        for rank in range(question.n_picks)
    ]


async def ask_attention_checks(
    prompts: Sequence[Members], size: Round, plan: TournamentPlan, judge: AskJudge
) -> list[tuple[Question, Verdict]]:
    """Ask questions of the first round once more, each with an attention check inserted."""
    n_picks = max(1, size.n_picks // size.n_prompts)
    questions = [
        Question(size.round, check.prompt + 1, prompts[check.prompt], n_picks, check)
        for check in plan_checks(len(prompts), plan.n_attention_checks, plan.seed)
    ]
    verdicts = await judge(questions)
    return [(q, v) for q, v in zip(questions, verdicts, strict=False) if v is not None]
