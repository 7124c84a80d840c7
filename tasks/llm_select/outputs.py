"""The outputs of llm_select: ballots, judgements and usage, written while prompts are judged."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.core.schemas import BALLOTS
from tasks.lib.core.tables import ROW_GROUP
from tasks.lib.documents.document import as_line
from tasks.lib.documents.judgement import AnswerReceipt
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
        if not block:
            return
        ids = self._candidates.ids(np.concatenate([question.candidates for question, _ in block]))
        self._ballots.add(_ballots(ids, block))
        shown = iter(ids)
        self._judgements.writelines(
            as_line(
                _judgement([*islice(shown, len(judged.question.candidates))], judged, self._routes)
            )
            for judged in block
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._judgements, self._ballots:
            if kind is None:
                self._write_block()


class _BallotTable:
    """Writes ballots.parquet in the row groups of `write_table`."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, BALLOTS, compression="zstd")
        self._rows = BALLOTS.empty_table()

    def add(self, ballots: pa.RecordBatch) -> None:
        """Add the rows of some prompts."""
        self._rows = pa.concat_tables([self._rows, pa.Table.from_batches([ballots])])
        while len(self._rows) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._rows[:ROW_GROUP].combine_chunks())
        self._rows = self._rows[ROW_GROUP:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writer:
            if kind is None:
                self._flush()


def _ballots(ids: Sequence[str], block: Sequence[JudgedPrompt]) -> pa.RecordBatch:
    """Return the rows of some prompts; `ids` are the record ids of all their candidates."""
    numbers = np.array([question.prompt for question, _ in block])
    verdicts = [verdict for _, verdict in block]
    sizes = [len(question.candidates) for question, _ in block]
    ends = np.cumsum(sizes)
    slots = np.arange(len(ids)) - np.repeat(ends - sizes, sizes) + 1

    # Rows are counted from the slot 0 that would precede a prompt's first candidate.
    before = (ends - sizes - 1).tolist()
    ranked = [start + slot for start, v in zip(before, verdicts, strict=True) for slot in v.slots]
    named = [
        start + slot
        for start, v in zip(before, verdicts, strict=True)
        for ballot in v.ballots
        for slot in ballot.ranking
    ]
    ranks, votes = np.zeros(len(ids), np.int32), np.bincount(named, minlength=len(ids))
    ranks[ranked] = [rank for v in verdicts for rank in range(1, len(v.slots) + 1)]
    methods = np.repeat(np.array([verdict.method for verdict in verdicts], object), sizes)
    methods[ranked] = [method for verdict in verdicts for method in verdict.methods]
    set_aside = np.full(len(ids), None)
    for start, verdict in zip(before, verdicts, strict=True):
        for slot, reason in verdict.set_aside.items():
            set_aside[start + slot] = reason
    cells: dict[str, Any] = {
        "id": ids,
        "prompt": np.repeat(numbers, sizes),
        "slot": slots,
        "rank": pa.array(ranks, mask=ranks == 0),
        "score": np.concatenate([verdict.scores for verdict in verdicts]),
        "votes": votes,
        "method": methods,
        "set_aside": set_aside,
    }
    return pa.RecordBatch.from_pydict(cells, schema=BALLOTS)


def _judgement(ids: Sequence[str], judged: JudgedPrompt, routes: Sequence[Route]) -> dict[str, Any]:
    """Return the fields of a `Judgement`; making one would take as long as writing it."""
    question, verdict = judged
    alias, model = routes[0].alias, OFFLINE_MODEL
    if verdict.answers and verdict.ballots:
        alias = verdict.answers[0].route
        model = next(route.model for route in routes if route.alias == alias)
    return {
        "prompt": question.prompt,
        "route": alias,
        "model": model,
        "ids": ids,
        "ballots": [ballot.ranking for ballot in verdict.ballots],
        "answers": [
            {name: getattr(answer, name) for name in AnswerReceipt.model_fields}
            for answer in verdict.answers
        ],
        "reasons": verdict.reasons,
        "set_aside": verdict.set_aside,
    }
