"""Let a model rank the records most worth an answer, prompt by prompt."""

import gc
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from functools import partial

from tasks.lib.batches.buyer import BatchBuyer
from tasks.lib.batches.store import has_unfinished
from tasks.lib.core.errors import LLMError
from tasks.lib.core.events import log
from tasks.lib.core.stage import Stage
from tasks.lib.documents.replies import explained, silent_calls
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import journal_place
from tasks.llm_select.judge import Judge
from tasks.llm_select.outputs import OutputWriter
from tasks.llm_select.params import BatchRest, check, selection_name
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import Receive, ignore


def work(stage: Stage) -> None:
    """Read the prompts, have them judged, and write the ballots."""
    check(stage.values)  # also the API keys, before anything is read
    setup = Setup.read(stage, stage.values)
    params = setup.params
    prompts_file = stage.dep("cluster/prompts.parquet")
    name = selection_name(params, setup.settings, setup.routes, prompts_file)
    progress = stage.progress(setup.n_questions, "prompts")
    place = journal_place(stage.state, stage.values)
    with closing(Journal(place, name, cap_usd=params.max_usd)) as journal:
        with OutputWriter(stage.out, setup) as outputs:
            gc.freeze()  # otherwise every collection looks at all of the modules again
            run_loop(_judge(setup, journal, progress.advance, outputs.add))
        spent_usd, n_new = journal.spent_usd, journal.n_new
        usage = outputs.write_usage(journal)
    _log_result(usage, spent_usd, params.max_usd)
    log.info(
        "llm_select: %s answers come from the journal, %s are new",
        f"{max(0, usage.calls - n_new):,}",
        f"{n_new:,}",
    )


async def _judge(
    setup: Setup, journal: Journal, advance: Callable[[], None], receive: Receive
) -> None:
    async with aclosing(Gateway(setup.routes, setup.settings.calls, journal)) as gateway:
        judge = partial(
            Judge, routes=setup.routes, settings=setup.settings, texts=setup.candidates.texts
        )
        if setup.params.batch or has_unfinished(journal.own_file):
            await _buy_batches(
                setup, journal, gateway, lambda source: setup.judge(judge(source), ignore)
            )
        await setup.judge(judge(gateway, advance=advance), receive)


async def _buy_batches(
    setup: Setup,
    journal: Journal,
    gateway: Gateway,
    put_questions: Callable[[BatchBuyer], Awaitable[object]],
) -> None:
    """Buy answers in batches; or, if that is off, only end the batches of earlier runs.

    Raises:
        LLMError: A batch left requests without a reply, and llm_select.batch_rest is stop.
    """
    params, route = setup.params, setup.routes[0]
    calls = setup.settings.calls
    buyer = BatchBuyer(gateway, route, calls, journal, is_buying=params.batch)
    await buyer.buy(put_questions)
    if buyer.unanswered and params.batch and params.batch_rest is BatchRest.STOP:
        raise LLMError(
            f"{len(buyer.unanswered):,} requests have no reply from their batch",
            where=route.where,
            fix="Run this again to send them in a new batch, or set llm_select.batch_rest: "
            f"one_by_one. The answers so far are stored in {journal.path}.",
        )


def _log_result(usage: Usage, spent_usd: float, max_usd: float) -> None:
    log.info(
        "llm_select: %s of %s prompts judged by %s in %s answers: %s",
        f"{usage.n_prompts:,}",
        f"{usage.n_prompts_planned:,}",
        usage.model,
        f"{usage.calls:,}",
        f"{usage.usd:.4f} USD" if usage.usd else "free",
    )
    for n, wrong, remedy in explained(usage.replies_without_answer):
        log.info("%s replies %s. %s", f"{n:,}", wrong, remedy)
    if usage.usd_without_answer:
        log.info("of this, %.4f USD for replies without an answer", usage.usd_without_answer)
    silent = silent_calls(usage.calls_without_reply, usage.usd_without_reply)
    if silent:
        log.info(silent)
    if spent_usd:
        log.info("spent on this selection: %.4f of %g USD (max_usd)", spent_usd, max_usd)
    n_fallback = usage.methods["fallback"]
    if n_fallback:
        log.warning(
            "%s of these prompts were judged by the offline judge, because the model gave no "
            "answer. If it could not be reached, run `dvc repro -f llm_select` to retry; no answer "
            "is paid for twice.",
            f"{n_fallback:,}",
        )
    n_checks = sum(counts.shown for counts in usage.attention_checks.values())
    if not usage.partial and n_checks < usage.attention_checks_planned:
        log.warning(
            "only %s of %s attention checks were made: llm_select.max_usd was reached",
            f"{n_checks:,}",
            f"{usage.attention_checks_planned:,}",
        )
    if usage.partial:
        log.warning(
            "the judgements are PARTIAL: the next call could have exceeded llm_select.max_usd (%g "
            "USD, %.4f spent). Raise it and run this again to continue; answers so far are not "
            "paid for again.",
            max_usd,
            spent_usd,
        )
