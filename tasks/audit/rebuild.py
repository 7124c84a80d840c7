"""A selection made once more out of its journal, with nobody asked and nothing paid."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from tasks.audit.frozen import Frozen
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.llm_select.judge import ModelJudge
from tasks.llm_select.outputs import write_outcome
from tasks.llm_select.setup import Setup
from tasks.llm_select.tournament import llm_select
from tasks.llm_select.usage import usage
from tasks.llm_select.verdicts import Question, Verdict

Place = tuple[int, int]  # round, prompt


def rebuild(
    root: Path, out: Callable[[str], Path], decided: Collection[Place] | None
) -> dict[str, Any]:
    """Write the outputs of llm_select anew to where `out` says; the bill is returned as well.

    They come out of params.yaml, the pool and the prompts as they lie in `root`, and the answers
    of its journal: by the same code as the first time, but that a question which the journal does
    not answer counts as one that no model could be reached for.

    Args:
        root: The workspace.
        out: Gives the path for the tail of an output's declared path.
        decided: Of a partial selection, the prompts that came to a verdict; None if all did.

    Raises:
        DataError: A file is not as the step before writes it, or the journal cannot be used.
        ParamError: A parameter is not as it should be.
    """
    stage = Stage("llm_select", root)
    params, routes, terms, shown, rules, _ = Setup.read(stage, stage.values, root)
    with closing(Frozen(stage.state / JOURNAL)) as journal:
        judge = _Replay(ModelJudge(routes, terms, shown.texts, journal, lambda: None), decided)
        selection = asyncio.run(llm_select(shown.prompts, shown.clusters, rules, judge))
    bill = usage(selection, routes, rules, params.votes)
    write_outcome(out, selection, shown, routes, bill)
    return bill


class _Replay:
    """The judge, with the questions left alone that were left the first time."""

    def __init__(self, judge: ModelJudge, decided: Collection[Place] | None) -> None:
        self._judge, self._decided = judge, decided

    async def __call__(self, questions: Iterable[Question]) -> list[Verdict | None]:
        asked = list(questions)
        put = [question for question in asked if self._was_decided(question)]
        verdicts = iter(await self._judge(put))
        return [next(verdicts) if self._was_decided(question) else None for question in asked]

    def _was_decided(self, question: Question) -> bool:
        return self._decided is None or (question.round, question.prompt) in self._decided
