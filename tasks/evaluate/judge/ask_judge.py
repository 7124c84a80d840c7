"""Send a judge's questions through the gateway, within the spending limit."""

from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tasks.evaluate.judge.prompts import REASK_WORDS, question_words
from tasks.lib.core.events import log
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.documents.evaluation import JudgeUsage
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import WithoutAnswer
from tasks.lib.gateway.reply import UnusableReply
from tasks.lib.gateway.request import CallSettings, Messages, Request, make_request
from tasks.lib.gateway.routes import Route
from tasks.lib.gateway.task_pool import WAITING_PER_CALL, TaskPool
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.models import Answer, SelectionName, answer_key

USD_DIGITS = 9
MAX_UNANSWERED = 0.05  # a larger share of questions without a verdict causes a warning


class JudgeQuestion(NamedTuple):
    """A question to the judge, the schema of its reply, and how the reply is parsed."""

    messages: Messages
    schema: dict[str, Any]
    read: Callable[[str], list[int] | UnusableReply]


class Verdicts(NamedTuple):
    """The parsed verdicts in question order, with None for a missing one, and their cost."""

    parsed: list[int | None]
    usage: JudgeUsage


class Panel(NamedTuple):
    """A judge's route, with its settings and spending limit.

    Attributes:
        files: The files with the questions and answers. All runs on the same files share one
            spending limit.
    """

    route: Route
    settings: CallSettings
    max_usd: float
    files: Sequence[Path]

    def judge(self, questions: Sequence[JudgeQuestion], stage: Stage) -> Verdicts:
        """Return the judge's verdicts; each is written to the journal before it is used.

        Raises:
            LLMError: The provider refuses, or cannot be reached; verdicts so far are kept.
            ParamError: The route's provider or price is unknown, or its key is not set.
        """
        requests = [self._request(question) for question in questions]
        progress = stage.progress(len(requests), "verdicts")

        async def ask(journal: Journal) -> list[Any]:
            async with aclosing(Gateway([self.route], self.settings, journal)) as gateway:
                limit = WAITING_PER_CALL * self.settings.concurrency
                pool = TaskPool(
                    gateway.ask, limit=limit, advance=progress.advance, stopping=gateway.stopping
                )
                return await pool.answers(requests)

        with closing(Journal(stage.state / JOURNAL, self._name(), cap_usd=self.max_usd)) as journal:
            results = run_loop(ask(journal))
            others = WithoutAnswer.of(journal, {r.key for r in requests[: len(results)]})
        results += [None] * (len(requests) - len(results))
        answers = {r.key: r for r in results if isinstance(r, Answer)}  # equal questions share one
        paid: list[Any] = [*answers.values(), *(call.cost for call in others.replies)]
        usage = JudgeUsage(
            route=self.route.alias,
            model=self.route.model,
            n_questions=len(questions),
            n_answered=sum(isinstance(result, Answer) for result in results),
            calls=len(answers),
            prompt_tokens=sum(cost.prompt_tokens for cost in paid),
            completion_tokens=sum(cost.completion_tokens for cost in paid),
            usd=round(sum(cost.usd for cost in paid), USD_DIGITS),
        )
        self._report(usage, is_capped=None in results)
        return Verdicts([r.parsed[0] if isinstance(r, Answer) else None for r in results], usage)

    def _request(self, question: JudgeQuestion) -> Request:
        return make_request(
            self.route,
            self.settings,
            question.messages,
            question.schema,
            read=question.read,
            reask_words=REASK_WORDS,
            former_facts=lambda: {"messages": question.messages},
        )

    def _name(self) -> SelectionName:
        facts = {
            "judging": question_words(),
            "answers": [sha256(file.read_bytes()).hexdigest() for file in self.files],
            "model": self.route.model,
            "temperature": self.route.temperature,
            "schema": self.route.schema_use,
            "seed": self.settings.seed,
            "max_tokens": self.settings.max_answer_tokens,
        }
        return SelectionName(answer_key(**facts, **self.route.own_settings))

    def _report(self, usage: JudgeUsage, *, is_capped: bool) -> None:
        log.info(
            "judge: %s of %s questions have a verdict from %s; cost: %.4f USD",
            f"{usage.n_answered:,}",
            f"{usage.n_questions:,}",
            usage.model,
            usage.usd,
        )
        if is_capped:
            log.warning(
                "judge: the next call could have exceeded evaluate.max_usd (%g USD). Raise this "
                "limit and run this again to continue; verdicts so far are not paid for again",
                self.max_usd,
            )
        elif usage.n_answered < (1 - MAX_UNANSWERED) * usage.n_questions:
            log.warning(
                "judge: %s of %s questions have no verdict; the win rates leave them out",
                f"{usage.n_questions - usage.n_answered:,}",
                f"{usage.n_questions:,}",
            )
