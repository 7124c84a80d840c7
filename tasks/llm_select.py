"""Let a model pick the records that are most worth an answer."""

import asyncio
import json
import signal
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.events import log
from tasks.core.params import Params, load_section, load_seed
from tasks.core.schemas import PICKS, SELECTED
from tasks.core.stage import Stage, run_step
from tasks.core.tables import write_table
from tasks.grouping.compose import compose
from tasks.llm.fence import NOTE_CHARS
from tasks.llm.journal import Journal
from tasks.llm.judge import ModelJudge, Terms
from tasks.llm.outcome import pick_rows, receipt_lines, selected_table, usage
from tasks.llm.prompt import read_prompt
from tasks.llm.quota import prompt_order, quotas
from tasks.llm.rounds import Candidates, Judge, Pick, Question, Selection
from tasks.llm.routes import load_route, require_key
from tasks.llm.rules import Rules, check_budget, plan_rounds, read_rules
from tasks.llm.shown import Shown

JOURNAL = "journal.sqlite"


class LlmSelect(Params):
    """How many records to select, and how to ask for them."""

    budget: Annotated[int, Field(ge=1)]
    route: str
    prompt: str
    max_candidate_chars: Annotated[int, Field(ge=4 * NOTE_CHARS)]
    max_answer_tokens: Annotated[int, Field(ge=64)]  # whitespace of a constrained answer counts
    max_attempts: Annotated[int, Field(ge=1)]
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1)]


def check(values: Mapping[str, Any]) -> LlmSelect:
    """The section llm_select, and what it names: the route, its key and the prompt file.

    Raises:
        ParamError: Something of it is not as it should be.
    """
    params = load_section(values, "llm_select", LlmSelect)
    load_seed(values)
    require_key(load_route(values, params.route))
    read_prompt(Path(params.prompt))
    return params


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
    picks: list[Pick] = []
    plan = plan_rounds(sum(map(len, prompts)), len(prompts), rules)
    for this in plan[:-1]:
        ones = np.ones(len(prompts), dtype=np.intp)
        won = await _hold(this.round, prompts, ones, judge)
        picks += won
        winners = np.array([pick.candidate for pick in won])
        seed = rules.seed + this.round
        groups = compose(clusters[winners], rules.later_size, rules.mode, seed)
        prompts = [winners[group] for group in groups]
    sizes = np.array([len(prompt) for prompt in prompts])
    n_picks = quotas(rules.budget, sizes, rules.seed)
    final = await _hold(plan[-1].round, prompts, n_picks, judge)
    place = np.argsort(prompt_order(sizes, rules.seed))
    selected = sorted(final, key=lambda pick: (pick.rank, place[pick.question.prompt - 1]))
    return Selection(selected, [*picks, *final], plan)


async def _hold(
    number: int, prompts: Sequence[Candidates], n_picks: NDArray[np.intp], judge: Judge
) -> list[Pick]:
    def questions() -> Iterator[Question]:
        for i, candidates in enumerate(prompts):
            yield Question(number, i + 1, candidates, int(n_picks[i]))

    verdicts = await judge(questions())
    return [
        Pick(question, verdict, rank + 1)
        for question, verdict in zip(questions(), verdicts, strict=True)
        for rank in range(question.n_picks)
    ]


def work(stage: Stage) -> None:
    """Read the prompts, have them judged, write the selection and what it rests on."""
    params = check(stage.values)
    route = load_route(stage.values, params.route)
    seed = load_seed(stage.values)
    shown = Shown.read(stage.dep("cluster/prompts.parquet"), stage.dep("ingest/pool.parquet"))
    rules = read_rules(stage.dep("cluster/clusters.json"), params.budget, seed)
    check_budget(len(shown.rows), len(shown.prompts), rules)
    if route.deployment.rpm or route.deployment.tpm:
        log.warning("%s: rpm and tpm are not kept to yet; llm_select.concurrency is", route.where)
    terms = Terms(
        read_prompt(Path(params.prompt)),
        seed,
        params.max_candidate_chars,
        params.max_answer_tokens,
        params.max_attempts,
        params.timeout_s,
        params.concurrency,
    )
    plan = plan_rounds(len(shown.rows), len(shown.prompts), rules)
    progress = stage.progress(sum(this.n_prompts for this in plan), "prompts")
    with closing(Journal(stage.state / JOURNAL)) as journal:
        judge = ModelJudge(route, terms, shown.texts, journal, progress.advance)
        selection = _run(_select(shown, rules, judge))
    bill = usage(selection, route, params.budget)
    write_table(stage.out("llm_select/picks.parquet"), pick_rows(selection, shown), PICKS)
    write_table(
        stage.out("llm_select/selected.parquet"), selected_table(selection, shown, route), SELECTED
    )
    with stage.out("llm_select/receipt.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(receipt_lines(selection, shown, route))
    stage.out("llm_select/usage.json").write_text(
        json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    _tell(bill, len(shown.rows))


def _run(selecting: Coroutine[Any, Any, Selection]) -> Selection:
    """Run the one event loop of this process; it puts back the handler that the loop replaces."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return asyncio.run(selecting)
    finally:
        signal.signal(signal.SIGTERM, handler)


async def _select(shown: Shown, rules: Rules, judge: ModelJudge) -> Selection:
    # An exception of a signal's would come up amid some call; Ctrl-C already cancels instead.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    try:
        return await llm_select(shown.prompts, shown.clusters, rules, judge)
    finally:
        await judge.close()


def _tell(bill: Mapping[str, Any], n_candidates: int) -> None:
    price = "at a price that is not known" if bill["usd"] is None else f"{bill['usd']:.4f} USD"
    log.info(
        "llm_select: %s of %s records selected by %s in %s answers: %s",
        f"{bill['budget']:,}",
        f"{n_candidates:,}",
        bill["model"],
        f"{bill['calls']:,}",
        price if bill["usd"] != 0 else "free",
    )
    n_fallback = bill["methods"]["fallback"]
    if n_fallback:
        log.warning(
            "%s of them were picked by the offline rubric, since the model gave no answer",
            f"{n_fallback:,}",
        )


if __name__ == "__main__":
    run_step("llm_select", work)
