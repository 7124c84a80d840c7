"""Read a preference for each slot from the log-probabilities of one token: the slot's letter.

A letter keeps its own bias whatever the candidates are: the first slots are likelier, and so are
letters that are words. Several orders show each candidate under several letters, so that the bias
cancels out in the mean; see docs/explanation/judge.md.
"""

import json
import math
import re
from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np

from tasks.lib.gateway.reply import ReplyProblem, UnusableReply
from tasks.lib.typicality.typicality import choose
from tasks.llm_select.votes import Ranking

_LETTER = re.compile(r"[\W_]*([A-Z])[\W_]*")

Preferences = tuple[float, ...]
"""The log-probability of every slot, in slot order."""


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

    A slot that is not reported gets the least log-probability that is, which is an upper bound.
    """
    found, bound = _reported(text, n_candidates), min(_tokens(text).values())
    return tuple(found.get(slot, bound) for slot in range(1, n_candidates + 1))


def combine_preferences(
    preferences: Sequence[Preferences], named: set[int], texts: Sequence[str]
) -> Ranking:
    """Return the named slots by their mean log-probability, the highest first.

    Ties go to the slot that the offline judge prefers.

    Args:
        preferences: One or more votes on the same slots.
        named: The slots that a vote reports.
        texts: Item i is the text in slot i + 1.
    """
    means = np.mean(preferences, axis=0)
    preferred = [slot for slot in choose(texts, len(texts)) if slot in named]
    return tuple(sorted(preferred, key=lambda slot: -means[slot - 1]))


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
