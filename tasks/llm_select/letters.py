"""Read a preference for each slot from the log-probabilities of one token: the slot's letter.

A letter keeps its own bias whatever the candidates are: the first slots are likelier, and so are
letters that are words. So the letter's mean over the other prompts is subtracted. Several
orders show each candidate under several letters, which cancels the rest of the bias.
docs/explanation/judge.md reports the measurements.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from tasks.lib.gateway.reply import ReplyProblem, UnusableReply

_LETTER = re.compile(r"[\W_]*([A-Z])[\W_]*")

Preferences = tuple[float, ...]
"""The log-probability of every letter, from A."""
Floats = NDArray[np.float64]


def parse_letters(text: str, n_candidates: int) -> list[int] | UnusableReply:
    """Return the slots with a reported letter, the likeliest first, or what is wrong. Never raises.

    Args:
        text: The likeliest tokens with their log-probabilities, as a JSON object.
        n_candidates: The number of slots, at most 26.
    """
    found = _reported(text, n_candidates)
    if not found:
        letters = f"A to {ascii_uppercase[n_candidates - 1]}"
        return UnusableReply(
            ReplyProblem.NO_LETTER, f"no letter from {letters} is among its likeliest tokens"
        )
    return sorted(found, key=lambda slot: (-found[slot], slot))


def read_preferences(text: str, n_candidates: int) -> Preferences:
    """Return the log-probabilities of all slots in a text that `parse_letters` accepts.

    An unreported slot gets the lowest reported log-probability, which is an upper bound.
    """
    found, bound = _reported(text, n_candidates), min(_tokens(text).values())
    return tuple(found.get(slot, bound) for slot in range(1, n_candidates + 1))


class LetterBias:
    """The mean log-probability of each letter over the votes on all prompts of one size."""

    def __init__(self) -> None:
        self._sums: dict[int, Floats] = {}
        self._counts: Counter[int] = Counter()

    def add(self, preferences: Preferences) -> None:
        """Count the log-probabilities of one vote, by letter."""
        n = len(preferences)
        self._sums[n] = self._sums.get(n, np.zeros(n)) + preferences
        self._counts[n] += 1

    def without(self, votes: Sequence[Preferences]) -> Floats:
        """Return the means over all votes except these, on one prompt; 0 if there are no others.

        The prompt's own votes are excluded, since its preferences would be taken for bias.
        """
        n = len(votes[0])
        n_others = self._counts[n] - len(votes)
        return (self._sums[n] - np.sum(votes, axis=0)) / n_others if n_others else np.zeros(n)


def mean_preferences(
    votes: Sequence[Preferences], orders: Sequence[Sequence[int]], bias: Floats
) -> Floats:
    """Return the mean log-probability of each slot over several votes, with the bias subtracted.

    Args:
        votes: The log-probabilities by letter.
        orders: For each vote, the candidate under each letter, by index.
        bias: float64, shape (n,), by letter.
    """
    total = np.zeros(len(bias))
    for preferences, shown in zip(votes, orders, strict=True):
        total[list(shown)] += preferences - bias
    return total / len(votes)


def _reported(text: str, n_candidates: int) -> dict[int, float]:
    """Return the log-probability of each slot with a reported letter, in any of its spellings."""
    found: dict[int, float] = {}
    for token, logprob in _tokens(text).items():
        match = _LETTER.fullmatch(token)
        slot = ascii_uppercase.index(match[1]) + 1 if match else math.inf
        if slot <= n_candidates:
            found[int(slot)] = float(np.logaddexp(found.get(int(slot), -math.inf), logprob))
    return found


def _tokens(text: str) -> dict[str, float]:
    tokens: dict[str, float] = json.loads(text or "{}")
    return tokens
