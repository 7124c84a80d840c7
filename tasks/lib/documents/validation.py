"""result.json: whether a run may be used, and where its rows went."""

from collections.abc import Mapping

from tasks.lib.documents.document import Document, Part


class Finding(Part):
    """The result of one expectation; `detail` is empty if it is met."""

    table: str
    expectation: str
    success: bool
    detail: str
    is_warning: bool  # whether the run may be used even if the expectation is not met


class Funnel(Part):
    """The numbers of rows or records that the stages kept and dropped.

    rows = excluded + faulty + repeated + pool, and pool = duplicates + unique.
    """

    rows: int
    excluded: int
    faulty: int
    repeated: int
    pool: int
    duplicates: int
    unique: int
    prompts: int
    selected: int


class ValidationResult(Document):
    """The result.json document.

    Attributes:
        success: Whether the run may be used: all expectations are met, except warnings.
        partial: The parameter that cut the selection short; None if it is complete.
        dropped: The number of rows that ingest and dedupe dropped, by stage and reason.
    """

    success: bool
    partial: str | None
    funnel: Funnel
    dropped: Mapping[str, Mapping[str, int]]
    expectations: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        """The unmet expectations that make the run unusable."""
        return [f for f in self.expectations if not (f.success or f.is_warning)]

    @property
    def warnings(self) -> list[Finding]:
        """The unmet expectations that leave the run usable."""
        return [f for f in self.expectations if f.is_warning and not f.success]
