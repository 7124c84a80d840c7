"""choice.json, which choose writes: how well the selection meets its quotas and targets."""

from tasks.lib.documents.document import Document, Part


class QuotaCount(Part):
    """The quota of one value of a column.

    Attributes:
        value: The value; None for all values that the quota does not name.
        n_wanted: The number of records that choose.quotas requires.
        n_candidates: The number of records with this value that can be selected.
        n_selected: The number of selected records with this value.
    """

    column: str
    value: str | None
    n_wanted: int
    n_candidates: int
    n_selected: int


class TargetFigure(Part):
    """How close the selection is to the held-out targets, which did not affect it.

    Attributes:
        n_steering: The number of targets that affected the selection.
        n_held_out: The number of other targets.
        cosine: The mean cosine of a held-out target to its nearest selected record.
        random_cosine: The same mean for random selections of the same size.
        n_random: The number of random selections.
        n_random_below: The number of random selections with a lower mean cosine than ours.
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
        n_annotated: Number of records in choose.annotated.
        n_known: Number of unique records that cannot be selected, as they repeat annotated ones.
        quotas: One entry for each value of each column in choose.quotas.
        targets: The comparison with random selections; None if there are no targets.
    """

    n_selected: int
    n_annotated: int
    n_known: int
    quotas: tuple[QuotaCount, ...]
    targets: TargetFigure | None
