"""The table of what is known of the judge: measured faults beside what is allowed of each."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tasks.validate.artifacts import Limits
from tasks.validate.table import Table

SURE = 0.001  # a p-value below it is taken for no accident


def judge_table(usage: Mapping[str, Any], limits: Limits) -> Table:
    """One row a fault; ``found`` is 0 where it was not looked for, or may be an accident.

    Slot bias is the share of first choices that would have to move to other slots, where a
    chi-square test is sure of it; disagreement is 1 less kappa, the agreement between votes that
    chance does not explain. In paper mode slots are clusters, and their bias says nothing.
    """
    slots, agreement, canaries = usage["slots"], usage["agreement"], usage["canaries"].values()
    is_sure = slots["is_shuffled"] and slots["p_value"] is not None and slots["p_value"] < SURE
    n_shown = sum(each["shown"] for each in canaries)
    kappa = agreement["kappa"]
    rows = [
        ("slot bias", slots["slot_bias"] if is_sure else 0.0, limits.max_slot_bias),
        (
            "canaries picked",
            sum(each["picked"] for each in canaries) / max(n_shown, 1),
            limits.max_canary_rate,
        ),
        ("disagreement", 0.0 if kappa is None else 1 - kappa, 1 - limits.min_agreement),
    ]
    return Table(pd.DataFrame(rows, columns=["fault", "found", "allowed"]), ["fault"])
