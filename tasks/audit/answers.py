"""Look up the answers behind a selection, each with the question that was sent."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.stage import Stage
from tasks.lib.documents.document import read_lines
from tasks.lib.documents.receipt import Receipt
from tasks.lib.documents.traced_answer import TracedAnswer
from tasks.lib.gateway.journal_lookup import JournalLookup, failed_attempts
from tasks.lib.gateway.request import NoAnswer, Request
from tasks.lib.journal.location import journal_place
from tasks.lib.journal.models import Answer
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.judge import Judge
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import Question, ignore


def used_answers(root: Path, limit: int) -> list[TracedAnswer]:
    """Return the answers behind the selection, or a fair sample of them; call no model.

    Their questions are rebuilt from params.yaml, the pool and the prompts. An answer that the
    journal lacks is left out. The sample consists of the lowest keys: since keys are hashes, it
    favours no prompt, and the same answers always give the same sample.

    Args:
        root: The workspace.
        limit: The maximum number of answers.

    Raises:
        DataError: A file is missing or not in the format that its step writes, or the journal
            cannot be used.
        ParamError: A parameter is wrong.
    """
    prompt_of = _sample(Lock(root).out("choose/receipt.jsonl"), limit)
    if not prompt_of:
        return []
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, stage.values, root)
    with closing(JournalReader(journal_place(stage.state, stage.values))) as journal:
        source = _RecordingLookup(journal, prompt_of)
        judge = Judge(source, setup.routes, setup.settings, setup.candidates.texts)
        asyncio.run(_judge(judge, setup, set(prompt_of.values())))
    return source.found


def _sample(receipts: Path, limit: int) -> dict[str, int]:
    """Return the prompt number of each sampled answer, by the answer's key."""
    prompt_of = {
        answer.key: receipt.prompt
        for receipt in read_lines(receipts, Receipt)
        for answer in receipt.answers
    }
    return {key: prompt_of[key] for key in sorted(prompt_of)[:limit]}


async def _judge(judge: Judge, setup: Setup, prompts: Collection[int]) -> None:
    await judge(
        (
            Question(number, members, min(setup.n_ranked, len(members)))
            for number, members in enumerate(setup.candidates.prompts, 1)
            if number in prompts
        ),
        ignore,
    )


class _RecordingLookup(JournalLookup):
    """A journal that records the answers with the given keys when they are looked up.

    Attributes:
        found: The recorded answers.
    """

    def __init__(self, journal: JournalReader, prompt_of: Mapping[str, int]) -> None:
        super().__init__(journal)
        self._prompt_of = dict(prompt_of)
        self.found: list[TracedAnswer] = []

    async def lookup(self, request: Request) -> Answer | NoAnswer | None:
        """Return the journal's result; record the answer if `prompt_of` contains its key."""
        answer = await super().lookup(request)
        if isinstance(answer, Answer) and request.key in self._prompt_of:
            self.found.append(self._traced(request, answer, self._prompt_of.pop(request.key)))
        return answer

    def _traced(self, request: Request, answer: Answer, prompt: int) -> TracedAnswer:
        call = self._journal.answered_call(request.key, request.former_key)
        facts = answer._asdict() | {"digest": answer.digest, "prompt": prompt}
        names = TracedAnswer.model_fields.keys() & facts.keys()
        return TracedAnswer(
            **{name: facts[name] for name in names},
            messages=request.messages,
            n_failed=len(failed_attempts(self._journal, request, with_retried=True)),
            began=call.began,
            duration_s=call.duration_s,
        )
