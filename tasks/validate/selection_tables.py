"""Tables of what the model chose: picks, quotas, the selection and reported numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.lib.core.records import material, record_id, record_text
from tasks.lib.core.schemas import PROVENANCE
from tasks.lib.documents.usage import Usage
from tasks.lib.text.shingles import normalise
from tasks.validate.artifacts import METHODS, Artifacts, Limits
from tasks.validate.near_exact import find_near_duplicates
from tasks.validate.table import Table, n_distinct, record_texts, texts

MAX_P = 0.001  # a p-value below it is evidence of position bias


def selection_tables(artifacts: Artifacts, limits: Limits) -> dict[str, Table]:
    """Make the tables by the names that `tasks.validate.suite` uses."""
    return {
        "reported": _reported(artifacts, limits),
        "picks": _picks(artifacts),
        "quotas": _quotas(artifacts, limits),
        "selected": _selected(artifacts, limits),
        "texts": _texts(artifacts, limits),
        "methods": _methods(artifacts, limits),
        "judge": _judge(artifacts.usage, limits),
    }


def _reported(artifacts: Artifacts, limits: Limits) -> Table:
    """Make one row for each number that a stage reports, with the same number counted again.

    Rounds are reported as planned; a partial selection did not complete them.
    """
    clusters, usage = artifacts.clusters, artifacts.usage
    n_prompts = n_distinct(artifacts.prompts, "prompt")
    n_candidates = len(artifacts.prompts)
    methods = texts(artifacts.selected, "method")
    rows = [
        ("n_records of clusters.json", clusters.n_records, len(artifacts.unique)),
        ("n_prompts of clusters.json", clusters.n_prompts, n_prompts),
        ("selected of usage.json", usage.selected, len(methods)),
    ]
    for method in METHODS:
        n_reported = usage.methods.get(method, 0)
        rows.append((f"methods.{method} of usage.json", n_reported, methods.count(method)))
    if not limits.is_partial:
        n_asked = n_distinct(_round(artifacts, 1), "prompt")
        rows.append(("prompts with picks of round 1", n_prompts, n_asked))
        n_rounds = n_distinct(artifacts.picks, "round")
        rows.append(("number of rounds of usage.json", len(usage.rounds), n_rounds))
        for planned in usage.rounds:
            picks = _round(artifacts, planned.round)
            of = f"of round {planned.round} of usage.json"
            rows += [
                (f"n_prompts {of}", planned.n_prompts, n_distinct(picks, "prompt")),
                (f"n_candidates {of}", planned.n_candidates, n_candidates),
                (f"n_picks {of}", planned.n_picks, len(picks)),
            ]
            n_candidates = planned.n_prompts  # the first pick of each prompt advances
    return Table(pd.DataFrame(rows, columns=["what", "reported", "counted"]), ["what"])


def _picks(artifacts: Artifacts) -> Table:
    """Make one row for each pick: whether its record was a candidate, and where it was shown.

    Only the slots of round 1 are stored. The candidates of a later round are the first picks of
    all prompts of the round before.
    """
    frame = artifacts.picks.to_pandas()
    places = _places(artifacts)
    is_first = frame["round"] == 1
    winners = frame[frame["rank"] == 1]
    advanced = set(zip(winners["round"] + 1, winners["id"], strict=True))
    has_advanced = [pair in advanced for pair in zip(frame["round"], frame["id"], strict=True)]
    frame = frame.assign(
        shown=np.where(is_first, frame["id"].isin(places.index), has_advanced),
        shown_prompt=frame["id"].map(places["prompt"]).where(is_first),
        shown_slot=frame["id"].map(places["slot"]).where(is_first),
    )
    return Table(frame, ["round", "id"])


def _quotas(artifacts: Artifacts, limits: Limits) -> Table:
    """Make one row for each prompt of a round: its picks, their ranks, and its quota.

    The prompts of a round share the largest budget that the round serves, and their quotas differ
    by at most one; a round that serves none has one pick for each prompt. A partial selection has
    no quotas.
    """
    ranks = artifacts.picks.to_pandas().groupby(["round", "prompt"])["rank"]
    counts = ranks.agg(n_picks="size", n_ranks="nunique", first_rank="min", last_rank="max")
    frame = counts.reset_index()
    if limits.is_partial:
        frame = frame.assign(fewest=frame["n_picks"], most=frame["n_picks"])
        return Table(frame, ["round", "prompt"])
    sizes = frame.groupby("round").size()  # prompts
    before = [len(artifacts.unique) + 1, *sizes]
    n_picks = [
        max([n, *(budget for budget in limits.budgets if n < budget < n_before)])
        for n_before, n in zip(before, sizes, strict=False)
    ]
    share = frame["round"].map(pd.Series(n_picks, sizes.index) / sizes)
    return Table(frame.assign(fewest=np.floor(share), most=np.ceil(share)), ["round", "prompt"])


def _selected(artifacts: Artifacts, limits: Limits) -> Table:
    """Make one row for each selected record, with its last pick, which it should equal.

    Picks of rounds before the one that serves the largest budget do not count, except in a partial
    selection, which they complete.
    """
    frame = artifacts.selected.select(["id", *PROVENANCE, "cluster"]).to_pandas()
    picks = artifacts.picks.to_pandas()
    n_picks = picks.groupby("round").size()
    serving = n_picks.index[(n_picks <= limits.n_selected) | limits.is_partial]
    picks = picks[picks["round"].isin(serving)].sort_values("round", kind="stable")
    picks = picks.drop_duplicates("id", keep="last").set_index("id")
    pick_columns = {f"pick_{name}": frame["id"].map(picks[name]) for name in PROVENANCE}
    round_before = frame["round"].shift(fill_value=len(n_picks))
    frame = frame.assign(
        **pick_columns,
        shown_cluster=frame["id"].map(_places(artifacts)["cluster"]),
        round_before=round_before,
        rank_before=frame["rank"].shift(fill_value=1).where(frame["round"] == round_before, 1),
        in_pool=frame["id"].isin(set(texts(artifacts.pool, "id"))),
        recomputed_id=[record_id(*texts_of) for texts_of in record_texts(artifacts.selected)],
    )
    return Table(frame, ["id"])


def _texts(artifacts: Artifacts, limits: Limits) -> Table:
    """Make one row for each selected record: its length, and an earlier duplicate if it has one."""
    ids = texts(artifacts.selected, "id")
    raw = record_texts(artifacts.selected)
    normalised = [(normalise(row.instruction), normalise(material(*row[1:]))) for row in raw]
    duplicates = find_near_duplicates(normalised, limits.near_threshold)
    first: dict[str, str] = {}
    same_as: list[str | None] = []
    for record, pair in zip(ids, normalised, strict=True):
        text = normalise(record_text(*pair))
        same_as.append(first.get(text))
        first.setdefault(text, record)
    columns = {
        "id": ids,
        "instruction_chars": [len(instruction) for instruction, _ in normalised],
        "chars": [len(row.instruction) + len(row.input) for row in raw],
        "same_as": same_as,
        "near_to": [d and f"{ids[d.number]} by {d.similarity:.3f}" for d in duplicates],
    }
    return Table(pd.DataFrame(columns), ["id"])


def _methods(artifacts: Artifacts, limits: Limits) -> Table:
    """Make one row for each method of picking: its share of the picks, and the allowed share."""
    methods = texts(artifacts.selected, "method")
    columns = {
        "method": METHODS,
        "share": [methods.count(method) / max(len(methods), 1) for method in METHODS],
        "max_share": [limits.max_fallback_rate if m == "fallback" else 1.0 for m in METHODS],
    }
    return Table(pd.DataFrame(columns), ["method"])


def _judge(usage: Usage, limits: Limits) -> Table:
    """Make one row for each fault; ``found`` is 0 if it was not measured, or may be chance.

    Position bias is the share of first choices that would have to move to other slots; it counts
    only if a chi-square test finds it significant, and not in paper mode, where slots are clusters.
    Disagreement is 1 - kappa, the agreement between votes that chance does not explain.
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


def _places(artifacts: Artifacts) -> pd.DataFrame:
    """Return prompt, slot and cluster of each candidate of round 1, by id."""
    return artifacts.prompts.to_pandas().drop_duplicates("id").set_index("id")


def _round(artifacts: Artifacts, number: int) -> pa.Table:
    """Return the picks of a round."""
    picks = artifacts.picks
    return picks.filter(pc.equal(picks["round"], pa.scalar(number, pa.int32())))
