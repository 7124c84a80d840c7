"""A selection made once more from its journal; nobody is asked and nothing is paid."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from pathlib import Path

from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.lookup import JournalLookup
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.judge import Judge
from tasks.llm_select.outputs import write_outputs
from tasks.llm_select.setup import Setup
from tasks.llm_select.tournament import llm_select
from tasks.llm_select.usage import make_usage
from tasks.llm_select.verdicts import AskJudge, Question, Verdict

Place = tuple[int, int]  # round, prompt


def rebuild(root: Path, out: Callable[[str], Path], decided: Collection[Place] | None) -> Usage:
    """Write the outputs of llm_select again to where `out` says, and return their usage.

    They follow from params.yaml, the pool and the prompts in `root`, and the answers in its
    journal, by the same code as the first time. A question without an answer in the journal
    counts as one that no model could be reached for.

    Args:
        root: The workspace.
        out: Returns the path for the end of an output's declared path.
        decided: The prompts of a partial selection that got a verdict; None if all did.

    Raises:
        DataError: A file is not as the step before writes it, or the journal cannot be used.
        ParamError: A parameter is wrong.
    """
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, stage.values, root)
    candidates, plan = setup.candidates, setup.plan
    with closing(JournalReader(stage.state / JOURNAL)) as journal:
        judge = Judge(JournalLookup(journal), setup.routes, setup.settings, candidates.texts)
        replay = judge if decided is None else _only(decided, judge)
        selection = asyncio.run(llm_select(candidates.prompts, candidates.clusters, plan, replay))
    usage = make_usage(selection, setup.routes, plan, setup.params.votes)
    write_outputs(out, selection, candidates, setup.routes, usage)
    return usage


def _only(decided: Collection[Place], judge: AskJudge) -> AskJudge:
    """Return the judge of a partial selection: it leaves the questions that were left then."""

    async def replay(questions: Iterable[Question]) -> list[Verdict | None]:
        asked = list(questions)
        is_decided = [(question.round, question.prompt) in decided for question in asked]
        put = [question for question, is_put in zip(asked, is_decided, strict=True) if is_put]
        verdicts = iter(await judge(put))
        return [next(verdicts) if is_put else None for is_put in is_decided]

    return replay
