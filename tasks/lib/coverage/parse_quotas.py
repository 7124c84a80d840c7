"""Parse the choose.quotas parameter, and turn it into the number of records for each value."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
from pydantic import ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import PARAMS_FILE, Params, load_section
from tasks.lib.coverage.quotas import Quota, Quotas, UnmetQuotaError
from tasks.lib.pool_columns import as_label
from tasks.lib.similarity.cosine import Rows

KEY = "choose.quotas"


class Spread(StrEnum):
    """How a selection is divided among all values of a column."""

    EQUAL = "equal"
    """The same number of records for each value."""
    AS_POOL = "as_pool"
    """Each value's share of the unique records."""


Amounts: TypeAlias = Mapping[str, int | Fraction]
"""The count (an int) or the share (a fraction) of each value."""


def _parse(value: Any) -> dict[str, Spread | Amounts]:
    if not isinstance(value, dict):
        raise PydanticCustomError("quotas", "expected a mapping of columns to quotas")
    return {str(column): _parse_column(str(column), quota) for column, quota in value.items()}


def _parse_column(column: str, quota: Any) -> Spread | Amounts:
    if quota in list(Spread):
        return Spread(quota)
    if not isinstance(quota, dict) or not quota:
        raise PydanticCustomError(
            "quotas",
            "{column}: expected equal, as_pool, or counts or shares by value",
            {"column": column},
        )
    amounts: dict[str, int | Fraction] = {}
    for value, amount in quota.items():
        is_count = type(amount) is int and amount >= 0  # a bool is also an int
        is_share = isinstance(amount, float) and 0 <= amount <= 1
        if not is_count and not is_share:
            raise PydanticCustomError(
                "quotas",
                "{column}: {value}: expected a count (an integer) or a share (0.0 to 1.0)",
                {"column": column, "value": value},
            )
        amounts[as_label(value) or ""] = amount if is_count else Fraction(str(amount))
    return amounts


QuotaParam = Annotated[
    dict[str, Any], PlainValidator(_parse, json_schema_input_type=dict[str, Any])
]
"""The parameter: for each column a `Spread` or `Amounts`."""


class _WithQuotas(Params):
    model_config = ConfigDict(extra="ignore")

    quotas: QuotaParam


class ColumnQuota(NamedTuple):
    """The quota of a column.

    Attributes:
        values: The values that have a count; None means all other values together.
        quota: The quota, with indices into `values` as labels.
        known: The values that occur in unique records.
    """

    column: str
    values: tuple[str | None, ...]
    quota: Quota
    known: Collection[str]


def load_quotas(values: Mapping[str, Any]) -> Mapping[str, Spread | Amounts]:
    """Return choose.quotas.

    Raises:
        ParamError: The value is not a mapping of columns to quotas.
    """
    return load_section(values, "choose", _WithQuotas).quotas


def make_quotas(
    param: Mapping[str, Spread | Amounts],
    columns: Mapping[str, Sequence[object]],
    candidates: Rows,
    sizes: Sequence[int],
) -> list[ColumnQuota]:
    """Return the quota of each column for a selection, and for its first records.

    Shares become counts by the largest remainder method: each is rounded down, and the remaining
    records go to the shares that lost the most; ties go to the first. All values that a quota does
    not name share the rest. The first records get the same shares of a smaller size, as closely as
    whole numbers allow, but never more of a value than at the next size.

    Args:
        param: The value of choose.quotas.
        columns: For each column, the values of all unique records.
        candidates: intp, shape (c,), the unique records that can be selected.
        sizes: Ascending numbers of records, the last of which is the number to select.

    Raises:
        ParamError: The counts and shares of a column exceed the last size.
    """
    return [
        _column_quota(column, quota, list(map(as_label, columns[column])), candidates, sizes)
        for column, quota in param.items()
    ]


def check_quotas(quotas: Sequence[ColumnQuota], n: int) -> None:
    """Check that a selection of `n` candidates meets the quotas of the last size.

    Raises:
        ParamError: No selection meets the quotas; the error says how many records are missing.
    """
    try:
        Quotas([quota.quota.at_end() for quota in quotas], n)
    except UnmetQuotaError as error:
        raise unmet(error, quotas) from None


def unmet(error: UnmetQuotaError, quotas: Sequence[ColumnQuota]) -> ParamError:
    """Return the error for quotas that cannot be met; it says how many records are missing."""
    parts = []
    for short in error.shortages:
        quota = quotas[short.column]
        value = quota.values[short.label]
        name = f"{quota.column} {'of any other value' if value is None else value}"
        hint = nearest(value, quota.known) if value and value not in quota.known else ""
        n_missing = short.n_wanted - short.n_candidates
        parts.append(
            f"{name} needs {short.n_wanted:,} records, but there are {short.n_candidates:,} "
            f"({n_missing:,} too few){hint}"
        )
    what = "; ".join(parts) or (
        "each quota can be met alone, but together they leave room for only "
        f"{error.n_most:,} of {error.n:,} records"
    )
    return ParamError(
        f"{KEY} cannot be met: {what}",
        where=PARAMS_FILE,
        fix="Change these quotas, lower llm_select.budget, or use a larger pool.",
    )


def _column_quota(
    column: str,
    quota: Spread | Amounts,
    labels: Sequence[str | None],
    candidates: Rows,
    sizes: Sequence[int],
) -> ColumnQuota:
    numbers = Counter(label for label in labels if label is not None)
    if isinstance(quota, Spread):
        amounts: Amounts = {
            value: Fraction(1, len(numbers))
            if quota is Spread.EQUAL
            else Fraction(numbers[value], len(labels))
            for value in sorted(numbers)
        }
    else:
        amounts = quota
    counts = _counts(column, amounts, sizes)
    values = (*amounts, None)
    place = {value: i for i, value in enumerate(values)}
    others = len(values) - 1
    of = np.array([place.get(labels[row], others) for row in candidates], np.intp)
    return ColumnQuota(column, values, Quota(of, np.array(counts, np.intp)), numbers.keys())


def _counts(column: str, amounts: Amounts, sizes: Sequence[int]) -> list[list[int]]:
    """Return for each size the count of each value, then that of all other values.

    Raises:
        ParamError: The counts and shares exceed the last size.
    """
    n = sizes[-1]
    exact = [Fraction(amount) if type(amount) is int else amount * n for amount in amounts.values()]
    rest = n - sum(exact)
    if rest < 0:
        raise ParamError(
            f"{KEY}.{column} asks for {float(sum(exact)):g} records, but "
            f"llm_select.budget is {n:,}",
            where=PARAMS_FILE,
            fix="Lower the counts or shares of this column, or raise the budget.",
        )
    exact.append(Fraction(rest))
    counts: list[list[int]] = []
    most = [n] * len(exact)
    for size in reversed(sizes):
        most = _apportion([value * Fraction(size, n or 1) for value in exact], most)
        counts.insert(0, most)
    return counts


def _apportion(exact: Sequence[Fraction], most: Sequence[int]) -> list[int]:
    """Round by the largest remainder method, with no number above its limit in `most`.

    The limits must sum to at least the sum of `exact`.
    """
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    n_left = int(sum(exact)) - sum(counts)
    while n_left:
        for i in by_remainder:
            if n_left and counts[i] < most[i]:
                counts[i] += 1
                n_left -= 1
    return counts
