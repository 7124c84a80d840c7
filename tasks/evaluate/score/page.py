"""Show an evaluation as a page that needs no other file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader

from tasks.evaluate.params import RANDOM
from tasks.evaluate.score.answers import ArmKey, Row
from tasks.lib.documents.evaluation import FIGURES, ArmFigures, Evaluation

N_EXAMPLES = 6
MAX_EXAMPLE_CHARS = 1200
SETS = {"judge": "the test records", "judge_alpaca_eval": "AlpacaEval’s instructions"}
N_TICKS = 5
COLOURS = ("#1b6ca8", "#c8553d", "#3d8b5f", "#8a5fb0", "#b0892f", "#4aa3a2")


class ShownAnswer(NamedTuple):
    """An answer in an example, with the judge's verdict, which is empty if there is no judge."""

    arm: str
    text: str
    verdict: str


class ShownExample(NamedTuple):
    """A question with the answers of the arms' first models."""

    question: str
    reference: str
    answers: list[ShownAnswer]


class Scale(NamedTuple):
    """A linear scale from values to positions in a drawing."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the position of a value."""
        span = (self.high - self.low) or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Evenly spaced round values between the ends, including 0 if it is between them."""
        rough = ((self.high - self.low) or 1.0) / N_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        places = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [place * step for place in places]


def page(result: Evaluation, examples: Sequence[ShownExample] = ()) -> str:
    """Return the result as a page."""
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=True, trim_blocks=True).get_template(
        "page.html"
    )
    others = [arm for arm in result.arms if arm.differences]
    return (
        template.render(
            result=result,
            figures={name: FIGURES[name] for name in FIGURES if name in result.arms[0].figures},
            random=RANDOM,
            others=others,
            forest=_forest_scale(others),
            curves=list(_curves(result)),
            colours=COLOURS,
            sets=SETS,
            examples=examples,
        )
        + "\n"
    )


def shown_examples(
    questions: Sequence[Row],
    models: Mapping[ArmKey, Sequence[Sequence[Row]]],
    verdicts: Mapping[tuple[str, int, int, str], float],
) -> list[ShownExample]:
    """Return the first questions that were answered, with the answers of each arm's first model.

    They are not chosen to favour any arm. If there are several budgets, the largest is shown.
    """
    largest = {key.arm: key for key in sorted(models)}
    arms = [key for key in models if largest[key.arm] == key]
    answers = {key: {row["id"]: row for row in models[key][0]} for key in arms}
    answered = [q for q in questions if answers[arms[0]][q["id"]]["answer"] is not None]
    return [
        ShownExample(
            _short("\n\n".join(filter(None, (question["instruction"], question["input"])))),
            _short(question["output"] or ""),
            [
                ShownAnswer(
                    key.arm,
                    _short(answers[key][question["id"]]["answer"]),
                    _verdict(verdicts.get((*key, 0, question["id"]))),
                )
                for key in arms
            ],
        )
        for question in answered[:N_EXAMPLES]
    ]


def _verdict(points: float | None) -> str:
    if points is None:
        return ""
    return {1.0: "preferred to random", 0.0: "random preferred"}.get(points, "a tie with random")


def _short(text: str) -> str:
    return text if len(text) <= MAX_EXAMPLE_CHARS else f"{text[:MAX_EXAMPLE_CHARS]} …"


def _forest_scale(arms: Sequence[ArmFigures]) -> Scale:
    """Return the scale of the differences in held-out loss; 0 is on it."""
    ends = [end for arm in arms for d in [arm.differences["loss"]] for end in (d.low, d.high)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.05 * (high - low) or 0.01
    return Scale(low - margin, high + margin, 190.0, 690.0)


def _curves(result: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield each figure's curve over the budgets, if there are at least two."""
    sizes = sorted({arm.n_records for arm in result.arms if arm.arm == RANDOM})
    if len(sizes) < 2:
        return
    names = [arm.arm for arm in result.arms if arm.n_records in sizes]
    for figure in ("loss", "rouge_l"):
        if figure not in result.arms[0].figures:
            continue
        lines = {
            name: [arm for arm in result.arms if arm.arm == name and arm.n_records in sizes]
            for name in sorted(dict.fromkeys(names), key=RANDOM.__eq__)
        }
        points = [arm.figures[figure] for arms in lines.values() for arm in arms]
        low, high = min(p.low for p in points), max(p.high for p in points)
        yield {
            "figure": figure,
            "lines": lines,
            "sizes": sizes,
            "x": Scale(sizes[0], sizes[-1], 80.0, 520.0),
            "y": Scale(low, high, 240.0, 20.0),
        }
