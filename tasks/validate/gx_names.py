"""Give short names to the Great Expectations classes that the suites use.

The `text` of an expectation is the sentence that a report shows for it.
"""

from collections.abc import Sequence

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity


def present(column: str, text: str) -> Expectation:
    """Expect a value in each row of the column."""
    return gxe.ExpectColumnValuesToNotBeNull(column=column, description=text)


def absent(
    column: str, text: str, *, max_share: float = 0, is_warning: bool = False
) -> Expectation:
    """Expect no values in the column, or values in at most the share `max_share` of its rows."""
    return gxe.ExpectColumnValuesToBeNull(
        column=column, mostly=1 - max_share, severity=_severity(is_warning), description=text
    )


def distinct(column: str, text: str) -> Expectation:
    """Expect no value to occur twice in the column."""
    return gxe.ExpectColumnValuesToBeUnique(column=column, description=text)


def distinct_together(names: list[str], text: str) -> Expectation:
    """Expect no combination of the columns' values to occur twice."""
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=names, description=text)


def matches(column: str, pattern: str, text: str) -> Expectation:
    """Expect to find the pattern in each value."""
    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=pattern, description=text)


def within(column: str, values: Sequence[object], text: str) -> Expectation:
    """Expect each value to be one of `values`."""
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), description=text)


def between(column: str, low: float | None, high: float | None, text: str) -> Expectation:
    """Expect each value to be from `low` to `high`; None means no bound."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, description=text
    )


def equal(column: str, other: str, text: str, *, is_warning: bool = False) -> Expectation:
    """Expect the two columns to agree in each row in which both have a value."""
    return gxe.ExpectColumnPairValuesToBeEqual(
        column_A=column,
        column_B=other,
        ignore_row_if="either_value_is_missing",
        severity=_severity(is_warning),
        description=text,
    )


def at_least(larger: str, smaller: str, text: str, *, is_warning: bool = False) -> Expectation:
    """Expect `larger` to be at least `smaller` in each row."""
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=larger,
        column_B=smaller,
        or_equal=True,
        severity=_severity(is_warning),
        description=text,
    )


def columns(names: list[str], text: str) -> Expectation:
    """Expect these columns in this order."""
    return gxe.ExpectTableColumnsToMatchOrderedList(column_list=names, description=text)


def count(n_rows: int, text: str) -> Expectation:
    """Expect this number of rows."""
    return gxe.ExpectTableRowCountToEqual(value=n_rows, description=text)


def _severity(is_warning: bool) -> FailureSeverity:
    return FailureSeverity.WARNING if is_warning else FailureSeverity.CRITICAL
