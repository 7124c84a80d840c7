"""Everything that a report is made from, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.metrics import Metrics
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


@dataclass(frozen=True)
class ReportInputs:
    """The outputs of a run.

    Attributes:
        corpus: The unique records.
        pool: The table POOL.
        dropped: The table INGEST_DROPPED.
        duplicates: The table DEDUPE_DROPPED.
        prompts: The table PROMPTS.
        prompt_rows: intp, the row of the corpus of each row of `prompts`.
        picks: The table PICKS.
        selected: The table SELECTED; a partial selection has fewer rows, or none.
        rows: intp, the row of the corpus of each row of `selected`.
        receipts: The file receipt.jsonl.
        others: By method the rows of the corpus that it would select, with its first seed.
        params: Parameters by dotted key.
        hashes: MD5 of each file by its path, as in dvc.lock.
    """

    corpus: Corpus
    pool: pa.Table
    dropped: pa.Table
    duplicates: pa.Table
    prompts: pa.Table
    prompt_rows: Rows
    picks: pa.Table
    selected: pa.Table
    rows: Rows
    receipts: Path
    others: Mapping[str, Rows]
    clusters: Clusters
    usage: Usage
    metrics: Metrics
    validation: ValidationResult
    params: Mapping[str, Any]
    hashes: Mapping[str, str]


def evenly(n: int, n_places: int) -> Rows:
    """Return at most `n_places` of the places 0 to n - 1, as evenly spaced as possible."""
    return np.unique(np.linspace(0, n - 1, min(n, n_places)).astype(np.intp))
