"""Prepare curves of the metrics over the budget, if they were measured at several sizes."""

from typing import Any

from tasks.lib.documents.labels import method_name, metric_name, metric_rank
from tasks.lib.documents.metrics import OURS, RANDOM, Metrics, Point
from tasks.report.formatting import number

N_DRAWN = 6  # methods drawn initially


def curves(metrics: Metrics) -> dict[str, Any] | None:
    """Return the data of the curves, ready for JSON; None if there are none.

    Our method comes first, then random, then the others by name.
    """
    by_method = metrics.curves.methods
    if not by_method or not metrics.curves.sizes:
        return None
    first = (OURS, RANDOM)
    order = sorted(by_method, key=lambda m: (first.index(m) if m in first else 2, m))
    names = sorted({name for curves in by_method.values() for name in curves}, key=metric_rank)
    return {
        "sizes": metrics.curves.sizes,
        "methods": [method_name(method) for method in order],
        "n_ours": int(OURS in order),
        "n_drawn": N_DRAWN,
        "metrics": [
            {
                "label": metric_name(name),
                "better": _better(name, metrics),
                "curves": [_curve(by_method[method].get(name, ())) for method in order],
            }
            for name in names
        ],
    }


def tables(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the curves as text tables, one for each metric, for readers without the plot."""
    return [
        {
            "label": metric["label"],
            "better": metric["better"],
            "rows": [
                {"name": name, "cells": [number(point[0]) if point else "" for point in curve]}
                for name, curve in zip(drawn["methods"], metric["curves"], strict=True)
                if curve
            ],
        }
        for metric in drawn["metrics"]
    ]


def _curve(points: tuple[Point | None, ...]) -> list[list[float] | None]:
    """Return [value, low, high] for each size; the value replaces an unknown low or high."""
    return [point and [point[0] if end is None else end for end in point] for point in points]


def _better(name: str, metrics: Metrics) -> str:
    is_lower = metrics.is_lower_better(name.rpartition(".")[2])
    return "" if is_lower is None else f"{'lower' if is_lower else 'higher'} is better"
