"""Turn the judge's verdicts into win rates and grades."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tasks.evaluate.score.answers import ArmKey, Row, rival_of
from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio
from tasks.evaluate.score.win_rate import duel
from tasks.evaluate.tables import QuestionSet
from tasks.lib.documents.evaluation import Duel, Grades
from tasks.lib.similarity.words import words

Models = Mapping[ArmKey, Sequence[Sequence[Row]]]
Verdict = tuple[float, float]  # the points of the arm's answer, and how many words longer it is

JUDGED = {QuestionSet.TEST: "judge", QuestionSet.ALPACA_EVAL: "judge_alpaca_eval"}
"""The name of the duels on each question set."""


def judged_duels(
    comparisons: pa.Table,
    questions: Sequence[Row],
    models: Models,
    n_resamples: int,
    seed: int,
) -> dict[ArmKey, dict[str, Duel]]:
    """Return each arm's judged duels by name.

    A question counts for an arm if every model of the arm has a verdict on it in both orders. If
    the two orders disagree, the pair is a tie.
    """
    verdicts = _verdicts(comparisons, _lengths(models))
    found: dict[ArmKey, dict[str, Duel]] = {}
    for key, by_seed in verdicts.items():
        for of, name in JUDGED.items():
            ids = [row["id"] for row in questions if row["set"] == of]
            asked = [id_ for id_ in ids if all(id_ in given for given in by_seed.values())]
            if asked:
                values = np.array([[given[id_] for id_ in asked] for given in by_seed.values()])
                bootstrap = NestedBootstrap(len(asked), n_resamples, seed)
                won, longer_by = values[..., 0], values[..., 1]
                found.setdefault(key, {})[name] = duel(key.label, won, bootstrap, longer_by)
    return found


def mt_bench_grades(
    grades: pa.Table, keys: Sequence[ArmKey], n_resamples: int, seed: int
) -> dict[ArmKey, Grades]:
    """Return each arm's grades on the questions that have a grade for every turn."""
    by_key = _ratings(grades)
    found = {}
    for key in (key for key in keys if key in by_key):
        ours, theirs = by_key[key], by_key[rival_of(key, keys)]
        ids = [id_ for id_ in ours[0] if all(id_ in given for given in [*ours, *theirs])]
        if not ids:
            continue
        bootstrap = NestedBootstrap(len(ids), n_resamples, seed)
        arrays = [np.array([[g[id_] for id_ in ids] for g in given]) for given in (ours, theirs)]
        names = key.label, rival_of(key, keys).label
        own, other = (
            Ratio(name, array.mean(axis=2), np.ones(len(ids)))
            for name, array in zip(names, arrays, strict=True)
        )
        by_turn = arrays[0].mean(axis=(0, 1))
        found[key] = Grades(
            n_graded=len(ids),
            mean=bootstrap.estimate(own),
            first=float(by_turn[0]),
            second=float(by_turn[-1]),
            difference=bootstrap.difference(own, other) if names[0] != names[1] else None,
        )
    return found


def _ratings(grades: pa.Table) -> dict[ArmKey, list[dict[str, list[float]]]]:
    """Return, for each arm and seed, the ratings of both turns of each question."""
    found: dict[ArmKey, dict[int, dict[str, list[float]]]] = {}
    for row in grades.to_pylist():
        by_seed = found.setdefault(ArmKey(row["arm"], row["n_records"]), {})
        turns = by_seed.setdefault(row["seed"], {}).setdefault(row["id"], [])
        turns.append(np.nan if row["rating"] is None else row["rating"])
    return {
        key: [
            {id_: turns for id_, turns in given.items() if not np.isnan(turns).any()}
            for given in by_seed.values()
        ]
        for key, by_seed in found.items()
    }


def _verdicts(
    comparisons: pa.Table, lengths: Mapping[tuple[ArmKey, int, str], int]
) -> dict[ArmKey, dict[int, dict[str, Verdict]]]:
    """Return, for each arm and seed, the verdicts on each question."""
    keys = list(dict.fromkeys(key for key, _, _ in lengths))
    found: dict[ArmKey, dict[int, dict[str, Verdict]]] = {}
    for row in comparisons.to_pylist():
        key, seed, id_ = ArmKey(row["arm"], row["n_records"]), row["seed"], row["id"]
        given = found.setdefault(key, {}).setdefault(seed, {})
        points = row["shown_first"], row["shown_second"]
        if None not in points:
            ours, theirs = lengths[key, seed, id_], lengths[rival_of(key, keys), seed, id_]
            given[id_] = both_orders(*points), float(ours - theirs)
    return found


def both_orders(first: float, second: float) -> float:
    """Return an answer's points: those from either order if they agree, otherwise a tie."""
    return first if first == second else 0.5


def _lengths(models: Models) -> dict[tuple[ArmKey, int, str], int]:
    """Return the number of words in each answer, by arm, seed and question."""
    return {
        (key, row["seed"], row["id"]): len(words(row["answer"]))
        for key, seeds in models.items()
        for rows in seeds
        for row in rows
        if row["answer"] is not None
    }
