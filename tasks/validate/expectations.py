"""The expectations of Great Expectations that the suites use, in short words.

The last argument is the sentence that a report shows in the expectation's place.
"""

from collections.abc import Sequence

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity


def present(column: str, text: str) -> Expectation:
    """The column has a value in each row."""
    return gxe.ExpectColumnValuesToNotBeNull(column=column, description=text)


def absent(
    column: str, text: str, *, max_share: float = 0, is_warning: bool = False
) -> Expectation:
    """The column has a value in no row, or in no more than a share of them."""
    return gxe.ExpectColumnValuesToBeNull(
        column=column, mostly=1 - max_share, severity=_severity(is_warning), description=text
    )


def distinct(column: str, text: str) -> Expectation:
    """No value of the column comes twice."""
    return gxe.ExpectColumnValuesToBeUnique(column=column, description=text)


def distinct_together(names: list[str], text: str) -> Expectation:
    """No combination of the columns' values comes twice."""
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=names, description=text)


def matches(column: str, pattern: str, text: str) -> Expectation:
    """The pattern is found in each value."""
    return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=pattern, description=text)


def within(column: str, values: Sequence[object], text: str) -> Expectation:
    """Each value is one of `values`."""
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), description=text)


def between(column: str, low: float | None, high: float | None, text: str) -> Expectation:
    """Each value is `low` or more and `high` or less; None sets no bound."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, description=text
    )


def equal(column: str, other: str, text: str) -> Expectation:
    """The two columns agree in each row in which both have a value."""
    return gxe.ExpectColumnPairValuesToBeEqual(
        column_A=column,
        column_B=other,
        ignore_row_if="either_value_is_missing",
        description=text,
    )


def at_least(larger: str, smaller: str, text: str, *, is_warning: bool = False) -> Expectation:
    """In each row `larger` is no less than `smaller`."""
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=larger,
        column_B=smaller,
        or_equal=True,
        severity=_severity(is_warning),
        description=text,
    )


def columns(names: list[str], text: str) -> Expectation:
    """The table has these columns in this order."""
    return gxe.ExpectTableColumnsToMatchOrderedList(column_list=names, description=text)


def count(n_rows: int, text: str) -> Expectation:
    """The table has this many rows."""
    return gxe.ExpectTableRowCountToEqual(value=n_rows, description=text)


def _severity(is_warning: bool) -> FailureSeverity:
    return FailureSeverity.WARNING if is_warning else FailureSeverity.CRITICAL
