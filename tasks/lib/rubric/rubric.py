"""A deterministic judge of instructions by rules: the paper's five criteria, without a model.

It knows nothing of meaning. It counts what can be seen in any language: kinds of characters,
repetition, length up to a point, structure, figures and quotations. It is good at putting noise
last and fair at telling a bare request from a rich one, and no more is claimed for it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasks.lib.rubric.text_features import Marks, read_marks

ENOUGH_UNITS = 25  # words; a longer text is taken for no more detailed
MUCH_UNITS = 50  # words; a longer text is mostly material to read
REQUEST_SHARE = 0.7  # the rest is for the whole, or a long passage would make any question rich
OVERLAP_COST = 0.3  # of a candidate all of whose words stand in one already chosen
DIGITS = 6  # of a rating; the last bits of a logarithm differ between processors


class Rating(NamedTuple):
    """How far a text meets each criterion, from 0 to 1."""

    clarity: float
    """Readable characters, a proper end, sentences of a length one can follow."""
    detail: float
    """As many words as a full request has; far more count against it."""
    scenario: float
    """Many different words."""
    value: float
    """Several clauses, sentences or lines, so several things to be learnt."""
    challenge: float
    """What pins a request down: figures, quotations, formulas, asides."""
    soundness: float
    """How sure it is no noise, placeholder, torn-off piece or order to the judge; it scales all."""

    @property
    def total(self) -> float:
        """The rating as one number, from 0 to 1."""
        criteria = (self.clarity, self.detail, self.scenario, self.value, self.challenge)
        return round(self.soundness * sum(criteria) / len(criteria), DIGITS)


def choose(texts: Sequence[str], n_picks: int) -> list[int]:
    """Slots (1 = ``texts[0]``) of the `n_picks` best texts, the best first.

    Each next one is the best among the rest, less a part for the words it shares with one already
    chosen. So the choice of fewer is the beginning of the choice of more. Ties go to the text
    that is first in code point order, not to the slot.
    """
    marks = [read_marks(text) for text in texts]
    ratings = [_rate(text, whole).total for text, whole in zip(texts, marks, strict=True)]
    rest = sorted(range(len(texts)), key=lambda i: texts[i])
    shared = [0.0] * len(texts)
    chosen: list[int] = []
    while rest and len(chosen) < n_picks:
        best = max(rest, key=lambda i: ratings[i] * (1 - OVERLAP_COST * shared[i]))
        rest.remove(best)
        chosen.append(best)
        for i in rest:
            shared[i] = max(shared[i], _overlap(marks[i].words, marks[best].words))
    return [i + 1 for i in chosen]


def rate(text: str) -> Rating:
    """How far the text of one record meets the criteria."""
    return _rate(text, read_marks(text))


def _rate(text: str, whole: Marks) -> Rating:
    """The rating of a text with these marks; what stands before a blank line is its request."""
    head, _, material = text.partition("\n\n")
    request = read_marks(head) if material else whole

    def both(criterion: Callable[[Marks], float]) -> float:
        return REQUEST_SHARE * criterion(request) + (1 - REQUEST_SHARE) * criterion(whole)

    return Rating(
        clarity=_clarity(whole),
        detail=both(_detail),
        scenario=both(_scenario),
        value=both(_value),
        challenge=both(_challenge),
        soundness=_soundness(whole),
    )


def _clarity(marks: Marks) -> float:
    ending = 1.0 if marks.is_ended else 0.7
    units_a_sentence = marks.n_units / max(1, marks.n_ends)
    pace = 1 - 0.5 * _ramp(units_a_sentence, 30, 90)
    return ending * pace * _ramp(marks.legible, 0.3, 0.75)


def _detail(marks: Marks) -> float:
    enough = min(1.0, math.log1p(marks.n_units) / math.log1p(ENOUGH_UNITS))
    return enough * _brevity(marks)


def _scenario(marks: Marks) -> float:
    return _ramp(marks.variety, 0.6, 0.9) * _ramp(marks.n_units, 2, 12)


def _value(marks: Marks) -> float:
    return marks.n_breaks / (marks.n_breaks + 1.5) * _brevity(marks)


def _challenge(marks: Marks) -> float:
    kinds = (marks.n_figures, marks.n_quotes, marks.n_signs, marks.n_asides)
    n_kinds = sum(n / (n + 1) for n in kinds)
    return min(1.0, n_kinds / 2) * _brevity(marks)  # two kinds are plenty


def _brevity(marks: Marks) -> float:
    """1 for what is read at a glance, down to a half for ten times as much."""
    n_units = math.log1p(marks.n_units)
    return 1 - 0.5 * _ramp(n_units, math.log1p(MUCH_UNITS), math.log1p(10 * MUCH_UNITS))


def _soundness(marks: Marks) -> float:
    return (
        _ramp(marks.n_units, 0, 5)
        * _ramp(marks.legible, 0.1, 0.45)
        * _ramp(marks.variety, 0.45, 0.75)
        * (1 - _ramp(marks.unsayable, 0.08, 0.3))
        * (1 - _ramp(marks.placeholder, 0.05, 0.4))
        * (1 - _ramp(marks.broken, 0.0, 0.03))
        * (0.6 if marks.is_torn else 1.0)
        * (0.3 if marks.is_to_the_reader else 1.0)
    )


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Share of the words of `a` that are in `b` too."""
    return len(a & b) / len(a) if a else 1.0


def _ramp(x: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high`, straight between."""
    return min(1.0, max(0.0, (x - low) / (high - low)))
