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
    """What the arms are made from.

    Attributes:
        selected: The ids of the selection.
        unique: The ids of all records that could be selected.
        draws: The selections of each other method, in the order of its seeds.
    """

    selected: Sequence[str]
    unique: Sequence[str]
    draws: Mapping[str, Sequence[Sequence[str]]]


def read_draws(selections: pa.Table) -> dict[str, list[list[str]]]:
    """Return the selections of each method in a table of selections, in the order of its seeds."""
    draws: dict[str, dict[int, list[str]]] = {}
    columns = (selections[name].to_pylist() for name in ("method", "seed", "id"))
    for method, seed, id_ in zip(*columns, strict=True):
        draws.setdefault(method, {}).setdefault(seed, []).append(id_)
    return {method: list(by_seed.values()) for method, by_seed in draws.items()}


def arm_runs(params: Evaluate, sources: Sources) -> list[ArmRun]:
    """Return the runs of all arms, in the order of the arms and seeds.

    Each seed of `random` trains on its own random selection. The other methods that choose at
    random also have a selection for each seed; the rest train on the same records with each seed.
    All methods have the number of records of the selection, which may be partial.

    Raises:
        DataError: A method has made no selection, or too small ones, or `random` made fewer than
            there are seeds.
    """
    return [run for arm in params.arms for run in _runs(arm, params.n_seeds, sources)]


def _runs(arm: str, n_seeds: int, sources: Sources) -> list[ArmRun]:
    if arm == UNTRAINED:
        return [ArmRun(arm, 0, ())]
    if arm == WHOLE:
        return [ArmRun(arm, seed, tuple(sources.unique)) for seed in range(n_seeds)]
    n = len(sources.selected)
    draws = [sources.selected] if arm == SELECTION else sources.draws.get(arm, [])
    if not draws or (arm == RANDOM and len(draws) < n_seeds):
        raise DataError(
            f"found {len(draws)} selections of the arm {arm}, expected "
            f"{n_seeds if arm == RANDOM else 'at least one'}",
            where=f"{PARAMS_FILE}: evaluate.arms",
            fix=f"Run `selectllm run` with {arm} in baseline.methods, or remove it from "
            "evaluate.arms. A method that is too slow for the pool makes no selection.",
        )
    if min(map(len, draws)) < n:
        raise DataError(
            f"the arm {arm} has {min(map(len, draws)):,} records, but the selection has {n:,}",
            where=f"{PARAMS_FILE}: evaluate.arms",
            fix="Run `selectllm run`, so that all methods select the same number of records.",
        )
    return [ArmRun(arm, seed, tuple(draws[seed % len(draws)][:n])) for seed in range(n_seeds)]
