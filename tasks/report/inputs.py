"""Define what a report is built from: the outputs, parameters and hashes of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import file_digest, md5
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from tasks.lib.core.records import RecordTexts
from tasks.lib.core.shown_text import shown_text
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.metrics import Metrics
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Nearest, Rows, nearest


@dataclass(frozen=True)
class ReportInputs:
    """The outputs of a run.

    Attributes:
        corpus: The unique records.
        originals: The texts of the pool, then those of the held-out sets.
        dropped: The INGEST_DROPPED table.
        duplicates: The DEDUPE_DROPPED table.
        kept_near: The DEDUPE_NEAR table.
        prompts: The PROMPTS table.
        prompt_rows: intp, the corpus row for each row of `prompts`.
        ballots: The BALLOTS table.
        selected: The SELECTED table; a partial selection has fewer rows, or none.
        rows: intp, the corpus row for each row of `selected`.
        judgements: The content of judgements.jsonl.
        others: For each other method, the corpus rows that it selects with its first seed.
        params: Parameters by dotted key.
        hashes: The MD5 of each file, by path, as in dvc.lock.
    """

    corpus: Corpus
    originals: pa.Table
    dropped: pa.Table
    duplicates: pa.Table
    kept_near: pa.Table
    prompts: pa.Table
    prompt_rows: Rows
    ballots: pa.Table
    selected: pa.Table
    rows: Rows
    judgements: Path
    others: Mapping[str, Rows]
    choice: Choice
    clusters: Clusters
    usage: Usage
    metrics: Metrics
    savings: Savings
    validation: ValidationResult
    params: Mapping[str, Any]
    hashes: Mapping[str, str]

    def cover(self, rows: Rows) -> Nearest:
        """Return the selected record that is most similar to each of these rows of the corpus.

        ``places`` are places in the selection, from 0. At least one record must be selected.
        """
        vectors = self.corpus.vectors
        with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
            return nearest(vectors[rows], vectors[self.rows])

    def shown(self, ids: Iterable[str]) -> list[str]:
        """Return the full texts of records, in the form that a judge sees."""
        rows = pc.index_in(pa.array(ids, pa.string()), value_set=self.originals["id"])
        return [shown_text(*RecordTexts.of(row)) for row in self.originals.take(rows).to_pylist()]


def evenly(n: int, n_places: int) -> Rows:
    """Return at most `n_places` places from 0 to n - 1, as evenly spaced as possible."""
    return np.unique(np.linspace(0, n - 1, min(n, n_places)).astype(np.intp))


def digest(path: Path) -> str:
    """Return the MD5 of a file, as DVC writes it to dvc.lock."""
    with path.open("rb") as file:
        return file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()
