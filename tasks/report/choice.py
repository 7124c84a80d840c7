"""Show how the judge and coverage made the selection, and how well it meets its goals."""

from typing import Any

import numpy as np

from tasks.lib.documents.choice import TargetFigure
from tasks.report.formatting import number
from tasks.report.inputs import ReportInputs


def view(inputs: ReportInputs) -> dict[str, Any]:
    """Return the values for this section of the page."""
    choice, section = inputs.choice, inputs.params["choose"]
    return {
        "objective": section["objective"],
        "judge_weight": section["judge_weight"],
        "scores": _by_score(inputs),
        "weights": choice.weights,
        "quotas": choice.quotas,
        "n_budgets": len({quota.budget for quota in choice.quotas}),
        "targets": choice.targets and _describe(choice.targets),
        "n_annotated": choice.n_annotated,
        "n_known": choice.n_known,
    }


def points(inputs: ReportInputs) -> dict[str, Any]:
    """Return the judge score and the gain of every selected record in order, ready for JSON."""
    scores, gains = (inputs.selected[name].to_numpy() for name in ("score", "gain"))
    return {
        "scores": [round(score, 3) for score in scores.tolist()],
        "gains": [float(f"{gain:.3g}") for gain in gains.tolist()],
    }


def _by_score(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the number of records with each judge score, and how many of them are selected."""
    is_judged = inputs.ballots["set_aside"].is_null().to_numpy()
    judged = np.round(inputs.ballots["score"].to_numpy()[is_judged], 3)
    scores = np.round(inputs.selected["score"].to_numpy(), 3)
    gains = inputs.selected["gain"].to_numpy()
    rows = []
    for score in np.unique(judged)[::-1].tolist():
        is_here = scores == score
        rows.append(
            {
                "score": f"{score:.2f}",
                "n_judged": int((judged == score).sum()),
                "n_selected": int(is_here.sum()),
                "mean_gain": f"{gains[is_here].mean():.5f}" if is_here.any() else "",
            }
        )
    return rows


def _describe(targets: TargetFigure) -> str:
    n, n_below = targets.n_random, targets.n_random_below
    verdict = (
        f"nearer to them than all {n} random selections of the same size"
        if n_below == n
        else f"nearer to them than {n_below} of {n} random selections of the same size, which may "
        "be chance"
    )
    return (
        f"{targets.n_steering:,} targets steered the selection; {targets.n_held_out:,} were held "
        f"out. It is {verdict}: mean cosine {number(targets.cosine)}, compared with "
        f"{number(targets.random_cosine)} for random selections."
    )
