"""The geometry of a selection: how many prompts there are, and how many candidates each holds.

embed imports only this module of the folder, so that changes to the others do not concern it.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import gcd
from typing import Annotated, Any, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, Params, load_budgets, load_section

MAX_CANDIDATES = 200  # in a prompt


class Mode(StrEnum):
    """How the candidates of a prompt relate to the clusters."""

    WITHIN = "within"
    """Similar records compete: a prompt holds one cluster, or neighbouring ones."""
    ACROSS = "across"
    """Dissimilar records compete: a prompt takes from as many clusters as it can."""
    PAPER = "paper"
    """As across, but in the order given: the slot is the cluster, and no seed is used."""


class Geometry(NamedTuple):
    """The prompts. Their sizes differ by at most 1."""

    n_prompts: int  # K
    candidates_per_prompt: int  # R, the most that one holds

    def n_clusters(self, mode: Mode, n_records: int) -> int:
        """Return the number of clusters that the records are divided into."""
        if mode is Mode.WITHIN:
            return self.n_prompts
        return min(self.candidates_per_prompt, n_records)


class GeometryParams(Params):
    """The keys of section cluster for how prompts are composed, and for their size or number."""

    mode: Annotated[Mode, Field(strict=False)]  # a string in YAML
    candidates_per_prompt: Annotated[int, Field(ge=2, le=MAX_CANDIDATES)] | None
    n_prompts: Annotated[int, Field(ge=1)] | None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        """Refuse both and neither, by an error that pydantic passes on: it is not a ValueError."""
        size, n = self.candidates_per_prompt, self.n_prompts
        if size is not None and n is not None:
            raise ParamError(
                f"candidates_per_prompt is {size} and n_prompts is {n}; give one of them and set "
                "the other to null",
                where=f"{PARAMS_FILE}: cluster",
                fix=f"For {n} prompts: {_overrides(n)}\n"
                f"  For prompts of {size}: -S cluster.n_prompts=null",
            )
        if size is None and n is None:
            raise _neither()
        return self

    def geometry(self, n_records: int) -> Geometry:
        """Return the geometry for `n_records`: the number or the size of prompts is derived.

        Raises:
            ParamError: n_prompts would leave a prompt with too few or too many candidates.
        """
        if self.candidates_per_prompt is not None:
            size = self.candidates_per_prompt
            return Geometry(-(-n_records // size), size)
        if self.n_prompts is None:
            raise _neither()
        if not _fits(self.n_prompts, n_records):
            fewest, most = _bounds(n_records)
            raise ParamError(
                f"n_prompts is {self.n_prompts:,}, and each prompt holds 2 to {MAX_CANDIDATES} of "
                f"the {n_records:,} records",
                where=f"{PARAMS_FILE}: cluster.n_prompts",
                fix=f"Set it to a number from {fewest} to {most}.",
            )
        return Geometry(self.n_prompts, -(-n_records // self.n_prompts))


class _Section(GeometryParams):
    model_config = ConfigDict(extra="ignore")


def load_geometry(values: Mapping[str, Any], n_records: int) -> tuple[Mode, Geometry]:
    """Return how section cluster composes the prompts of `n_records`.

    Raises:
        ParamError: One of its keys is wrong, or does not fit the records.
    """
    params = load_section(values, "cluster", _Section)
    return params.mode, params.geometry(n_records)


def check_fit(values: Mapping[str, Any], n_records: int) -> None:
    """Refuse a geometry or a budget that the number of records does not allow.

    Raises:
        ParamError: It says which values fit.
    """
    mode, geometry = load_geometry(values, n_records)
    check_budgets(load_budgets(values), mode, n_records, geometry.n_prompts)


def check_budgets(budgets: Sequence[int], mode: Mode, n_records: int, n_prompts: int) -> None:
    """Refuse budgets that records and prompts do not allow.

    Raises:
        ParamError: One is above the number of records, or in paper mode not a multiple of the
            number of prompts.
    """
    if max(budgets) > n_records:
        raise ParamError(
            f"llm_select.budget is {max(budgets):,}, and only {n_records:,} records are left to "
            "select from",
            where=PARAMS_FILE,
            fix=f"Set it to {n_records} at most, or give a larger pool.",
        )
    uneven = [n for n in budgets if n % n_prompts]
    if mode is Mode.PAPER and uneven:
        raise ParamError(
            f"llm_select.budget is {uneven[0]:,}; in paper mode each of the {n_prompts:,} prompts "
            "picks equally many",
            where=PARAMS_FILE,
            fix=_even_budget(uneven[0], gcd(*budgets), n_records, n_prompts),
        )


def _even_budget(budget: int, divisor: int, n_records: int, n_prompts: int) -> str:
    """Return the fix: a budget or number of prompts so that all prompts pick equally many."""
    multiples = {max(1, budget // n_prompts) * n_prompts, -(-budget // n_prompts) * n_prompts}
    nearest = " or ".join(str(n) for n in sorted(multiples) if n <= n_records)
    fix = f"Set it to {nearest}, or cluster.mode to across."
    if _fits(divisor, n_records):
        fix += f"\n  For {divisor} prompts: {_overrides(divisor)}"
    return fix


def _fits(n_prompts: int, n_records: int) -> bool:
    fewest, most = _bounds(n_records)
    return fewest <= n_prompts <= most


def _bounds(n_records: int) -> tuple[int, int]:
    """Return the fewest and the most prompts: with one candidate there is nothing to choose."""
    return -(-n_records // MAX_CANDIDATES), max(1, n_records // 2)


def _overrides(n_prompts: int) -> str:
    return f"-S cluster.n_prompts={n_prompts} -S cluster.candidates_per_prompt=null"


def _neither() -> ParamError:
    return ParamError(
        "candidates_per_prompt and n_prompts are both null, and one of them is needed",
        where=f"{PARAMS_FILE}: cluster",
        fix="For prompts of 14: -S cluster.candidates_per_prompt=14\n"
        "  For 1000 prompts: -S cluster.n_prompts=1000",
    )
