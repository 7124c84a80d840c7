"""All that a report is made from, read once."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.lib.core.errors import DataError
from tasks.lib.core.json_files import REMAKE
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows


@dataclass(frozen=True)
class Evidence:
    """What a run left behind.

    Attributes:
        corpus: The unique records.
        pool: The table POOL.
        dropped: The table INGEST_DROPPED.
        duplicates: The table DEDUPE_DROPPED.
        prompts: The table PROMPTS.
        shown: The row of the corpus of each row of `prompts`.
        picks: The table PICKS.
        selected: The table SELECTED; of a part of a selection, or of none, as many as there are.
        rows: The row of the corpus of each row of `selected`.
        receipt: The file receipt.jsonl.
        others: By method the rows of the corpus that it would choose, of its first seed.
        clusters: The document clusters.json.
        usage: The document usage.json.
        metrics: The document metrics.json.
        verdict: The document result.json.
        params: Parameters by dotted key.
        hashes: MD5 of each file by its path, as dvc.lock has it.
    """

    corpus: Corpus
    pool: pa.Table
    dropped: pa.Table
    duplicates: pa.Table
    prompts: pa.Table
    shown: Rows
    picks: pa.Table
    selected: pa.Table
    rows: Rows
    receipt: Path
    others: Mapping[str, Rows]
    clusters: Mapping[str, Any]
    usage: Mapping[str, Any]
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    params: Mapping[str, Any]
    hashes: Mapping[str, str]


def read_receipts(path: Path) -> Iterator[dict[str, Any]]:
    """The receipts of a selection, in its order.

    Raises:
        DataError: A line is no JSON object.
    """
    with path.open(encoding="utf-8") as file:
        for n, line in enumerate(file, 1):
            try:
                receipt = {"id": None, **json.loads(line)}
            except (ValueError, TypeError) as error:
                where = f"{path}:{n}"
                raise DataError(f"no receipt: {error}", where=where, fix=REMAKE) from None
            yield receipt


def evenly(n: int, most: int) -> Rows:
    """Places of at most so many of n things, as even along their order as can be."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.intp))
