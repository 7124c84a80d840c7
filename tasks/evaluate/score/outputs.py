"""Write the models' answers in the layouts of AlpacaEval and MT-Bench, for their own tools."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.evaluate.score.answers import ArmKey, Row
from tasks.evaluate.tables import QuestionSet
from tasks.lib.core.records import record_text


def write_outputs(
    folder: Path, questions: Sequence[Row], models: Mapping[ArmKey, Sequence[Sequence[Row]]]
) -> None:
    """Write a file for each model and each set that it answered.

    ``test`` and ``alpaca_eval`` contain lists of outputs as AlpacaEval expects them, and the
    references as ``reference.json``; ``mt_bench/model_answer`` contains lines for FastChat.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for of in QuestionSet:
        asked = [row for row in questions if row["set"] == of]
        if of is not QuestionSet.MT_BENCH and asked:
            reference = [_output(row, row["output"] or "", "reference") for row in asked]
            _write(folder / of / "reference.json", _as_list(reference))
        for name, answers in _by_model(models):
            answered = [row for row in asked if answers[row["id"]]["answer"] is not None]
            if answered and of is QuestionSet.MT_BENCH:
                lines = [_choice(row, answers[row["id"]], name) for row in answered]
                text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
                _write(folder / of / "model_answer" / f"{name}.jsonl", text)
            elif answered:
                outputs = [_output(row, answers[row["id"]]["answer"], name) for row in answered]
                _write(folder / of / f"{name}.json", _as_list(outputs))


def _by_model(
    models: Mapping[ArmKey, Sequence[Sequence[Row]]],
) -> Iterator[tuple[str, dict[str, Row]]]:
    """Yield each model's name, and its answers by question."""
    for key, seeds in models.items():
        for rows in seeds:
            name = f"{key.arm}-{key.n_records}-seed{rows[0]['seed']}"
            yield name, {row["id"]: row for row in rows}


def _output(question: Row, text: str, generator: str) -> dict[str, Any]:
    return {
        "dataset": question["category"] or str(question["set"]),
        "instruction": record_text(question["instruction"], question["input"]),
        "output": text,
        "generator": generator,
    }


def _choice(question: Row, answer: Row, name: str) -> dict[str, Any]:
    turns = [text for text in (answer["answer"], answer["follow_up_answer"]) if text is not None]
    number = question["id"].rpartition("-")[2]
    return {
        "question_id": int(number),
        "answer_id": f"{name}-{number}",
        "model_id": name,
        "choices": [{"index": 0, "turns": turns}],
        "tstamp": 0.0,  # FastChat reads it, but a time would change the bytes
    }


def _as_list(outputs: list[dict[str, Any]]) -> str:
    return json.dumps(outputs, ensure_ascii=False, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
