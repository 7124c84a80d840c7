"""Read MT-Bench and AlpacaEval from the user's files, in the layouts of their own tools."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.evaluate.tables import QuestionSet
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import NO_RECORDS, PARAMS_FILE, has_no_records

QUESTIONS_FILE = "question.jsonl"
REFERENCE_FILES = ("reference_answer/gpt-4.jsonl", "reference_answer_gpt-4.jsonl")
TURNS = (1, 2)

Row = dict[str, Any]


def read_mt_bench(folder: Path) -> list[Row]:
    """Return the questions in FastChat's MT-Bench folder, each with its reference answers.

    The references are the ones that the judge gets, not the ones in the question file.

    Raises:
        DataError: A file is missing or is not in FastChat's layout.
    """
    if has_no_records(folder):
        return []
    questions = dict(_by_id(folder / QUESTIONS_FILE))
    found = next((folder / name for name in REFERENCE_FILES if (folder / name).exists()), None)
    if found is None:
        raise _fault("mt_bench", f"there is no {REFERENCE_FILES[0]}", str(folder))
    references = {
        number: _texts(row["choices"][0]["turns"], f"{found}, question {number}")
        for number, row in _by_id(found)
        if isinstance(row.get("choices"), list) and row["choices"]
    }
    return [
        _mt_bench_row(number, row, references.get(number, []), folder)
        for number, row in questions.items()
    ]


def read_alpaca_eval(path: Path) -> list[Row]:
    """Return the instructions in an output file in AlpacaEval's layout.

    Raises:
        DataError: The file is missing or is not in this layout.
    """
    if has_no_records(path):
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _fault("alpaca_eval", f"the file cannot be read: {error}", str(path)) from None
    layout = "a JSON list of objects with instruction, output, dataset and generator"
    if not isinstance(rows, list) or not rows:
        raise _fault("alpaca_eval", f"the file is not {layout}", str(path))
    found = []
    for number, row in enumerate(rows, 1):
        text = row.get("instruction") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise _fault("alpaca_eval", f"the file is not {layout}", f"{path}, entry {number}")
        found.append(
            _row(QuestionSet.ALPACA_EVAL, number, text, f"{path.name}:{number}")
            | {"output": row.get("output"), "category": str(row.get("dataset") or "")}
        )
    return found


def _mt_bench_row(number: int, row: Row, references: list[str], folder: Path) -> Row:
    turns = _texts(row.get("turns"), f"{folder / QUESTIONS_FILE}, question {number}")
    first, second = (references[turn - 1] if len(references) >= turn else None for turn in TURNS)
    return _row(QuestionSet.MT_BENCH, number, turns[0], f"{QUESTIONS_FILE}:{number}") | {
        "output": first,
        "category": str(row.get("category") or ""),
        "follow_up": turns[1] if len(turns) > 1 else None,
        "follow_up_reference": second,
    }


def _row(of: QuestionSet, number: int, instruction: str, source: str) -> Row:
    empty = {"system": None, "turns": None, "tools": None, "extra": "{}"}
    empty |= {"follow_up": None, "follow_up_reference": None}
    texts = {"instruction": instruction, "input": "", "source": source}
    return {"id": f"{of}-{number}", "set": of, **texts, **empty}


def _by_id(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a FastChat file, each with its question_id."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _fault("mt_bench", f"the file cannot be read: {error}", str(path)) from None
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        number = row.get("question_id") if isinstance(row, Mapping) else None
        if not isinstance(number, int):
            raise _fault("mt_bench", "expected an object with a question_id", f"{path}:{n}")
        yield number, row


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise _fault("mt_bench", "expected turns, a list of texts", where)
    return value


def _fault(key: str, what: str, where: str) -> DataError:
    return DataError(
        f"evaluate.{key}: {what}",
        where=where,
        fix=f"Correct the file, or set evaluate.{key} in {PARAMS_FILE} to the empty file "
        f"{NO_RECORDS}.",
    )
