"""Let a model pick the records that are most worth an answer."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from tasks.lib.core.events import log
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.journal.journal import Journal
from tasks.lib.prompts.plan import Rules
from tasks.llm_select.candidates import Shown
from tasks.llm_select.judge import ModelJudge
from tasks.llm_select.outputs import write_outcome
from tasks.llm_select.params import check, selection_name
from tasks.llm_select.setup import Setup
from tasks.llm_select.tournament import llm_select
from tasks.llm_select.usage import usage
from tasks.llm_select.verdicts import Selection


def work(stage: Stage) -> None:
    """Read the prompts, have them judged, write the selection and what it rests on."""
    check(stage.values)  # keys too, before anything is read
    params, routes, terms, shown, rules, plan = Setup.read(stage, stage.values)
    n_questions = sum(this.n_prompts for this in plan) + params.attention_checks
    progress = stage.progress(n_questions, "prompts")
    name = selection_name(params, terms, routes, stage.dep("cluster/prompts.parquet"))
    path = stage.state / JOURNAL
    with closing(Journal(path, selection=name, cap_usd=params.max_usd)) as journal:
        judge = ModelJudge(routes, terms, shown.texts, journal, progress.advance)
        selection = run_loop(_select(shown, rules, judge))
        spent_usd = journal.spent_usd
    bill = usage(selection, routes, rules, params.votes)
    write_outcome(stage.out, selection, shown, routes, bill)
    _tell(bill, len(shown.rows), spent_usd, params.max_usd)


async def _select(shown: Shown, rules: Rules, judge: ModelJudge) -> Selection:
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
    n_asked = sum(each["shown"] for each in bill["attention_checks"].values())
    if not bill["partial"] and n_asked < bill["attention_checks_planned"]:
        log.warning(
            "%s of %s attention checks were asked: llm_select.max_usd was reached",
            f"{n_asked:,}",
            f"{bill['attention_checks_planned']:,}",
        )
    if bill["partial"]:
        log.warning(
            "the selection is PARTIAL: the next call could have passed llm_select.max_usd (%g USD, "
            "%.4f spent). Raise it and run this again to go on from here; what was answered is "
            "not paid for again.",
            max_usd,
            spent_usd,
        )
