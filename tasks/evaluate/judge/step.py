"""Have a model compare each arm's answers with those of the random arm, and grade MT-Bench."""

from collections.abc import Sequence
from typing import Any

from tasks.evaluate.judge.ask_judge import JudgeQuestion, Panel
from tasks.evaluate.judge.pairs import Graded, Pair, graded, models_of, pairs
from tasks.evaluate.judge.prompts import (
    FIRST,
    GRADE_SCHEMA,
    SECOND,
    TIE,
    WINNER_SCHEMA,
    comparison,
    grading,
    read_grade,
    read_winner,
)
from tasks.evaluate.params import call_settings, check
from tasks.evaluate.tables import ANSWERS, COMPARISONS, GRADES, QUESTIONS
from tasks.lib.core.records import TEXT_COLUMNS, RecordTexts
from tasks.lib.core.shown_text import shown_text
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.documents.evaluation import JudgeUsage
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import load_route

EQUAL = 0.5
POINTS = {TIE: EQUAL, FIRST: 1.0, SECOND: 0.0}
"""The points for the answer shown first."""


def work(stage: Stage) -> None:
    """Write the judge's verdicts, or none if evaluate.route is the offline judge."""
    params = check(stage.values)
    route = load_route(stage.values, params.route, "evaluate.route")
    files = stage.dep("questions/questions.parquet"), stage.dep("tune/answers.parquet")
    compared, graded_answers = list[Pair](), list[Graded]()
    if not route.is_offline:
        questions = read_table(files[0], QUESTIONS).to_pylist()
        models = models_of(read_table(files[1], ANSWERS))
        compared = list(pairs(questions, _requests(questions), models))
        graded_answers = list(graded(questions, models))
    asked = [pair for pair in compared if pair.ours != pair.theirs]
    to_judge = [*(q for pair in asked for q in _both_orders(pair)), *map(_grade, graded_answers)]
    parsed, usage = list[int | None](), JudgeUsage.none(route.alias, route.model)
    if to_judge:
        settings = CallSettings(**call_settings(stage.values))
        verdicts = Panel(route, settings, params.max_usd, files).judge(to_judge, stage)
        parsed, usage = verdicts
    n_compared = 2 * len(asked)
    orders = dict(zip(asked, _pairwise(parsed[:n_compared]), strict=True))
    rows = [_comparison(pair, *orders.get(pair, (EQUAL, EQUAL))) for pair in compared]
    write_table(stage.out("judge/comparisons.parquet"), rows, COMPARISONS)
    grades = [_graded(*item) for item in zip(graded_answers, parsed[n_compared:], strict=True)]
    write_table(stage.out("judge/grades.parquet"), grades, GRADES)
    usage.write(stage.out("judge/usage.json"))


def _requests(questions: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the part of each question that the judge sees, by id."""
    return {
        row["id"]: shown_text(*RecordTexts.of({name: row[name] for name in TEXT_COLUMNS}))
        for row in questions
    }


def _both_orders(pair: Pair) -> list[JudgeQuestion]:
    orders = (pair.ours, pair.theirs), (pair.theirs, pair.ours)
    return [
        JudgeQuestion(comparison(pair.request, *answers), WINNER_SCHEMA, read_winner)
        for answers in orders
    ]


def _grade(answer: Graded) -> JudgeQuestion:
    return JudgeQuestion(grading(answer.texts), GRADE_SCHEMA, read_grade)


def _pairwise(parsed: Sequence[int | None]) -> list[tuple[float | None, float | None]]:
    """Return the points for the arm's answer when it was shown first and when it was second."""
    points = [None if verdict is None else POINTS[verdict] for verdict in parsed]
    seconds = [None if point is None else 1 - point for point in points[1::2]]
    return list(zip(points[::2], seconds, strict=True))


def _comparison(pair: Pair, first: float | None, second: float | None) -> dict[str, Any]:
    return {**pair.model._asdict(), "id": pair.id, "shown_first": first, "shown_second": second}


def _graded(answer: Graded, tenths: int | None) -> dict[str, Any]:
    rating = None if tenths is None else tenths / 10
    return {**answer.model._asdict(), "id": answer.id, "turn": answer.turn, "rating": rating}
