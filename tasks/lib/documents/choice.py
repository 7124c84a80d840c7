"""choice.json of choose: what the selection was asked to fulfil, and what it does."""

from tasks.lib.documents.document import Document, Part


class QuotaCount(Part):
    """The quota of one value of a column.

    Attributes:
        value: None for all values that the quota does not name.
        n_wanted: The count that follows from choose.quotas.
        n_candidates: The records of this value that could be selected.
        n_selected: The selected records of this value.
    """

    column: str
    value: str | None
    n_wanted: int
    n_candidates: int
    n_selected: int


class TargetFigure(Part):
    """Whether the selection serves the targets that did not steer it.

    Attributes:
        cosine: Mean over the held-out targets of the cosine to the nearest selected record.
        random_cosine: The same for random selections of the same size, on average.
        n_random_below: The random selections that are less near to the held-out targets.
    """

    n_steering: int
    n_held_out: int
    cosine: float
    random_cosine: float
    n_random: int
    n_random_below: int


class Choice(Document):
    """The choice.json document.

    Attributes:
        n_selected: Number of selected records.
        n_annotated: Number of records of choose.annotated.
        n_known: Number of unique records that repeat one of them, so cannot be selected.
        quotas: One for each value of each column of choose.quotas.
        targets: None if there are no targets.
    """

    n_selected: int
    n_annotated: int
    n_known: int
    quotas: tuple[QuotaCount, ...]
    targets: TargetFigure | None
