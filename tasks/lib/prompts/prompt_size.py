"""Determine the geometry of a selection: the number of prompts, and of candidates per prompt.

embed imports no other module of this folder, so changes to the others do not make it stale.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import gcd
from typing import Annotated, Any, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, Params, load_budgets, load_section

MAX_CANDIDATES = 200  # per prompt


class Mode(StrEnum):
    """How the candidates of a prompt relate to the clusters."""

    WITHIN = "within"
    """Similar records compete: a prompt contains one cluster, or neighbouring clusters."""
    ACROSS = "across"
    """Dissimilar records compete: a prompt takes records from as many clusters as possible."""
    PAPER = "paper"
    """Like across, but in the order given: the slot is the cluster, and no seed is used."""


class Geometry(NamedTuple):
    """The number of prompts, and their size. Sizes differ by at most 1."""

    n_prompts: int  # K
    candidates_per_prompt: int  # R, the maximum per prompt

    def n_clusters(self, mode: Mode, n_records: int) -> int:
        """Return the number of clusters that the records are divided into."""
        if mode is Mode.WITHIN:
            return self.n_prompts
        return min(self.candidates_per_prompt, n_records)


class GeometryParams(Params):
    """The keys of the cluster section that set the composition, size and number of prompts."""

    mode: Annotated[Mode, Field(strict=False)]  # a string in YAML
    candidates_per_prompt: Annotated[int, Field(ge=2, le=MAX_CANDIDATES)] | None
    n_prompts: Annotated[int, Field(ge=1)] | None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        """Require either the size or the number; pydantic passes a ParamError on unchanged."""
        size, n = self.candidates_per_prompt, self.n_prompts
        if size is not None and n is not None:
            raise ParamError(
                f"candidates_per_prompt is {size} and n_prompts is {n}, but one of them must be "
                "null",
                where=f"{PARAMS_FILE}: cluster",
                fix=f"For {n} prompts: {_overrides(n)}\n"
                f"  For {size} candidates per prompt: -S cluster.n_prompts=null",
            )
        if size is None and n is None:
            raise _neither()
        return self

    def geometry(self, n_records: int) -> Geometry:
        """Return the geometry for `n_records`; derive the number or the size of prompts.

        Raises:
            ParamError: n_prompts would give a prompt too few or too many candidates.
        """
        if self.candidates_per_prompt is not None:
            size = self.candidates_per_prompt
            return Geometry(-(-n_records // size), size)
        if self.n_prompts is None:
            raise _neither()
        if not _fits(self.n_prompts, n_records):
            fewest, most = _bounds(n_records)
            raise ParamError(
                f"n_prompts is {self.n_prompts:,}, but each prompt must contain 2 to "
                f"{MAX_CANDIDATES} of the {n_records:,} records",
                where=f"{PARAMS_FILE}: cluster.n_prompts",
                fix=f"Set it to a number from {fewest} to {most}.",
            )
        return Geometry(self.n_prompts, -(-n_records // self.n_prompts))


class _Section(GeometryParams):
    model_config = ConfigDict(extra="ignore")


def load_geometry(values: Mapping[str, Any], n_records: int) -> tuple[Mode, Geometry]:
    """Return the mode and geometry of the cluster section for `n_records`.

    Raises:
        ParamError: A key is invalid, or does not fit the number of records.
    """
    params = load_section(values, "cluster", _Section)
    return params.mode, params.geometry(n_records)


def check_fit(values: Mapping[str, Any], n_records: int, n_known: int = 0) -> None:
    """Check that the geometry and the budgets fit the number of records.

    Args:
        values: All of params.yaml.
        n_records: Number of unique records.
        n_known: Number of unique records that cannot be selected, since they repeat annotated ones.

    Raises:
        ParamError: A value does not fit; the error says which values would.
    """
    mode, geometry = load_geometry(values, n_records)
    check_budgets(load_budgets(values), mode, n_records, geometry.n_prompts, n_known)


def check_budgets(
    budgets: Sequence[int], mode: Mode, n_records: int, n_prompts: int, n_known: int = 0
) -> None:
    """Check that the budgets fit the numbers of records and prompts.

    Raises:
        ParamError: A budget exceeds the number of records or, in paper mode, is not a multiple of
            the number of prompts.
    """
    n_left = n_records - n_known
    if max(budgets) > n_left:
        known = f": {n_known:,} of {n_records:,} repeat records in choose.annotated"
        raise ParamError(
            f"llm_select.budget is {max(budgets):,}, but there are only {n_left:,} records to "
            f"select from{known if n_known else ''}",
            where=PARAMS_FILE,
            fix=f"Set it to at most {n_left}, or use a larger pool.",
        )
    uneven = [n for n in budgets if n % n_prompts]
    if mode is Mode.PAPER and uneven:
        raise ParamError(
            f"llm_select.budget is {uneven[0]:,}, but in paper mode each of the {n_prompts:,} "
            "prompts must pick the same number of records",
            where=PARAMS_FILE,
            fix=_even_budget(uneven[0], gcd(*budgets), n_records, n_prompts),
        )


def _even_budget(budget: int, divisor: int, n_records: int, n_prompts: int) -> str:
    """Suggest a budget or a number of prompts that gives every prompt the same number of picks."""
    multiples = {max(1, budget // n_prompts) * n_prompts, -(-budget // n_prompts) * n_prompts}
    nearest = " or ".join(str(n) for n in sorted(multiples) if n <= n_records)
    fix = f"Set it to {nearest}, or set cluster.mode to across."
    if _fits(divisor, n_records):
        fix += f"\n  For {divisor} prompts: {_overrides(divisor)}"
    return fix


def _fits(n_prompts: int, n_records: int) -> bool:
    fewest, most = _bounds(n_records)
    return fewest <= n_prompts <= most


def _bounds(n_records: int) -> tuple[int, int]:
    """Return the smallest and largest number of prompts; each needs at least two candidates."""
    return -(-n_records // MAX_CANDIDATES), max(1, n_records // 2)


def _overrides(n_prompts: int) -> str:
    return f"-S cluster.n_prompts={n_prompts} -S cluster.candidates_per_prompt=null"


def _neither() -> ParamError:
    return ParamError(
        "candidates_per_prompt and n_prompts are both null, but one of them is required",
        where=f"{PARAMS_FILE}: cluster",
        fix="For 14 candidates per prompt: -S cluster.candidates_per_prompt=14\n"
        "  For 1000 prompts: -S cluster.n_prompts=1000",
    )
