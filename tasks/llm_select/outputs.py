"""The outputs of llm_select: ballots, judgements and usage, written while prompts are judged."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.core.schemas import BALLOTS
from tasks.lib.core.tables import ROW_GROUP
from tasks.lib.documents.judgement import AnswerReceipt, Judgement
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.deployment_settings import OFFLINE_MODEL
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.reader import JournalReader
from tasks.llm_select.count_usage import UsageTally
from tasks.llm_select.setup import Setup
from tasks.llm_select.verdicts import JudgedPrompt

BLOCK = 256  # prompts that are kept until their records are looked up together


class OutputWriter:
    """Writes the outputs of llm_select prompt by prompt, to limit memory use.

    Args:
        out: Returns the path of each output.
        setup: The questions and the judge.
    """

    def __init__(self, out: Callable[[str], Path], setup: Setup) -> None:
        self._candidates, self._routes = setup.candidates, setup.routes
        self._tally, self._block = UsageTally(setup), list[JudgedPrompt]()
        self._usage = out("llm_select/usage.json")
        self._ballots = _BallotTable(out("llm_select/ballots.parquet"))
        path = out("llm_select/judgements.jsonl")
        self._judgements = path.open("w", encoding="utf-8", newline="\n")

    def add(self, judged: JudgedPrompt | None) -> None:
        """Write the next prompt, if it has a verdict; attention checks are only counted."""
        if judged is None:
            return
        self._tally.add(judged)
        if judged.question.attention_check is None:
            self._block.append(judged)
        if len(self._block) == BLOCK:
            self._write_block()

    def write_usage(self, journal: JournalReader) -> Usage:
        """Write and return the usage of everything that was added."""
        usage = self._tally.usage(journal)
        usage.write(self._usage)
        return usage

    def _write_block(self) -> None:
        block, self._block = self._block, []
        members = [judged.question.candidates for judged in block]
        ids = iter(self._candidates.ids(np.concatenate(members)) if block else ())
        for judged in block:
            shown = tuple(islice(ids, len(judged.question.candidates)))
            self._ballots.add(shown, judged)
            self._judgements.write(_judgement(shown, judged, self._routes).to_line())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._judgements, self._ballots:
            if kind is None:
                self._write_block()


class _BallotTable:
    """Writes ballots.parquet column by column, in the row groups of `write_table`."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, BALLOTS, compression="zstd")
        self._columns: dict[str, list[Any]] = {name: [] for name in BALLOTS.names}

    def add(self, ids: Sequence[str], judged: JudgedPrompt) -> None:
        """Add the candidates of a prompt, which have these record ids."""
        question, verdict = judged
        slots = range(1, len(ids) + 1)
        rank_of = {slot: rank for rank, slot in enumerate(verdict.slots, 1)}
        methods = [verdict.method.value] * len(ids)
        for slot, method in zip(verdict.slots, verdict.methods, strict=True):
            methods[slot - 1] = method.value
        cells: dict[str, Iterable[Any]] = {
            "id": ids,
            "prompt": [question.prompt] * len(ids),
            "slot": slots,
            "rank": map(rank_of.get, slots),
            "score": verdict.scores,
            "votes": map(verdict.n_votes.__getitem__, slots),
            "method": methods,
            "set_aside": map(verdict.set_aside.get, slots),
        }
        for name, column in self._columns.items():
            column.extend(cells[name])
        if len(self._columns["id"]) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        group = {name: column[:ROW_GROUP] for name, column in self._columns.items()}
        self._writer.write_table(pa.table(group, schema=BALLOTS))
        for column in self._columns.values():
            del column[:ROW_GROUP]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writer:
            if kind is None:
                self._flush()


def _judgement(ids: Sequence[str], judged: JudgedPrompt, routes: Sequence[Route]) -> Judgement:
    question, verdict = judged
    alias, model = routes[0].alias, OFFLINE_MODEL
    if verdict.answers and verdict.ballots:
        alias = verdict.answers[0].route
        model = next(route.model for route in routes if route.alias == alias)
    return Judgement(
        prompt=question.prompt,
        route=alias,
        model=model,
        ids=tuple(ids),
        ballots=tuple(ballot.ranking for ballot in verdict.ballots),
        answers=tuple(
            AnswerReceipt(**{name: getattr(answer, name) for name in AnswerReceipt.model_fields})
            for answer in verdict.answers
        ),
        reasons=dict(verdict.reasons),
        set_aside=dict(verdict.set_aside),
    )
