"""What a selection goes by: the budget, and how many rounds lead to it."""

import json
from pathlib import Path
from typing import NamedTuple

from tasks.lib.core.errors import DataError
from tasks.lib.prompts.geometry import Mode


class Rules(NamedTuple):
    """What a selection goes by."""

    budgets: tuple[int, ...]  # how many to select, ascending; each is the beginning of the next
    candidates_per_prompt: int  # the most in a prompt of a later round
    mode: Mode  # how winners are composed into the prompts of the next round
    seed: int  # of that composition, and of the order in which prompts get a pick more
    n_attention_checks: int = 0  # how many prompts are asked once more, with junk planted

    @property
    def budget(self) -> int:
        """The largest of them: how many records the selection has."""
        return self.budgets[-1]

    @property
    def later_size(self) -> int:
        """At least 2: prompts of one candidate would leave as many winners as there were."""
        return max(2, self.candidates_per_prompt)


class Round(NamedTuple):
    """The size of a round."""

    round: int
    n_prompts: int
    n_candidates: int
    n_picks: int


def read_rules(
    clusters_path: Path, budgets: tuple[int, ...], seed: int, *, n_attention_checks: int = 0
) -> Rules:
    """The rules of a selection from the prompts that the file at `clusters_path` tells of.

    Raises:
        DataError: The file is not as the step cluster writes it.
    """
    try:
        clusters = json.loads(clusters_path.read_text(encoding="utf-8"))
        size, mode = int(clusters["candidates_per_prompt"]), Mode(clusters["mode"])
        return Rules(budgets, size, mode, seed, n_attention_checks)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not as the step cluster writes it: {error!r}",
            where=str(clusters_path),
            fix="Run `dvc repro llm_select`, which makes what comes before.",
        ) from None


def plan_rounds(n_candidates: int, n_prompts: int, rules: Rules) -> list[Round]:
    """The rounds that lead from so many prompts to the budgets.

    A round serves the budgets that give each of its prompts a pick or more. While a smaller one is
    left, the first pick of each prompt goes on to the prompts of the next round.
    """
    rounds: list[Round] = []
    left = rules.budgets
    while left:
        n_picks = max([n_prompts, *(n for n in left if n > n_prompts)])
        rounds.append(Round(len(rounds) + 1, n_prompts, n_candidates, n_picks))
        left = tuple(n for n in left if n < n_prompts)
        n_candidates, n_prompts = n_prompts, -(-n_prompts // rules.later_size)
    return rounds
