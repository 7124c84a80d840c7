"""Judge instructions deterministically by rules for the paper's five criteria, without a model.

The rules do not know what a text means. They count features that exist in any language: kinds of
characters, repetition, length up to a point, structure, figures and quotations. They are good at
ranking noise last, and fairly good at preferring a rich request to a bare one.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasks.lib.rubric.text_features import TextFeatures, read_features

ENOUGH_UNITS = 25  # words; a longer text does not count as more detailed
MUCH_UNITS = 50  # words; a longer text is mostly material to read
REQUEST_SHARE = 0.7  # weight of the request alone, since a long passage would enrich any question
OVERLAP_COST = 0.3  # deducted if all words of a candidate are in a text already chosen
DIGITS = 6  # of a rating; the last bits of a logarithm differ between processors


class Rating(NamedTuple):
    """How well a text meets each criterion, from 0 to 1."""

    clarity: float
    """Readable characters, a proper end, and sentences that are not too long to follow."""
    detail: float
    """The number of words, up to that of a full request; far more words lower it."""
    scenario: float
    """Many different words."""
    value: float
    """Several clauses, sentences or lines, so several things to learn."""
    challenge: float
    """Details that make a request specific: figures, quotations, formulas, asides."""
    soundness: float
    """Freedom from noise, placeholders, truncation and instructions to the judge; scales all."""

    @property
    def total(self) -> float:
        """The rating as one number, from 0 to 1."""
        criteria = (self.clarity, self.detail, self.scenario, self.value, self.challenge)
        return round(self.soundness * sum(criteria) / len(criteria), DIGITS)


def choose(texts: Sequence[str], n_picks: int) -> list[int]:
    """Return the slots (1 = ``texts[0]``) of the `n_picks` best texts, the best first.

    Each further pick is the best remaining text, with a deduction for words that it shares with a
    text already chosen. So a smaller selection is a prefix of a larger one. Ties go to the text
    that is first in code point order, not to a slot.
    """
    features = [read_features(text) for text in texts]
    ratings = [_rate(text, whole).total for text, whole in zip(texts, features, strict=True)]
    rest = sorted(range(len(texts)), key=lambda i: texts[i])
    shared = [0.0] * len(texts)
    chosen: list[int] = []
    while rest and len(chosen) < n_picks:
        best = max(rest, key=lambda i: ratings[i] * (1 - OVERLAP_COST * shared[i]))
        rest.remove(best)
        chosen.append(best)
        for i in rest:
            shared[i] = max(shared[i], _overlap(features[i].words, features[best].words))
    return [i + 1 for i in chosen]


def rate(text: str) -> Rating:
    """Return how well a record's text meets the criteria."""
    return _rate(text, read_features(text))


def _rate(text: str, whole: TextFeatures) -> Rating:
    """Rate a text by its features; its request ends at the first blank line."""
    head, _, material = text.partition("\n\n")
    request = read_features(head) if material else whole

    def both(criterion: Callable[[TextFeatures], float]) -> float:
        return REQUEST_SHARE * criterion(request) + (1 - REQUEST_SHARE) * criterion(whole)

    return Rating(
        clarity=_clarity(whole),
        detail=both(_detail),
        scenario=both(_scenario),
        value=both(_value),
        challenge=both(_challenge),
        soundness=_soundness(whole),
    )


def _clarity(features: TextFeatures) -> float:
    ending = 1.0 if features.is_ended else 0.7
    units_a_sentence = features.n_units / max(1, features.n_ends)
    pace = 1 - 0.5 * _ramp(units_a_sentence, 30, 90)
    return ending * pace * _ramp(features.legible, 0.3, 0.75)


def _detail(features: TextFeatures) -> float:
    enough = min(1.0, math.log1p(features.n_units) / math.log1p(ENOUGH_UNITS))
    return enough * _brevity(features)


def _scenario(features: TextFeatures) -> float:
    return _ramp(features.variety, 0.6, 0.9) * _ramp(features.n_units, 2, 12)


def _value(features: TextFeatures) -> float:
    return features.n_breaks / (features.n_breaks + 1.5) * _brevity(features)


def _challenge(features: TextFeatures) -> float:
    kinds = (features.n_figures, features.n_quotes, features.n_signs, features.n_asides)
    n_kinds = sum(n / (n + 1) for n in kinds)
    return min(1.0, n_kinds / 2) * _brevity(features)  # two kinds are enough


def _brevity(features: TextFeatures) -> float:
    """Return 1 for a text of up to `MUCH_UNITS`, falling to 0.5 for ten times that length."""
    n_units = math.log1p(features.n_units)
    return 1 - 0.5 * _ramp(n_units, math.log1p(MUCH_UNITS), math.log1p(10 * MUCH_UNITS))


def _soundness(features: TextFeatures) -> float:
    return (
        _ramp(features.n_units, 0, 5)
        * _ramp(features.legible, 0.1, 0.45)
        * _ramp(features.variety, 0.45, 0.75)
        * (1 - _ramp(features.hard_to_say, 0.08, 0.3))
        * (1 - _ramp(features.placeholder, 0.05, 0.4))
        * (1 - _ramp(features.broken, 0.0, 0.03))
        * (0.6 if features.is_truncated else 1.0)
        * (0.3 if features.addresses_reader else 1.0)
    )


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the share of the words of `a` that are also in `b`."""
    return len(a & b) / len(a) if a else 1.0


def _ramp(x: float, low: float, high: float) -> float:
    """Return 0 up to `low`, 1 from `high`, and linearly in between."""
    return min(1.0, max(0.0, (x - low) / (high - low)))
