"""The choose section of params.yaml."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.core.params import Params, load_budgets, load_section, load_seed
from tasks.lib.coverage.parse_quotas import QuotaParam


class Objective(StrEnum):
    """What decides which judged records are selected."""

    COVERAGE = "coverage"
    """How well the records cover the pool, with a bonus for the judge score."""
    RANKS = "ranks"
    """Only the records' ranks in the prompts, as in the paper."""


class Choose(Params):
    """The choose section of params.yaml."""

    objective: Annotated[Objective, Field(strict=False)]  # a string in YAML
    judge_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    annotated: str
    targets: str
    weight_column: Annotated[str, Field(min_length=1)] | None
    quotas: QuotaParam


def check(values: Mapping[str, Any]) -> Choose:
    """Check the choose section, the seed and the budgets; return the section.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    load_budgets(values)
    return load_section(values, "choose", Choose)
