"""Build the tables that check what the judge ranked, and whether its answers can be trusted."""

import pandas as pd

from tasks.lib.documents.usage import Usage
from tasks.validate.artifacts import Artifacts, Limits
from tasks.validate.table import Table

MAX_P = 0.001  # a p-value below it is evidence of position bias


def judge_tables(artifacts: Artifacts, limits: Limits) -> dict[str, Table]:
    """Return the tables, under the names that `tasks.validate.expectations` uses."""
    return {
        "ballots": _ballots(artifacts),
        "rankings": _rankings(artifacts),
        "judge": _judge(artifacts.usage, limits),
    }


def places_of(artifacts: Artifacts) -> pd.DataFrame:
    """Return the prompt, slot and cluster of each candidate, by id."""
    return artifacts.prompts.to_pandas().drop_duplicates("id").set_index("id")


def _ballots(artifacts: Artifacts) -> Table:
    """Return one row per judged candidate: where it was shown, and whether it is consistent."""
    frame, places = artifacts.ballots.to_pandas(), places_of(artifacts)
    shown = {f"shown_{name}": frame["id"].map(places[name]) for name in ("prompt", "slot")}
    is_scored = (frame["score"] > 0) | frame["rank"].notna() | (frame["votes"] > 0)
    frame = frame.assign(
        **shown,
        shown=frame["id"].isin(places.index),
        is_consistent=~(is_scored & frame["set_aside"].notna()),
    )
    return Table(frame, ["id"])


def _rankings(artifacts: Artifacts) -> Table:
    """Return one row for each judged prompt, with its size and its ranks."""
    by_prompt = artifacts.ballots.to_pandas().groupby("prompt")
    ranks = by_prompt["rank"].agg(
        n_ranked="count", n_ranks="nunique", first_rank="min", last_rank="max"
    )
    sizes = places_of(artifacts).groupby("prompt").size()
    frame = ranks.assign(n_ballots=by_prompt.size(), size=sizes).reset_index()
    return Table(frame, ["prompt"])


def _judge(usage: Usage, limits: Limits) -> Table:
    """Return one row for each fault in the judge, with 0 if it was not measured or may be chance.

    Position bias is the share of first choices that would have to move to other slots. It counts
    only if a chi-square test finds it significant, and not in paper mode, where slots are clusters.
    Disagreement is 1 - kappa, where kappa is the agreement between votes beyond chance.
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
