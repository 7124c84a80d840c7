"""Read the questions, check them against the pool, and draw the test records to use."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.evaluate.params import check
from tasks.evaluate.questions.public_sets import read_alpaca_eval, read_mt_bench
from tasks.evaluate.tables import QUESTIONS, QuestionSet
from tasks.ingest.classify_rows import Ingest
from tasks.ingest.reference_files import NamedFile, read_named_file
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_section, load_seed
from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts, record_text
from tasks.lib.core.schemas import POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table

MAX_SHOWN = 3  # records in a message

Record = Mapping[str, Any]


def work(stage: Stage) -> None:
    """Write the questions: the test records drawn, then the public question sets."""
    params, seed = check(stage.values), load_seed(stage.values)
    unique = set(read_table(stage.dep("dedupe/unique.parquet"), UNIQUE)["id"].to_pylist())
    pool = read_table(stage.dep("ingest/pool.parquet"), POOL, ["id", *TEXT_COLUMNS]).to_pylist()
    known = [row for row in pool if row["id"] in unique]
    usable = with_outputs(_read(Path(params.test), stage.values), params.test)
    refuse_pool_records(usable, known, params.test)
    drawn = draw(usable, params.n_test, seed, params.test)
    questions = [_test_row(record) for record in drawn]
    for name, read in (("alpaca_eval", read_alpaca_eval), ("mt_bench", read_mt_bench)):
        path = getattr(params, name)
        public = read(Path(path))
        refuse_pool_records(public, known, path)
        questions += public
    write_table(stage.out("questions/questions.parquet"), questions, QUESTIONS)
    log.info("questions: %s of %s test records are used", f"{len(drawn):,}", f"{len(usable):,}")


def with_outputs(records: Sequence[Record], where: str) -> list[Record]:
    """Return the test records that have an output, and log how many have none.

    Raises:
        DataError: No record has an output.
    """
    usable = [record for record in records if (record["output"] or "").strip()]
    if not usable:
        raise DataError(
            f"none of the {len(records):,} test records has an output to compare with",
            where=where,
            fix="Add the reference answers in a column called output, or set evaluate.test to "
            "another file.",
        )
    if len(usable) < len(records):
        n_skipped = len(records) - len(usable)
        log.warning("questions: skipped %s test records without an output", f"{n_skipped:,}")
    return usable


def refuse_pool_records(questions: Iterable[Record], pool: Iterable[Record], where: str) -> None:
    """Check that no test record is in the pool, ignoring case, spacing and Unicode forms.

    Raises:
        DataError: Some of them are in the pool; the message names the first few.
    """
    known = {_comparable(record) for record in pool}
    found = [record["source"] for record in questions if _comparable(record) in known]
    if found:
        more = ", ..." if len(found) > MAX_SHOWN else ""
        raise DataError(
            f"{len(found):,} test records are also in the pool ({', '.join(found[:MAX_SHOWN])}"
            f"{more}), so a model may have been trained on them",
            where=where,
            fix="Remove them from the pool: set ingest.decontaminate to this file and run "
            "`selectllm run`.",
        )


def draw(records: Sequence[Record], n: int, seed: int, where: str) -> list[Record]:
    """Return `n` random test records, in file order.

    Raises:
        DataError: There are fewer than `n`.
    """
    if len(records) < n:
        raise DataError(
            f"evaluate.n_test is {n:,}, but the file has only {len(records):,} test records with "
            "an output",
            where=f"{PARAMS_FILE}, {where}",
            fix=f"Set it to at most {len(records)}, or add test records.",
        )
    rows = np.random.default_rng((seed, 3)).permutation(len(records))[:n]
    return [records[row] for row in np.sort(rows)]


def _test_row(record: Record) -> Record:
    empty = {"category": None, "follow_up": None, "follow_up_reference": None}
    return {**record, "set": QuestionSet.TEST, **empty}


def _read(path: Path, values: Mapping[str, Any]) -> list[Record]:
    params = load_section(values, "ingest", Ingest)
    file = NamedFile("evaluate.test", path, "questions/questions.parquet")
    return list(read_named_file(file, params))


def _comparable(record: Record) -> str:
    text = record_text(*RecordTexts.of(record))
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
