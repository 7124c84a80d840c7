"""Find the quotas of the selection, and count the records that meet them."""

from collections.abc import Mapping, Sequence

from tasks.choose.inputs import Inputs
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.coverage.parse_quotas import (
    KEY,
    Amounts,
    ColumnQuota,
    Spread,
    check_quotas,
    make_quotas,
)
from tasks.lib.coverage.quotas import Quota, can_meet
from tasks.lib.documents.choice import QuotaCount
from tasks.lib.pool_columns import read_columns
from tasks.lib.similarity.cosine import Rows


def find_quotas(
    param: Mapping[str, Spread | Amounts], inputs: Inputs, sizes: Sequence[int]
) -> list[ColumnQuota]:
    """Return the quotas for a selection from the judged records, and for its prefixes.

    If the spending limit cut the selection short and it cannot meet the quotas, they are ignored.

    Args:
        param: The value of choose.quotas.
        inputs: The judged records.
        sizes: Ascending numbers of records, the last of which is the number to select.

    Raises:
        ParamError: The pool lacks a column, or the quotas cannot be met.
    """
    names = {column: f"{KEY}.{column}" for column in param}
    columns = read_columns(inputs.pool_file, names, inputs.pool_rows)
    try:
        quotas = make_quotas(param, columns, inputs.candidates.rows, sizes)
        check_quotas(quotas, sizes[-1])
    except ParamError as error:
        if not inputs.is_partial:
            raise
        log.warning("choose: the selection is partial, so its quotas are ignored: %s", error.what)
        return []
    return quotas


def require_of(quotas: Sequence[ColumnQuota], n: int) -> list[Quota]:
    """Return what a selection of `n` records must meet: the quotas of all sizes, if possible.

    At a smaller size, the quotas of several columns can contradict each other. In that case, they
    apply only to the last size.
    """
    required = [column.quota for column in quotas]
    return required if can_meet(required, n) else [quota.at_end() for quota in required]


def count_quotas(
    quotas: Sequence[ColumnQuota], places: Rows, sizes: Sequence[int]
) -> tuple[QuotaCount, ...]:
    """Return how many records with each value are selected, at each size.

    Args:
        quotas: The quotas, with the labels of all candidates.
        places: intp, shape (n,), the selected candidates in order.
        sizes: The sizes of the quotas.
    """
    return tuple(
        QuotaCount(
            budget=size,
            column=column,
            value=value,
            n_wanted=int(wanted[label]),
            n_candidates=int((quota.labels == label).sum()),
            n_selected=int((quota.labels[places[:size]] == label).sum()),
        )
        for column, values, quota, _ in quotas
        for size, wanted in zip(sizes, quota.counts, strict=True)
        for label, value in enumerate(values)
    )


def warn_of_missed(counts: Sequence[QuotaCount]) -> None:
    """Log the quotas that are not met by the first records of the selection."""
    missed = [count for count in counts if count.n_selected != count.n_wanted]
    if missed:
        parts = (
            f"{count.column} {count.value or 'of any other value'} has {count.n_selected:,} "
            f"instead of {count.n_wanted:,} records at {count.budget:,}"
            for count in missed
        )
        log.warning(
            "choose: no selection meets the quotas of all columns at every budget, so they apply "
            "to the largest budget only: %s",
            "; ".join(parts),
        )
