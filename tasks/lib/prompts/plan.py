"""The plan of a tournament: its budgets, and the rounds that lead to them."""

import json
from pathlib import Path
from typing import NamedTuple

from tasks.lib.core.errors import DataError
from tasks.lib.prompts.geometry import Mode


class TournamentPlan(NamedTuple):
    """The number of records to select, and the composition of prompts."""

    budgets: tuple[int, ...]  # ascending; each selection is a prefix of the next
    candidates_per_prompt: int  # the maximum in a prompt of a later round
    mode: Mode  # how winners are composed into the prompts of the next round
    seed: int  # of that composition, and of the order in which prompts get one more pick
    n_attention_checks: int = 0  # prompts that are sent once more with junk inserted

    @property
    def budget(self) -> int:
        """The largest budget: the number of records in the selection."""
        return self.budgets[-1]

    @property
    def final_prompt_size(self) -> int:
        """The size of later prompts; at least 2, so that each round reduces the candidates."""
        return max(2, self.candidates_per_prompt)


class Round(NamedTuple):
    """The size of a round."""

    round: int
    n_prompts: int
    n_candidates: int
    n_picks: int


def read_plan(
    clusters_path: Path, budgets: tuple[int, ...], seed: int, *, n_attention_checks: int = 0
) -> TournamentPlan:
    """Read the plan of a selection from the prompts described in clusters.json.

    Raises:
        DataError: The file is not in the format that the cluster step writes.
    """
    try:
        clusters = json.loads(clusters_path.read_text(encoding="utf-8"))
        size, mode = int(clusters["candidates_per_prompt"]), Mode(clusters["mode"])
        return TournamentPlan(budgets, size, mode, seed, n_attention_checks)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not in the format that the cluster step writes: {error!r}",
            where=str(clusters_path),
            fix="Run `dvc repro llm_select`, which runs the stages before it first.",
        ) from None


def plan_rounds(n_candidates: int, n_prompts: int, plan: TournamentPlan) -> list[Round]:
    """Return the rounds that narrow `n_prompts` prompts down to the budgets.

    A round serves the budgets that give each of its prompts at least one pick. As long as a smaller
    budget remains, the first pick of each prompt goes into the prompts of the next round.
    """
    rounds: list[Round] = []
    left = plan.budgets
    while left:
        n_picks = max([n_prompts, *(n for n in left if n > n_prompts)])
        rounds.append(Round(len(rounds) + 1, n_prompts, n_candidates, n_picks))
        left = tuple(n for n in left if n < n_prompts)
        n_candidates, n_prompts = n_prompts, -(-n_prompts // plan.final_prompt_size)
    return rounds
