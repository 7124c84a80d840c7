"""The funnel from the source to the selection, one bar for each step."""

from typing import Any

from tasks.lib.documents.labels import FUNNEL
from tasks.lib.documents.validation import Funnel

STEPS = {"rows": (), "pool": ("excluded", "faulty", "repeated"), "unique": ("duplicates",)}
"""What is left at each step, and what was dropped before it."""


def funnel(counts: Funnel) -> list[dict[str, Any]]:
    """Return the steps in order, each with its percentage of the rows and what was dropped."""
    n = counts.model_dump()
    return [
        {
            "count": n[name],
            "label": FUNNEL.get(name, "records"),
            "percent": round(100 * n[name] / max(counts.rows, 1), 2),
            "dropped": [(n[drop], FUNNEL[drop]) for drop in drops if n[drop]],
        }
        for name, drops in {**STEPS, "selected": ()}.items()
    ]
