"""Rebuild the outputs of llm_select without calling a model."""

import asyncio
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path

from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.event_loop import run_loop
from tasks.lib.gateway.gateway import Gateway
from tasks.lib.gateway.journal_lookup import JournalLookup
from tasks.lib.journal.journal import Journal
from tasks.lib.journal.location import Place, journal_place
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.judge import Judge
from tasks.llm_select.outputs import OutputWriter
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import AskJudge, Question, Receive, ignore


def rebuild(root: Path, out: Callable[[str], Path], judged: Collection[int] | None) -> Usage:
    """Rebuild the outputs of llm_select and return their usage.

    The step's code builds them from params.yaml, the pool and the prompts in `root`, and the
    answers in the journal. A question without an answer there is treated as if no model could be
    reached.

    Args:
        root: The workspace.
        out: Returns where to write an output, given the end of its declared path.
        judged: The prompts that a partial run judged; None if all prompts were judged.

    Raises:
        DataError: A file is not in the format that its step writes, or the journal cannot be used.
        ParamError: A parameter is wrong.
    """
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, stage.values, root)
    texts = setup.candidates.texts
    with _opened(journal_place(stage.state, stage.values), setup) as journal:
        judge = Judge(JournalLookup(journal), setup.routes, setup.settings, texts)
        replay = judge if judged is None else _only(judged, judge)
        with OutputWriter(out, setup) as outputs:
            asyncio.run(setup.judge(replay, outputs.add))
        return outputs.write_usage(journal)


@contextmanager
def _opened(place: Place, setup: Setup) -> Iterator[JournalReader]:
    """Open a journal; if there is none, have the offline judge, which is free, answer again."""
    with tempfile.TemporaryDirectory() as folder:
        is_offline = all(route.is_offline for route in setup.routes)
        if is_offline and isinstance(place, Path) and not place.exists():
            place = Path(folder) / JOURNAL
            with closing(Journal(place, cap_usd=0.0)) as journal:
                run_loop(_answer_again(setup, journal))
        with closing(JournalReader(place)) as reader:
            yield reader


async def _answer_again(setup: Setup, journal: Journal) -> None:
    async with aclosing(Gateway(setup.routes, setup.settings.calls, journal)) as gateway:
        judge = Judge(gateway, setup.routes, setup.settings, setup.candidates.texts)
        await setup.judge(judge, ignore)


def _only(judged: Collection[int], judge: AskJudge) -> AskJudge:
    """Return a judge that answers only the prompts that a partial run judged."""

    async def replay(questions: Iterable[Question], receive: Receive) -> None:
        await judge((question for question in questions if question.prompt in judged), receive)

    return replay
