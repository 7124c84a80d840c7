"""Measure how often the votes on a prompt agree.

Agreement is the mean over prompts of Fleiss's pairwise agreement (Fleiss 1971), and kappa corrects
it for chance with free margins, 1 / n (Brennan & Prediger 1981), since a slot in one prompt is not
the same category as that slot in another.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from tasks.llm_select.position_bias import DIGITS
from tasks.llm_select.votes import Ranking


class Agreement:
    """Counts how often the votes on a prompt have the same first pick.

    Args:
        n_votes: The number of votes on a prompt, unless it is settled earlier.
    """

    def __init__(self, n_votes: int) -> None:
        self._n_certain = n_votes // 2 + 1
        self._n_prompts, self._same, self._chance = 0, 0.0, 0.0

    def add(self, n_candidates: int, ballots: Sequence[Ranking]) -> None:
        """Count one prompt: its size, and its ballots in the order of its votes.

        Votes that may be skipped are ignored, so that stopping early when votes agree does not
        raise the agreement. A prompt with fewer than two ballots, or with one candidate, is
        ignored.
        """
        firsts = [ballot[0] for ballot in ballots[: self._n_certain]]
        pairs = [a == b for a, b in combinations(firsts, 2)]
        if pairs and n_candidates > 1:
            self._n_prompts += 1
            self._same += sum(pairs) / len(pairs)
            self._chance += 1 / n_candidates

    def summary(self) -> dict[str, Any]:
        """Return `VoteAgreement`'s fields, with floats rounded to 6 digits."""
        n, same, chance = self._n_prompts, self._same, self._chance
        return {
            "n_prompts": n,
            "same_first": round(same / n, DIGITS) if n else None,
            "by_chance": round(chance / n, DIGITS) if n else None,
            "kappa": round((same - chance) / (n - chance), DIGITS) if n else None,
        }
