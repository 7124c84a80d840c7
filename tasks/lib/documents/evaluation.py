"""The documents of an evaluation: what was trained, what comes out, and what it would take."""

from collections.abc import Mapping

from tasks.lib.documents.document import Document, Part

FIGURES = {
    "loss": "held-out loss",
    "rouge_l": "ROUGE-L",
    "words": "words per answer",
    "stopped": "complete answers",
}
"""The figures of an arm, the primary one first, with their names in plain words."""

LOWER_IS_BETTER = {"loss": True, "rouge_l": False}
"""Of the other figures, neither direction is better."""


class TrainedArm(Part):
    """One model.

    Attributes:
        n_records: Number of training records.
        n_steps: Number of optimizer steps.
        n_tokens: Number of tokens of the training records, in one epoch.
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


class FigureEstimate(Part):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class FigureDifference(Part):
    """The figure of an arm minus that of random records, with its 95 % interval.

    Attributes:
        visible: The smallest difference that would be found 8 times out of 10.
    """

    value: float
    low: float
    high: float
    visible: float


class Duel(Part):
    """How often an arm's model does better than a random one on the same test record, 0 to 1.

    Attributes:
        length_controlled: The win rate for answers of equal length; None for a duel by loss, where
            both models are measured on the same reference answers.
    """

    win_rate: FigureEstimate
    length_controlled: FigureEstimate | None


class ArmFigures(Part):
    """The figures of one arm by name, and its numbers, which are means over the seeds.

    Attributes:
        duels: The duels against random by the figure that decides them; empty for `random`.
        differences: The differences to random by figure; empty for the arm `random`.
    """

    name: str
    n_seeds: int
    n_records: float
    n_steps: float
    n_tokens: float
    figures: Mapping[str, FigureEstimate]
    differences: Mapping[str, FigureDifference]
    duels: Mapping[str, Duel]

    def verdict(self, figure: str = "loss") -> str:
        """Say whether a figure of the arm is better than random; its interval must exclude 0."""
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
        n_answers: Number of them that the models answered.
    """

    model: str
    n_test: int
    n_answers: int
    arms: tuple[ArmFigures, ...]

    @property
    def has_one_seed(self) -> bool:
        """Whether each arm has one model, so that no interval covers other seeds."""
        return all(arm.n_seeds == 1 for arm in self.arms)

    def verdict(self, arm: ArmFigures) -> str:
        """Say whether an arm is better than random by loss, and whether only one seed says so."""
        return arm.verdict() + (" with this seed" if self.has_one_seed and arm.differences else "")


class PlannedArm(Part):
    """An arm of a plan: one model for each seed, with these numbers."""

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
    """

    model: str
    device: str
    n_test: int
    n_answers: int
    arms: tuple[PlannedArm, ...]
    minutes: float
