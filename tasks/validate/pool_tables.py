"""Build tables that check the stages before llm_select: row counts, ids, vectors and prompts."""

import numpy as np
import pandas as pd

from tasks.lib.core.drops import DedupeDrop
from tasks.validate.artifacts import Artifacts, Limits
from tasks.validate.table import Table, texts


def pool_tables(artifacts: Artifacts, limits: Limits) -> dict[str, Table]:
    """Return the tables, under the names that `tasks.validate.expectations` uses."""
    return {
        "stages": _stages(artifacts, limits),
        "pool": _pool(artifacts),
        "ingest_dropped": Table(artifacts.ingest_dropped.to_pandas(), ["line"]),
        "dedupe_dropped": _dedupe_dropped(artifacts),
        "unique": _unique(artifacts),
        "known": _known(artifacts),
        "vectors": _vectors(artifacts),
        "prompts": _prompts(artifacts),
    }


def _stages(artifacts: Artifacts, limits: Limits) -> Table:
    """Return one row for each stage, with the numbers of rows that it read, kept and dropped."""
    n_pool, n_unique = len(artifacts.pool), len(artifacts.unique)
    rows = [
        ("ingest", artifacts.n_rows, n_pool, len(artifacts.ingest_dropped)),
        ("dedupe", n_pool, n_unique, len(artifacts.dedupe_dropped)),
        ("embed", n_unique, len(artifacts.norms), 0),
        ("cluster", n_unique, len(artifacts.prompts), 0),
        ("choose", limits.n_selected, len(artifacts.selected), 0),
    ]
    frame = pd.DataFrame(rows, columns=["stage", "rows_in", "kept", "dropped"])
    return Table(frame.assign(accounted=frame["kept"] + frame["dropped"]), ["stage"])


def _pool(artifacts: Artifacts) -> Table:
    """Return one row for each record, with the id computed from its text."""
    return Table(artifacts.pool.to_pandas(), ["id"])


def _dedupe_dropped(artifacts: Artifacts) -> Table:
    """Return one row for each dropped duplicate, showing whether it and its original were kept."""
    frame = artifacts.dedupe_dropped.to_pandas()
    pool, unique = set(texts(artifacts.pool, "id")), set(texts(artifacts.unique, "id"))
    frame = frame.assign(
        in_pool=frame["id"].isin(pool),
        kept=frame["id"].isin(unique),
        original_kept=np.where(
            frame["reason"] == DedupeDrop.HELD_OUT,
            frame["of_id"].isin(set(texts(artifacts.held_out, "id"))),
            frame["of_id"].isin(unique),
        ),
    )
    return Table(frame, ["id"])


def _unique(artifacts: Artifacts) -> Table:
    """Return one row for each unique record, with its number of slots."""
    frame = artifacts.unique.to_pandas()
    n_slots = artifacts.prompts["id"].to_pandas().value_counts()
    frame = frame.assign(
        in_pool=frame["id"].isin(set(texts(artifacts.pool, "id"))),
        n_slots=frame["id"].map(n_slots).fillna(0).astype("int64"),
    )
    return Table(frame, ["id"])


def _known(artifacts: Artifacts) -> Table:
    """Return one row for each unique record that repeats an annotated one."""
    frame = artifacts.known.to_pandas()
    frame = frame.assign(
        unique=frame["id"].isin(set(texts(artifacts.unique, "id"))),
        annotated=frame["of_id"].isin(set(texts(artifacts.annotated, "id"))),
        selected=frame["id"].isin(set(texts(artifacts.selected, "id"))),
    )
    return Table(frame, ["id"])


def _vectors(artifacts: Artifacts) -> Table:
    """Return one row for each vector, numbered from 1, with its norm."""
    rows = np.arange(1, len(artifacts.norms) + 1)
    # Great Expectations skips NaN in a range check; another check finds missing values.
    norms = np.where(np.isfinite(artifacts.norms), artifacts.norms, np.nan)
    return Table(pd.DataFrame({"row": rows, "norm": norms}), ["row"])


def _prompts(artifacts: Artifacts) -> Table:
    """Return one row for each prompt, with its actual and expected number, size and slots."""
    slots = artifacts.prompts.to_pandas().groupby("prompt")["slot"]
    counts = slots.agg(size="size", n_slots="nunique", first_slot="min", last_slot="max")
    n_candidates, n_prompts = len(artifacts.prompts), max(len(counts), 1)
    clusters = artifacts.clusters
    has_earlier = clusters.n_earlier_prompts > 0  # in that case, sizes differ
    frame = counts.reset_index()
    frame = frame.assign(
        expected=range(1, len(frame) + 1),
        smallest=1 if has_earlier else n_candidates // n_prompts,
        largest=clusters.candidates_per_prompt if has_earlier else -(-n_candidates // n_prompts),
    )
    return Table(frame, ["prompt"])
