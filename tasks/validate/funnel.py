"""Count the rows and records of the funnel from the source to the selection."""

from collections import Counter

import pyarrow as pa

from tasks.lib.core.drops import IngestDrop
from tasks.lib.documents.validation import Funnel
from tasks.validate.artifacts import Artifacts


def count_dropped(artifacts: Artifacts) -> dict[str, dict[str, int]]:
    """Count the rows dropped by ingest and dedupe, by reason."""
    return {
        "ingest": _by_reason(artifacts.ingest_dropped),
        "dedupe": _by_reason(artifacts.dedupe_dropped),
    }


def count_funnel(artifacts: Artifacts) -> Funnel:
    """Count the rows or records that each stage kept and dropped."""
    dropped = _by_reason(artifacts.ingest_dropped)
    excluded, repeated = dropped.get(IngestDrop.EXCLUDED, 0), dropped.get(IngestDrop.REPEATED, 0)
    return Funnel(
        rows=artifacts.n_rows,
        excluded=excluded,
        faulty=len(artifacts.ingest_dropped) - excluded - repeated,
        repeated=repeated,
        pool=len(artifacts.pool),
        duplicates=len(artifacts.dedupe_dropped),
        unique=len(artifacts.unique),
        prompts=len(artifacts.prompts["prompt"].unique()),
        selected=len(artifacts.selected),
    )


def _by_reason(dropped: pa.Table) -> dict[str, int]:
    return dict(Counter(str(reason) for reason in dropped["reason"].to_pylist()))
