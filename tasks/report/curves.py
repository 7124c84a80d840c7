"""The measures as curves over the budget, when they were taken at more than one."""

from collections.abc import Mapping
from typing import Any

from tasks.report.labels import measure_name, measure_rank, method_name, number
from tasks.report.methods import CHANCE, OURS

N_DRAWN = 6  # methods that are drawn before anyone chooses


def curves(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data of the curves, ready for JSON; None where there are none.

    Ours comes first, then random, then the others by name; the first few are drawn at the start.
    """
    given = metrics.get("curves")
    if not given or not given["methods"] or not given["sizes"]:
        return None
    first = (OURS, CHANCE)
    order = sorted(given["methods"], key=lambda m: (first.index(m) if m in first else 2, m))
    names = sorted(
        {name for found in given["methods"].values() for name in found}, key=measure_rank
    )
    return {
        "sizes": given["sizes"],
        "methods": [method_name(method) for method in order],
        "n_ours": int(OURS in order),
        "n_drawn": N_DRAWN,
        "measures": [
            {
                "label": measure_name(name),
                "better": _better(name, metrics),
                "curves": [_curve(given["methods"][method].get(name)) for method in order],
            }
            for name in names
        ],
    }


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as tables of text, one a measure: for those who do not see the drawing."""
    return [
        {
            "label": measure["label"],
            "better": measure["better"],
            "rows": [
                {"name": name, "cells": [number(point[0]) if point else "" for point in curve]}
                for name, curve in zip(found["methods"], measure["curves"], strict=True)
                if curve
            ],
        }
        for measure in found["measures"]
    ]


def _curve(points: Any) -> list[list[float] | None]:
    """Value, low and high by size; an end of the interval that is not known is the value."""
    return [
        point and [end if end is not None else point[0] for end in (*point, None, None)[:3]]
        for point in points or []
    ]


def _better(name: str, metrics: Mapping[str, Any]) -> str:
    bare = name.rpartition(".")[2]
    if bare in metrics["lower_is_better"]:
        return "lower is better"
    return "higher is better" if bare in metrics["higher_is_better"] else ""
