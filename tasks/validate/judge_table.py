"""The table of the judge's measured faults, and how much of each is allowed."""

import pandas as pd

from tasks.lib.documents.usage import Usage
from tasks.validate.artifacts import Limits
from tasks.validate.table import Table

MAX_P = 0.001  # a p-value below it counts as evidence


def judge_table(usage: Usage, limits: Limits) -> Table:
    """Make one row for each fault; ``found`` is 0 if it was not measured, or may be chance.

    Position bias is the share of first choices that would have to move to other slots, if a
    chi-square test finds it significant; disagreement is 1 less kappa, the agreement between votes
    that chance does not explain. In paper mode slots are clusters, so their bias says nothing.
    """
    slots, kappa, checks = usage.slots, usage.agreement.kappa, usage.attention_checks.values()
    is_sure = slots.is_shuffled and slots.p_value is not None and slots.p_value < MAX_P
    n_shown, n_picked = sum(c.shown for c in checks), sum(c.picked for c in checks)
    bias = slots.position_bias if is_sure else 0.0
    rows = [
        ("position bias", bias, limits.max_position_bias),
        ("attention checks picked", n_picked / max(n_shown, 1), limits.max_attention_failures),
        ("disagreement", 0.0 if kappa is None else 1 - kappa, 1 - limits.min_agreement),
    ]
    return Table(pd.DataFrame(rows, columns=["fault", "found", "allowed"]), ["fault"])
