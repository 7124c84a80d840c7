"""The tables of what the model chose: picks, quotas, the selection and what is told of it."""

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.lib.core.records import record_text
from tasks.lib.core.schemas import PROVENANCE
from tasks.lib.text.shingles import normalise
from tasks.validate.artifacts import METHODS, Artifacts, Limits
from tasks.validate.judge_table import judge_table
from tasks.validate.near_exact import find_twins
from tasks.validate.table import Table, fields, n_distinct, record_ids, texts


def selection_tables(artifacts: Artifacts, limits: Limits) -> dict[str, Table]:
    """Tables by name, as `tasks.validate.suite` knows them."""
    return {
        "told": _told(artifacts, limits),
        "picks": _picks(artifacts),
        "quotas": _quotas(artifacts, limits),
        "selected": _selected(artifacts, limits),
        "texts": _texts(artifacts, limits),
        "methods": _methods(artifacts, limits),
        "judge": judge_table(artifacts.usage, limits),
    }


def _told(artifacts: Artifacts, limits: Limits) -> Table:
    """One row a number that a stage tells, beside the same number counted.

    What is told of rounds is their plan, which a partial selection did not carry out.
    """
    clusters, usage = artifacts.clusters, artifacts.usage
    n_prompts = n_distinct(artifacts.prompts, "prompt")
    n_candidates = len(artifacts.prompts)
    methods = texts(artifacts.selected, "method")
    rows = [
        ("n_records of clusters.json", clusters["n_records"], len(artifacts.unique)),
        ("n_prompts of clusters.json", clusters["n_prompts"], n_prompts),
        ("selected of usage.json", usage["selected"], len(methods)),
    ]
    for method in METHODS:
        told = usage["methods"].get(method, 0)
        rows.append((f"methods.{method} of usage.json", told, methods.count(method)))
    if limits.is_partial:
        return Table(pd.DataFrame(rows, columns=["what", "told", "counted"]), ["what"])
    by_round = _by_round(artifacts)
    n_asked = n_distinct(by_round.get(1, artifacts.picks[:0]), "prompt")
    rows.append(("prompts with picks of round 1", n_prompts, n_asked))
    rows.append(("number of rounds of usage.json", len(usage["rounds"]), len(by_round)))
    for told in usage["rounds"]:
        picks = by_round.get(told["round"], artifacts.picks[:0])
        of = f"of round {told['round']} of usage.json"
        rows += [
            (f"n_prompts {of}", told["n_prompts"], n_distinct(picks, "prompt")),
            (f"n_candidates {of}", told["n_candidates"], n_candidates),
            (f"n_picks {of}", told["n_picks"], len(picks)),
        ]
        n_candidates = told["n_prompts"]  # the first pick of each goes on
    return Table(pd.DataFrame(rows, columns=["what", "told", "counted"]), ["what"])


def _picks(artifacts: Artifacts) -> Table:
    """One row a pick of any round: whether its record was a candidate, and where it was shown.

    The slots of round 1 alone are stored; candidates of a later round are the first picks of each
    prompt before it.
    """
    frame = artifacts.picks.to_pandas()
    places = _places(artifacts)
    is_first = frame["round"] == 1
    won = frame[frame["rank"] == 1]
    before = set(zip(won["round"] + 1, won["id"], strict=True))
    was_picked = [pair in before for pair in zip(frame["round"], frame["id"], strict=True)]
    frame = frame.assign(
        shown=np.where(is_first, frame["id"].isin(places.index), was_picked),
        shown_prompt=frame["id"].map(places["prompt"]).where(is_first),
        shown_slot=frame["id"].map(places["slot"]).where(is_first),
    )
    return Table(frame, ["round", "id"])


def _quotas(artifacts: Artifacts, limits: Limits) -> Table:
    """One row a prompt of a round: its picks, their ranks, and how many it was to give.

    Its prompts share the largest budget that the round serves, and none gives two more than
    another; or each gives one. Of a partial selection no number is expected.
    """
    ranks = artifacts.picks.to_pandas().groupby(["round", "prompt"])["rank"]
    frame = ranks.agg(
        n_picks="size", n_ranks="nunique", first_rank="min", last_rank="max"
    ).reset_index()
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
    """One row a selected record, beside the pick that it should be: the last one of its record.

    Picks of a round before the one that serves the largest budget do not count, but that they fill
    up a partial selection.
    """
    frame = artifacts.selected.select(["id", *PROVENANCE, "cluster"]).to_pandas()
    picks = artifacts.picks.to_pandas()
    n_picks = picks.groupby("round").size()
    serving = n_picks.index[(n_picks <= limits.n_selected) | limits.is_partial]
    picks = picks[picks["round"].isin(serving)].sort_values("round", kind="stable")
    picks = picks.drop_duplicates("id", keep="last").set_index("id")
    beside = {f"pick_{name}": frame["id"].map(picks[name]) for name in PROVENANCE}
    round_before = frame["round"].shift(fill_value=len(n_picks))
    frame = frame.assign(
        **beside,
        shown_cluster=frame["id"].map(_places(artifacts)["cluster"]),
        round_before=round_before,
        rank_before=frame["rank"].shift(fill_value=1).where(frame["round"] == round_before, 1),
        in_pool=frame["id"].isin(set(texts(artifacts.pool, "id"))),
        recomputed_id=record_ids(artifacts.selected),
    )
    return Table(frame, ["id"])


def _texts(artifacts: Artifacts, limits: Limits) -> Table:
    """One row a selected record: how long its text is, and an earlier one that says the same."""
    ids, written = texts(artifacts.selected, "id"), fields(artifacts.selected)
    read = [(normalise(instruction), normalise(text)) for instruction, text in written]
    twins = find_twins(read, limits.near_threshold)
    first: dict[str, str] = {}
    same_as: list[str | None] = []
    for record, pair in zip(ids, read, strict=True):
        text = normalise(record_text(*pair))
        same_as.append(first.get(text))
        first.setdefault(text, record)
    columns = {
        "id": ids,
        "instruction_chars": [len(instruction) for instruction, _ in read],
        "chars": [len(instruction) + len(text) for instruction, text in written],
        "same_as": same_as,
        "near_to": [twin and f"{ids[twin.number]} by {twin.similarity:.3f}" for twin in twins],
    }
    return Table(pd.DataFrame(columns), ["id"])


def _methods(artifacts: Artifacts, limits: Limits) -> Table:
    """One row a way in which picks were made, with its share and the share it may have."""
    methods = texts(artifacts.selected, "method")
    columns = {
        "method": METHODS,
        "share": [methods.count(method) / max(len(methods), 1) for method in METHODS],
        "max_share": [limits.max_fallback_rate if m == "fallback" else 1.0 for m in METHODS],
    }
    return Table(pd.DataFrame(columns), ["method"])


def _places(artifacts: Artifacts) -> pd.DataFrame:
    """Prompt, slot and cluster of each candidate of round 1, by id."""
    return artifacts.prompts.to_pandas().drop_duplicates("id").set_index("id")


def _by_round(artifacts: Artifacts) -> dict[int, pa.Table]:
    """The picks of each round."""
    rounds = artifacts.picks["round"].to_numpy()
    return {int(n): artifacts.picks.filter(pa.array(rounds == n)) for n in np.unique(rounds)}
