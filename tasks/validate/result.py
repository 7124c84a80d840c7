"""What came of a validation: its findings, and the funnel from the source to the selection."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tasks.lib.core.drops import IngestDrop
from tasks.validate.artifacts import Artifacts


class Finding(NamedTuple):
    """What came of one expectation; `detail` is empty where it is met."""

    table: str
    expectation: str
    success: bool
    detail: str
    is_warning: bool  # when it is not met, the run may be used all the same


@dataclass(frozen=True)
class Verdict:
    """Whether a run may be used.

    Attributes:
        funnel: How many rows or records were left after each cut, and how many went why.
        dropped: How many rows ingest and dedupe dropped, by reason.
        findings: One for each expectation.
        partial: Why the selection is but a part; None when it is whole.
        write_docs: Writes the Data Docs into a folder, and returns the page to open.
    """

    funnel: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    partial: str | None
    write_docs: Callable[[Path], Path] = field(repr=False, compare=False)

    @property
    def failed(self) -> list[Finding]:
        """The findings of what is not as expected, and forbids the use of the run."""
        return [each for each in self.findings if not (each.success or each.is_warning)]

    @property
    def warnings(self) -> list[Finding]:
        """The findings of what is not as expected, and has to be known."""
        return [each for each in self.findings if each.is_warning and not each.success]

    def to_json(self) -> str:
        """The text of result.json, the same for the same verdict."""
        result = {
            "success": not self.failed,
            "partial": self.partial,
            "funnel": self.funnel,
            "dropped": self.dropped,
            "expectations": [finding._asdict() for finding in self.findings],
        }
        return json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def count_dropped(artifacts: Artifacts) -> dict[str, dict[str, int]]:
    """Dropped rows of ingest and dedupe by reason."""
    return {
        "ingest": _by_reason(artifacts.ingest_dropped),
        "dedupe": _by_reason(artifacts.dedupe_dropped),
    }


def count_funnel(artifacts: Artifacts) -> dict[str, int]:
    """The cuts from the source to the selection, in their order.

    rows = excluded + faulty + repeated + pool, and pool = duplicates + unique.
    """
    dropped = _by_reason(artifacts.ingest_dropped)
    excluded, repeated = dropped.get(IngestDrop.EXCLUDED, 0), dropped.get(IngestDrop.REPEATED, 0)
    return {
        "rows": artifacts.n_rows,
        "excluded": excluded,
        "faulty": len(artifacts.ingest_dropped) - excluded - repeated,
        "repeated": repeated,
        "pool": len(artifacts.pool),
        "duplicates": len(artifacts.dedupe_dropped),
        "unique": len(artifacts.unique),
        "prompts": len(artifacts.prompts["prompt"].unique()),
        "selected": len(artifacts.selected),
    }


def _by_reason(dropped: pa.Table) -> dict[str, int]:
    return dict(Counter(str(reason) for reason in dropped["reason"].to_pylist()))
