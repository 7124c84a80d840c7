"""Make a selection again from its journal, without asking or paying for anything."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from itertools import compress
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
    """Make the outputs of llm_select again and return their usage.

    The same code makes them from params.yaml, the pool and the prompts in `root`, and the answers
    in its journal. A question without an answer in the journal counts as one that reached no model.

    Args:
        root: The workspace.
        out: Returns where to write the output whose declared path ends with a text.
        decided: The prompts of a partial selection that got a verdict; None if all got one.

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
    """Return a judge that answers only the decided questions, as in the partial selection."""

    async def replay(questions: Iterable[Question]) -> list[Verdict | None]:
        asked = list(questions)
        is_decided = [(question.round, question.prompt) in decided for question in asked]
        verdicts = iter(await judge(compress(asked, is_decided)))
        return [next(verdicts) if is_known else None for is_known in is_decided]

    return replay
