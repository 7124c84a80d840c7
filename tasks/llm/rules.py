"""What a selection goes by: the budget, and how many rounds lead to it."""

import json
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import DataError, ParamError
from tasks.core.params import PARAMS_FILE
from tasks.grouping.compose import Mode


class Rules(NamedTuple):
    """What a selection goes by."""

    budget: int  # how many to select
    candidates_per_prompt: int  # the most in a prompt of a later round
    mode: Mode  # how winners are composed into the prompts of the next round
    seed: int  # of that composition, and of the order in which prompts get a pick more
    n_canaries: int = 0  # how many prompts are asked once more, with junk planted

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


def read_rules(clusters_path: Path, budget: int, seed: int, *, n_canaries: int = 0) -> Rules:
    """The rules of a selection from the prompts that the file at `clusters_path` tells of.

    Raises:
        DataError: The file is not as the step cluster writes it.
    """
    try:
        clusters = json.loads(clusters_path.read_text(encoding="utf-8"))
        size, mode = int(clusters["candidates_per_prompt"]), Mode(clusters["mode"])
        return Rules(budget, size, mode, seed, n_canaries)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not as the step cluster writes it: {error!r}",
            where=str(clusters_path),
            fix="Run `dvc repro llm_select`, which makes what comes before.",
        ) from None


def plan_rounds(n_candidates: int, n_prompts: int, rules: Rules) -> list[Round]:
    """The rounds that lead from so many prompts to the budget.

    While there are more prompts than picks to make, each prompt picks one, and these winners make
    up the prompts of the next round; so each round but the last is larger than the budget.
    """
    rounds: list[Round] = []
    while n_prompts > rules.budget:
        rounds.append(Round(len(rounds) + 1, n_prompts, n_candidates, n_prompts))
        n_candidates, n_prompts = n_prompts, -(-n_prompts // rules.later_size)
    return [*rounds, Round(len(rounds) + 1, n_prompts, n_candidates, rules.budget)]


def check_budget(n_candidates: int, n_prompts: int, rules: Rules) -> None:
    """Refuse a budget that the candidates do not allow.

    Raises:
        ParamError: It is larger than their number, or in paper mode no multiple of the prompts.
    """
    budget = rules.budget
    if budget > n_candidates:
        raise ParamError(
            f"llm_select.budget is {budget:,}, and only {n_candidates:,} records are left to "
            "select from",
            where=PARAMS_FILE,
            fix=f"Set it to {n_candidates} at most, or give a larger pool.",
        )
    if rules.mode is Mode.PAPER and budget % n_prompts:
        multiples = {max(1, budget // n_prompts) * n_prompts, -(-budget // n_prompts) * n_prompts}
        nearest = " or ".join(str(n) for n in sorted(multiples) if n <= n_candidates)
        raise ParamError(
            f"llm_select.budget is {budget:,}; in paper mode each of the {n_prompts:,} prompts "
            "picks equally many",
            where=PARAMS_FILE,
            fix=f"Set it to {nearest}, or cluster.mode to across.",
        )
