"""Let a model pick the records that are most worth an answer."""

import asyncio
import json
import signal
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.events import log
from tasks.core.schemas import PICKS, SELECTED
from tasks.core.stage import Stage, run_step
from tasks.core.tables import write_table
from tasks.grouping.compose import compose
from tasks.llm.canaries import plan as plan_canaries
from tasks.llm.journal.journal import Journal
from tasks.llm.judge import ModelJudge
from tasks.llm.outcome import pick_rows, receipt_lines, selected_table
from tasks.llm.quota import prompt_order, quotas
from tasks.llm.rounds import Candidates, Judge, Pick, Question, Selection, Verdict
from tasks.llm.rules import Round, Rules, plan_rounds
from tasks.llm.section import JOURNAL, check, selection_name
from tasks.llm.setup import Setup
from tasks.llm.shown import Shown
from tasks.llm.usage import usage


async def llm_select(
    prompts: Sequence[Candidates], clusters: NDArray[np.int32], rules: Rules, judge: Judge
) -> Selection:
    """Select `rules.budget` candidates by the judgement of `judge`, in one round if that will do.

    While there are more prompts than picks to make, each picks one, and the winners make up the
    prompts of the next round. The same judgements give the same selection.

    Args:
        prompts: The first round's prompts; no candidate stands in two, and together they hold
            at least as many as are to be selected.
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        rules: How.
        judge: Who picks.
    """
    first = list(prompts)
    picks: list[Pick] = []
    plan = plan_rounds(sum(map(len, prompts)), len(prompts), rules)
    for this in plan[:-1]:
        won = await _hold(this, prompts, np.ones(len(prompts), dtype=np.intp), judge)
        picks += won
        if len(won) < this.n_prompts:
            return Selection(won[: rules.budget], picks, plan, [], is_partial=True)
        winners = np.array([pick.candidate for pick in won])
        seed = rules.seed + this.round
        groups = compose(clusters[winners], rules.later_size, rules.mode, seed)
        prompts = [winners[group] for group in groups]
    sizes = np.array([len(prompt) for prompt in prompts])
    n_picks = quotas(rules.budget, sizes, rules.seed)
    final = await _hold(plan[-1], prompts, n_picks, judge)
    place = np.argsort(prompt_order(sizes, rules.seed))
    selected = sorted(final, key=lambda pick: (pick.rank, place[pick.question.prompt - 1]))
    if len(selected) < rules.budget:
        return Selection(selected, [*picks, *final], plan, [], is_partial=True)
    canaries = await _audit(first, plan[0], rules, judge)
    return Selection(selected, [*picks, *final], plan, canaries, is_partial=False)


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
    """Questions of the first round asked once more, each with a canary in a candidate's place."""
    n_picks = max(1, this.n_picks // this.n_prompts)
    questions = [
        Question(this.round, each.prompt + 1, prompts[each.prompt], n_picks, each)
        for each in plan_canaries(len(prompts), rules.n_canaries, rules.seed)
    ]
    verdicts = await judge(questions)
    return [(q, v) for q, v in zip(questions, verdicts, strict=False) if v is not None]


def work(stage: Stage) -> None:
    """Read the prompts, have them judged, write the selection and what it rests on."""
    check(stage.values)  # keys too, before anything is read
    params, routes, terms, shown, rules, plan = Setup.read(stage, stage.values)
    n_questions = sum(this.n_prompts for this in plan) + params.canaries
    progress = stage.progress(n_questions, "prompts")
    name = selection_name(params, terms, routes, stage.dep("cluster/prompts.parquet"))
    path = stage.state / JOURNAL
    with closing(Journal(path, selection=name, cap_usd=params.max_usd)) as journal:
        judge = ModelJudge(routes, terms, shown.texts, journal, progress.advance)
        selection = _run(_select(shown, rules, judge))
        spent_usd = journal.spent_usd
    bill = usage(selection, routes, rules, params.votes)
    write_table(stage.out("llm_select/picks.parquet"), pick_rows(selection, shown), PICKS)
    write_table(
        stage.out("llm_select/selected.parquet"), selected_table(selection, shown, routes), SELECTED
    )
    with stage.out("llm_select/receipt.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(receipt_lines(selection, shown, routes))
    stage.out("llm_select/usage.json").write_text(
        json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    _tell(bill, len(shown.rows), spent_usd, params.max_usd)


def _run(selecting: Coroutine[Any, Any, Selection]) -> Selection:
    """Run the one event loop of this process; it puts back the handler that the loop replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    found: list[Selection] = []

    async def find() -> None:  # what it returned, `signal` would write out to the last pick
        found.append(await selecting)

    try:
        asyncio.run(find())
    finally:
        signal.signal(signal.SIGTERM, handler)
    return found[0]


async def _select(shown: Shown, rules: Rules, judge: ModelJudge) -> Selection:
    # An exception of a signal's would come up amid some call; Ctrl-C already cancels instead.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    try:
        return await llm_select(shown.prompts, shown.clusters, rules, judge)
    finally:
        await judge.close()


def _tell(bill: Mapping[str, Any], n_candidates: int, spent_usd: float, max_usd: float) -> None:
    price = f"{bill['usd']:.4f} USD" if bill["usd"] else "free"
    log.info(
        "llm_select: %s of %s records selected by %s in %s answers: %s",
        f"{bill['selected']:,}",
        f"{n_candidates:,}",
        bill["model"],
        f"{bill['calls']:,}",
        price,
    )
    if spent_usd:
        log.info("spent on this selection: %.4f of %g USD (max_usd)", spent_usd, max_usd)
    n_fallback = bill["methods"]["fallback"]
    if n_fallback:
        log.warning(
            "%s of them were picked by the offline rubric, since the model gave no answer; "
            "`dvc repro -f llm_select` asks again where it was not reached, and buys nothing twice",
            f"{n_fallback:,}",
        )
    n_asked = sum(each["shown"] for each in bill["canaries"].values())
    if not bill["partial"] and n_asked < bill["canaries_planned"]:
        log.warning(
            "%s of %s canaries were asked: llm_select.max_usd was reached",
            f"{n_asked:,}",
            f"{bill['canaries_planned']:,}",
        )
    if bill["partial"]:
        log.warning(
            "the selection is PARTIAL: the next call could have passed llm_select.max_usd (%g USD, "
            "%.4f spent). Raise it and run this again to go on from here; what was answered is "
            "not paid for again.",
            max_usd,
            spent_usd,
        )


if __name__ == "__main__":
    run_step("llm_select", work)
