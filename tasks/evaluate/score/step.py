"""Compare the losses and answers of each arm with those of random records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jinja2 import Environment, FileSystemLoader

from tasks.evaluate.params import RANDOM, check
from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio, Values
from tasks.evaluate.score.duels import duel, paired, wins
from tasks.evaluate.tables import ANSWERS, QUESTIONS
from tasks.lib.core.params import load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.evaluation import (
    FIGURES,
    ArmFigures,
    Duel,
    Evaluation,
    TrainedArm,
    Training,
)
from tasks.lib.similarity.words import rouge_l, words


class ScoredArm(NamedTuple):
    """The answers of one arm: float64 arrays with a row for each seed.

    Attributes:
        loss: Shape (seeds, questions), the loss of each reference answer, summed over its tokens.
        answers: By figure, shape (seeds, answered questions), the figure of each own answer.
    """

    loss: Values
    answers: Mapping[str, Values]


def work(stage: Stage) -> None:
    """Write the figures of every arm, as a document and as a page."""
    params = check(stage.values)
    questions = read_table(stage.dep("questions/questions.parquet"), QUESTIONS, ["output"])
    table = read_table(stage.dep("tune/answers.parquet"), ANSWERS)
    training = Training.read(stage.dep("tune/training.json"))
    references = list(map(str, questions["output"].to_pylist()))
    result = evaluate(
        score_arms(table, references),
        table["n_tokens"].to_numpy()[: len(references)].astype(np.float64),
        training,
        params.n_resamples,
        load_seed(stage.values),
    )
    result.write(stage.out("score/result.json"))
    stage.out("score/index.html").write_text(page(result), encoding="utf-8", newline="\n")


def score_arms(answers: pa.Table, references: Sequence[str]) -> dict[str, ScoredArm]:
    """Return the scored answers of each arm, in the order of the table.

    The first questions are those that the models answered; the others have only a loss.
    """
    n = len(references)
    reference_words = [words(text) for text in references]
    models: dict[str, list[dict[str, Any]]] = {}
    for start in range(0, len(answers), n):
        rows = answers.slice(start, n).to_pylist()
        models.setdefault(rows[0]["arm"], []).append(_score(rows, reference_words))
    return {
        arm: ScoredArm(
            np.array([model.pop("loss") for model in scored]),
            {name: np.array([model[name] for model in scored]) for name in scored[0]},
        )
        for arm, scored in models.items()
    }


def _score(rows: Sequence[Mapping[str, Any]], references: list[list[str]]) -> dict[str, Any]:
    """Return the figures of one model by name: one value per question or answer."""
    answered = [row for row in rows if row["answer"] is not None]
    texts = [words(row["answer"]) for row in answered]
    return {
        "loss": [row["nll"] for row in rows],
        "rouge_l": rouge_l(texts, references[: len(texts)]),
        "words": [float(len(text)) for text in texts],
        "stopped": [float(row["stopped"]) for row in answered],
    }


def evaluate(
    arms: Mapping[str, ScoredArm],
    n_tokens: Values,
    training: Training,
    n_resamples: int,
    seed: int,
) -> Evaluation:
    """Return the figures of every arm and their differences to random.

    Args:
        arms: The scored answers of each arm; `random` is one of them.
        n_tokens: float64, shape (questions,), the tokens of each reference answer.
        training: How the models were trained.
        n_resamples: Number of resamples for each interval.
        seed: The seed of the resamples.
    """
    n_answers = arms[RANDOM].answers["rouge_l"].shape[1]
    of_losses = NestedBootstrap(len(n_tokens), n_resamples, seed)
    of_answers = NestedBootstrap(n_answers, n_resamples, seed)
    found = []
    for name, arm in arms.items():
        runs = [run for run in training.runs if run.arm == name]
        figures, differences = {}, {}
        for figure in FIGURES if n_answers else ["loss"]:
            bootstrap = of_losses if figure == "loss" else of_answers
            ratio, other = (_ratio(n, arms[n], figure, n_tokens) for n in (name, RANDOM))
            figures[figure] = bootstrap.estimate(ratio)
            if name != RANDOM:
                differences[figure] = bootstrap.difference(ratio, other)
        found.append(
            ArmFigures(
                name=name,
                n_seeds=len(arm.loss),
                n_records=_mean(runs, "n_records"),
                n_steps=_mean(runs, "n_steps"),
                n_tokens=_mean(runs, "n_tokens"),
                figures=figures,
                differences=differences,
                duels=_duels(name, arms, of_losses, of_answers) if name != RANDOM else {},
            )
        )
    return Evaluation(
        model=training.model, n_test=len(n_tokens), n_answers=n_answers, arms=tuple(found)
    )


def page(result: Evaluation) -> str:
    """Return the result as a page that needs no other file."""
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=True, trim_blocks=True).get_template(
        "page.html"
    )
    return template.render(result=result, figures=FIGURES, random=RANDOM) + "\n"


def _duels(
    name: str,
    arms: Mapping[str, ScoredArm],
    of_losses: NestedBootstrap,
    of_answers: NestedBootstrap,
) -> dict[str, Duel]:
    """Return the duels of an arm against random: by loss and, if there are answers, by ROUGE-L."""
    ours, theirs = arms[name], arms[RANDOM]
    duels = {"loss": duel(name, wins(-ours.loss, -theirs.loss), of_losses)}
    if theirs.answers["rouge_l"].size:
        lengths = paired(ours.answers["words"], theirs.answers["words"])
        won = wins(ours.answers["rouge_l"], theirs.answers["rouge_l"])
        duels["rouge_l"] = duel(name, won, of_answers, lengths[0] - lengths[1])
    return duels


def _ratio(name: str, arm: ScoredArm, figure: str, n_tokens: Values) -> Ratio:
    if figure == "loss":
        return Ratio(name, arm.loss, n_tokens)
    sums = arm.answers[figure]
    return Ratio(name, sums, np.ones(sums.shape[1]))


def _mean(runs: Sequence[TrainedArm], count: str) -> float:
    return fmean(getattr(run, count) for run in runs)
