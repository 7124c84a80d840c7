"""Compare the losses and answers of each arm with those of the random arm."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from tasks.evaluate.params import RANDOM, check
from tasks.evaluate.score.answers import (
    ArmKey,
    Row,
    ScoredArm,
    rival_of,
    rows_of_models,
    score_arms,
)
from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio, Values
from tasks.evaluate.score.cosine import load_cosine
from tasks.evaluate.score.judge_scores import both_orders, judged_duels, mt_bench_grades
from tasks.evaluate.score.outputs import write_outputs
from tasks.evaluate.score.page import page, shown_examples
from tasks.evaluate.score.win_rate import duel, paired, wins
from tasks.evaluate.tables import ANSWERS, COMPARISONS, GRADES, QUESTIONS, QuestionSet
from tasks.lib.core.params import load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.evaluation import (
    FIGURES,
    ArmFigures,
    Duel,
    Evaluation,
    Grades,
    JudgeUsage,
    Training,
)


class JudgedArms(NamedTuple):
    """The judge's results for each arm, and their cost."""

    duels: Mapping[ArmKey, Mapping[str, Duel]]
    grades: Mapping[ArmKey, Grades]
    usage: JudgeUsage

    def completing(self, key: ArmKey, own: ArmFigures) -> dict[str, Any]:
        """Return the fields that the judge adds to an arm's own figures."""
        duels = {**own.duels, **self.duels.get(key, {})}
        return {"duels": duels, "mt_bench": self.grades.get(key)}


class Bootstraps(NamedTuple):
    """The resamples of the losses and of the answers."""

    losses: NestedBootstrap
    answers: NestedBootstrap


def work(stage: Stage) -> None:
    """Write every arm's figures as a document and as a page, and write the answers."""
    params, seed = check(stage.values), load_seed(stage.values)
    questions = read_table(stage.dep("questions/questions.parquet"), QUESTIONS).to_pylist()
    models = rows_of_models(read_table(stage.dep("tune/answers.parquet"), ANSWERS))
    comparisons = read_table(stage.dep("judge/comparisons.parquet"), COMPARISONS)
    grades = read_table(stage.dep("judge/grades.parquet"), GRADES)
    references = [str(row["output"]) for row in questions if row["set"] == QuestionSet.TEST]
    cosine = load_cosine(stage.values, params.encoder) if params.encoder else None
    judged = JudgedArms(
        judged_duels(comparisons, questions, models, params.n_resamples, seed),
        mt_bench_grades(grades, list(models), params.n_resamples, seed),
        JudgeUsage.read(stage.dep("judge/usage.json")),
    )
    result = evaluate(
        score_arms(models, references, cosine),
        _n_tokens(models, len(references)),
        Training.read(stage.dep("tune/training.json")),
        judged,
        (params.n_resamples, seed),
    )
    result = result.model_copy(update={"encoder": params.encoder})
    result.write(stage.out("score/result.json"))
    verdicts = {
        (row["arm"], row["n_records"], row["seed"], row["id"]): both_orders(
            row["shown_first"], row["shown_second"]
        )
        for row in comparisons.to_pylist()
        if None not in (row["shown_first"], row["shown_second"])
    }
    text = page(result, shown_examples(questions, models, verdicts))
    stage.out("score/index.html").write_text(text, encoding="utf-8", newline="\n")
    write_outputs(stage.out("score/outputs"), questions, models)


def evaluate(
    arms: Mapping[ArmKey, ScoredArm],
    n_tokens: Values,
    training: Training,
    judged: JudgedArms,
    resampling: tuple[int, int],
) -> Evaluation:
    """Return the figures of every arm and their differences from random.

    Args:
        arms: The scored answers of each arm; `random` is one of them.
        n_tokens: float64, shape (test records,), the token count of each reference answer.
        training: How the models were trained.
        judged: The judge's results.
        resampling: The number of resamples for each interval, and their seed.
    """
    n_answers = next(iter(arms.values())).answers["rouge_l"].shape[1]
    bootstraps = Bootstraps(
        NestedBootstrap(len(n_tokens), *resampling), NestedBootstrap(n_answers, *resampling)
    )
    has_budgets = len({key.n_records for key in arms if key.arm == RANDOM}) > 1
    found = []
    for key in arms:
        own = _figures(key, arms, n_tokens, bootstraps)
        name = {"name": key.label if has_budgets else key.arm}
        found.append(
            own.model_copy(update=name | _means(key, training) | judged.completing(key, own))
        )
    return Evaluation(
        model=training.model,
        n_test=len(n_tokens),
        n_answers=n_answers,
        encoder=None,
        judge=judged.usage,
        arms=tuple(found),
    )


def _figures(
    key: ArmKey, arms: Mapping[ArmKey, ScoredArm], n_tokens: Values, bootstraps: Bootstraps
) -> ArmFigures:
    """Return an arm's figures, differences and duels, except those that need a judge."""
    other = rival_of(key, list(arms))
    figures, differences = {}, {}
    n_answers = arms[key].answers["rouge_l"].shape[1]
    for figure in [name for name in FIGURES if name == "loss" or name in arms[key].answers]:
        if figure != "loss" and not n_answers:
            continue
        bootstrap = bootstraps.losses if figure == "loss" else bootstraps.answers
        ours, theirs = (_ratio(k.label, arms[k], figure, n_tokens) for k in (key, other))
        figures[figure] = bootstrap.estimate(ours)
        if key.arm != RANDOM:
            differences[figure] = bootstrap.difference(ours, theirs)
    return ArmFigures(
        name=key.label,
        arm=key.arm,
        n_seeds=len(arms[key].loss),
        n_records=key.n_records,
        n_steps=0,
        n_tokens=0,
        figures=figures,
        differences=differences,
        duels=_duels(key.label, arms[key], arms[other], bootstraps) if differences else {},
        mt_bench=None,
    )


def _duels(
    label: str, ours: ScoredArm, theirs: ScoredArm, bootstraps: Bootstraps
) -> dict[str, Duel]:
    """Return an arm's duels against random: by loss and, if there are answers, by ROUGE-L."""
    duels = {"loss": duel(label, wins(-ours.loss, -theirs.loss), bootstraps.losses)}
    if theirs.answers["rouge_l"].size:
        lengths = paired(ours.answers["words"], theirs.answers["words"])
        won = wins(ours.answers["rouge_l"], theirs.answers["rouge_l"])
        duels["rouge_l"] = duel(label, won, bootstraps.answers, lengths[0] - lengths[1])
    return duels


def _ratio(name: str, arm: ScoredArm, figure: str, n_tokens: Values) -> Ratio:
    if figure == "loss":
        return Ratio(name, arm.loss, n_tokens)
    sums = arm.answers[figure]
    return Ratio(name, sums, np.ones(sums.shape[1]))


def _n_tokens(models: Mapping[ArmKey, Sequence[Sequence[Row]]], n_test: int) -> Values:
    rows = next(iter(models.values()))[0][:n_test]
    return np.array([row["n_tokens"] for row in rows], np.float64)


def _means(key: ArmKey, training: Training) -> dict[str, float]:
    """Return the mean numbers of steps and tokens for an arm's models."""
    runs = [run for run in training.runs if (run.arm, run.n_records) == key]
    return {count: fmean(getattr(run, count) for run in runs) for count in ("n_steps", "n_tokens")}
