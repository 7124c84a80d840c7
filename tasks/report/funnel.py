"""The funnel from the source to the selection, a bar a step."""

from collections.abc import Mapping
from typing import Any

STEPS = (  # name, what is left, and what went before it
    ("rows", "rows read", ()),
    ("pool", "records", ("excluded", "faulty", "repeated")),
    ("unique", "unique records, each in a prompt", ("duplicates",)),
    ("selected", "selected", ()),
)
LOSSES = {
    "excluded": "excluded, as params.yaml says",
    "faulty": "faulty, dropped with a reason",
    "repeated": "repeated, word for word",
    "duplicates": "duplicates of others",
}


def funnel(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The steps in their order, each with its share of the rows in percent and what was lost."""
    most = max(counts["rows"], 1)
    return [
        {
            "count": counts[name],
            "label": label,
            "percent": round(100 * counts[name] / most, 2),
            "lost": [(counts[loss], LOSSES[loss]) for loss in losses if counts[loss]],
        }
        for name, label, losses in STEPS
    ]
