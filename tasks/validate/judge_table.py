"""The table of what is known of the judge: measured faults beside what is allowed of each."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tasks.validate.artifacts import Limits
from tasks.validate.table import Table

SURE = 0.001  # a p-value below it is taken for no accident


def judge_table(usage: Mapping[str, Any], limits: Limits) -> Table:
    """One row a fault; ``found`` is 0 where it was not looked for, or may be an accident.

    Position bias is the share of first choices that would have to move to other slots, where a
    chi-square test is sure of it; disagreement is 1 less kappa, the agreement between votes that
    chance does not explain. In paper mode slots are clusters, and their bias says nothing.
    """
    slots, agreement, attention_checks = (
        usage["slots"],
        usage["agreement"],
        usage["attention_checks"].values(),
    )
    is_sure = slots["is_shuffled"] and slots["p_value"] is not None and slots["p_value"] < SURE
    n_shown = sum(each["shown"] for each in attention_checks)
    kappa = agreement["kappa"]
    rows = [
        ("position bias", slots["position_bias"] if is_sure else 0.0, limits.max_position_bias),
        (
            "attention checks picked",
            sum(each["picked"] for each in attention_checks) / max(n_shown, 1),
            limits.max_attention_failures,
        ),
        ("disagreement", 0.0 if kappa is None else 1 - kappa, 1 - limits.min_agreement),
    ]
    return Table(pd.DataFrame(rows, columns=["fault", "found", "allowed"]), ["fault"])
