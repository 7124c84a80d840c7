"""Find the quotas of the selection, and count the records that meet them."""

from collections.abc import Mapping, Sequence

from tasks.choose.inputs import Inputs
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.coverage.wanted import (
    KEY,
    Amounts,
    ColumnQuota,
    Spread,
    check_quotas,
    make_quotas,
)
from tasks.lib.documents.choice import QuotaCount
from tasks.lib.pool_columns import read_columns
from tasks.lib.similarity.cosine import Rows


def find_quotas(param: Mapping[str, Spread | Amounts], inputs: Inputs, n: int) -> list[ColumnQuota]:
    """Return the quotas for selecting `n` of the judged records.

    If the spending limit cut the selection short and it cannot meet the quotas, they are ignored.

    Raises:
        ParamError: The pool lacks a column, or the quotas cannot be met.
    """
    names = {column: f"{KEY}.{column}" for column in param}
    columns = read_columns(inputs.pool_file, names, inputs.pool_rows)
    try:
        quotas = make_quotas(param, columns, inputs.candidates.rows, n)
        check_quotas(quotas, n)
    except ParamError as error:
        if not inputs.is_partial:
            raise
        log.warning("choose: the selection is partial, so its quotas are ignored: %s", error.what)
        return []
    return quotas


def count_quotas(quotas: Sequence[ColumnQuota], places: Rows) -> tuple[QuotaCount, ...]:
    """Return how many records of each value are selected.

    Args:
        quotas: The quotas, with the labels of all candidates.
        places: intp, shape (n,), the selected candidates.
    """
    return tuple(
        QuotaCount(
            column=column,
            value=value,
            n_wanted=int(quota.counts[label]),
            n_candidates=int((quota.labels == label).sum()),
            n_selected=int((quota.labels[places] == label).sum()),
        )
        for column, values, quota, _ in quotas
        for label, value in enumerate(values)
    )
