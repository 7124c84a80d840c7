"""The runs of an evaluation: which records each arm trains on, with each seed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from tasks.evaluate.params import RANDOM, SELECTION, UNTRAINED, WHOLE, Evaluate
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE


class ArmRun(NamedTuple):
    """One model: an arm and a seed, with the ids of its training records in order.

    The untrained model has no records, and is run only once.
    """

    arm: str
    seed: int
    ids: tuple[str, ...]


class Sources(NamedTuple):
    """What the arms are built from.

    Attributes:
        selected: The ids of the selection.
        unique: The ids of all records that could be selected.
        draws: The selections of each other method and of each variant, in seed order.
    """

    selected: Sequence[str]
    unique: Sequence[str]
    draws: Mapping[str, Sequence[Sequence[str]]]

    def of(self, arm: str) -> Sequence[Sequence[str]]:
        """Return the selections of an arm; there are none if its method has not run."""
        if arm == WHOLE:
            return [self.unique]
        return [self.selected] if arm == SELECTION else self.draws.get(arm, [])


def read_draws(*selections: pa.Table) -> dict[str, list[list[str]]]:
    """Return the selections of each method in these tables, in seed order."""
    draws: dict[str, dict[int, list[str]]] = {}
    for table in selections:
        columns = (table[name].to_pylist() for name in ("method", "seed", "id"))
        for method, seed, id_ in zip(*columns, strict=True):
            draws.setdefault(method, {}).setdefault(seed, []).append(id_)
    return {method: list(by_seed.values()) for method, by_seed in draws.items()}


def arm_runs(params: Evaluate, sources: Sources) -> list[ArmRun]:
    """Return the runs of all arms, ordered by arm, budget and seed.

    Each seed of `random` trains on its own random selection. The other methods that choose at
    random also have a selection for each seed; the rest train on the same records with each seed.
    All methods use the same number of records as the selection, which may be partial. If budgets
    are set, each method has a run for each budget, on the first records of its selection.

    Raises:
        DataError: A method has no selection or too small a selection, `random` has fewer selections
            than there are seeds, or a budget is larger than the selection.
    """
    n = len(sources.selected)
    budgets = params.budgets or [n]
    if budgets[-1] > n:
        raise DataError(
            f"evaluate.budgets contains {budgets[-1]:,}, but the selection has only {n:,} records",
            where=PARAMS_FILE,
            fix=f"Use budgets of at most {n}, or select more records with "
            f"`selectllm run -S llm_select.budget={budgets[-1]}`.",
        )
    return [run for arm in params.arms for run in _runs(arm, params.n_seeds, budgets, sources)]


def _runs(arm: str, n_seeds: int, budgets: Sequence[int], sources: Sources) -> list[ArmRun]:
    if arm == UNTRAINED:
        return [ArmRun(arm, 0, ())]
    draws = sources.of(arm)
    if not draws or (arm == RANDOM and len(draws) < n_seeds):
        raise DataError(
            f"found {len(draws)} selections of the arm {arm}, expected "
            f"{n_seeds if arm == RANDOM else 'at least one'}",
            where=f"{PARAMS_FILE}: evaluate.arms",
            fix=f"Run `selectllm run` with {arm} in baseline.methods, or `selectllm compare` with "
            f"{arm} in compare, or remove it from evaluate.arms. A method that is too slow for the "
            "pool makes no selection.",
        )
    sizes = [len(sources.unique)] if arm == WHOLE else budgets
    if min(map(len, draws)) < sizes[-1]:
        raise DataError(
            f"the arm {arm} has {min(map(len, draws)):,} records, but {sizes[-1]:,} are needed",
            where=f"{PARAMS_FILE}: evaluate.arms",
            fix="Run `selectllm run`, or `selectllm compare` for a variant, so that all methods "
            "select the same number of records.",
        )
    return [
        ArmRun(arm, seed, tuple(draws[seed % len(draws)][:size]))
        for size in sizes
        for seed in range(n_seeds)
    ]
