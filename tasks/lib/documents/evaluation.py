"""The documents of an evaluation: what was trained, the results, and the plan."""

from collections.abc import Mapping
from typing import Self

from tasks.lib.documents.document import Document, Part

FIGURES = {
    "loss": "held-out loss",
    "rouge_l": "ROUGE-L",
    "cosine": "cosine",
    "words": "words per answer",
    "stopped": "complete answers",
}
"""The figures of an arm, the primary one first, with their names in plain words."""

LOWER_IS_BETTER = {"loss": True, "rouge_l": False, "cosine": False}
"""For the other figures, neither direction is better."""


class TrainedArm(Part):
    """One model.

    Attributes:
        n_records: Number of training records.
        n_steps: Number of optimizer steps.
        n_tokens: Number of tokens in the training records, in one epoch.
        n_answer_tokens: Of these, the tokens that the model learns to write.
        n_clipped: Number of records that are longer than evaluate.max_tokens.
        adapter: Hash of the adapter's weights; empty for the untrained model.
    """

    arm: str
    seed: int
    n_records: int
    n_steps: int
    n_tokens: int
    n_answer_tokens: int
    n_clipped: int
    adapter: str


class Training(Document):
    """The training.json document of the tune stage."""

    model: str
    runs: tuple[TrainedArm, ...]


class JudgeUsage(Document):
    """The usage.json document of the judge stage.

    Attributes:
        n_questions: Number of comparisons, in both orders, and of grades.
        n_answered: Number of these questions with a verdict.
        calls: Number of verdicts used; identical questions share one.
        usd: The price of all replies that were paid for, in US dollars.
    """

    route: str
    model: str
    n_questions: int
    n_answered: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float

    @classmethod
    def none(cls, route: str, model: str) -> Self:
        """Return the usage of a route that was not called."""
        counts = dict.fromkeys(
            ("n_questions", "n_answered", "calls", "prompt_tokens", "completion_tokens"), 0
        )
        return cls(route=route, model=model, usd=0.0, **counts)


class FigureEstimate(Part):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class FigureDifference(Part):
    """An arm's figure minus that of random records, with its 95 % interval.

    Attributes:
        visible: The smallest difference that would be found 8 times out of 10.
    """

    value: float
    low: float
    high: float
    visible: float


class Duel(Part):
    """How often an arm's model beats one trained on random records, on the same question, 0 to 1.

    Attributes:
        n_questions: Number of questions on which the models were compared.
        length_controlled: The win rate for answers of equal length; None for a duel by loss, where
            both models are measured on the same reference answers.
    """

    n_questions: int
    win_rate: FigureEstimate
    length_controlled: FigureEstimate | None


class Grades(Part):
    """The grades of an arm's answers to MT-Bench, 1 to 10.

    Attributes:
        n_graded: Number of questions with a grade for every model of the arm and of `random`.
        mean: The mean over both turns.
        first: The mean of the first turn.
        second: The mean of the second turn.
        difference: The mean minus that of random records; None for `random`.
    """

    n_graded: int
    mean: FigureEstimate
    first: float
    second: float
    difference: FigureDifference | None


class ArmFigures(Part):
    """The figures of one arm by name, and its numbers, which are means over the seeds.

    Attributes:
        name: The arm, with its number of records if it was trained on different numbers.
        arm: The arm.
        figures: The figures by name.
        differences: The differences from random by figure; empty for the arm `random`.
        duels: The duels against random, keyed by what decides them; empty for `random`.
        mt_bench: The grades of its answers to MT-Bench; None if there are none.
    """

    name: str
    arm: str
    n_seeds: int
    n_records: float
    n_steps: float
    n_tokens: float
    figures: Mapping[str, FigureEstimate]
    differences: Mapping[str, FigureDifference]
    duels: Mapping[str, Duel]
    mt_bench: Grades | None

    def verdict(self, figure: str = "loss") -> str:
        """Say whether one of the arm's figures beats random; its interval must exclude 0."""
        difference = self.differences.get(figure)
        if difference is None:
            return ""
        if difference.low <= 0 <= difference.high:
            return "no different from random"
        is_better = (difference.value < 0) == LOWER_IS_BETTER[figure]
        return "better than random" if is_better else "worse than random"


class Evaluation(Document):
    """The result.json document of the score stage.

    Attributes:
        n_test: Number of test records with a loss.
        n_answers: Number of these that the models answered.
        encoder: The encoder for the cosine; None if there is none.
        judge: The judge's verdicts, and what they cost.
    """

    model: str
    n_test: int
    n_answers: int
    encoder: str | None
    judge: JudgeUsage
    arms: tuple[ArmFigures, ...]

    @property
    def has_one_seed(self) -> bool:
        """Whether each arm has one model, so that intervals exclude variation between seeds."""
        return all(arm.n_seeds == 1 for arm in self.arms)

    def verdict(self, arm: ArmFigures) -> str:
        """Say whether an arm beats random records in loss, and whether that rests on one seed."""
        return arm.verdict() + (" with this seed" if self.has_one_seed and arm.differences else "")


class JudgePlan(Part):
    """The calls that the judge would get.

    Attributes:
        calls: Number of calls, at most.
        usd: The least and the most that they may cost, before the spending limit.
        max_usd: The spending limit.
    """

    route: str
    model: str
    calls: int
    usd: tuple[float, float]
    max_usd: float


class PlannedArm(Part):
    """An arm of a plan at one number of records, with one model for each seed."""

    name: str
    n_models: int
    n_done: int
    n_records: int
    n_steps: int
    n_tokens: int
    minutes: float


class EvaluationPlan(Document):
    """What an evaluation would do, and how long it would take on this machine.

    Attributes:
        minutes: The time for the models that have not been evaluated yet, from a few probe steps.
        n_seeds: Number of models per arm.
        visible: The smallest difference in held-out loss that would be found 8 times out of 10, in
            nats per token, if seeds did not differ; None if no probe was needed.
        judge: The calls that would be made to the judge; None if there is no judge.
    """

    model: str
    device: str
    n_test: int
    n_answers: int
    arms: tuple[PlannedArm, ...]
    minutes: float
    n_seeds: int
    visible: float | None
    judge: JudgePlan | None
