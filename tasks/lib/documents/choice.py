"""choice.json, which choose writes: how well the selection meets its quotas and targets."""

from tasks.lib.documents.document import Document, Part


class QuotaCount(Part):
    """The quota for one value of a column, at one budget.

    Attributes:
        budget: The number of records that the quota applies to: the whole selection, or its first
            records for a smaller budget.
        value: The value; None for all values that the quota does not name.
        n_wanted: The number of these records that choose.quotas requires to have the value.
        n_candidates: The number of records with this value that can be selected.
        n_selected: The number of these records that have the value.
    """

    budget: int
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


class WeightFigure(Part):
    """The selection with a different judge weight, everything else being equal.

    Attributes:
        weight: The value of choose.judge_weight.
        mean_score: Mean judge score of the selected records.
        coverage: How much these records add to the mean coverage of the pool.
        n_shared: The number of these records that the run also selects.
    """

    weight: float
    mean_score: float
    coverage: float
    n_shared: int


class Choice(Document):
    """The choice.json document.

    Attributes:
        n_selected: Number of selected records.
        n_annotated: Number of records in choose.annotated.
        n_known: Number of unique records that repeat one of them and so cannot be selected.
        quotas: One entry for each value of each column in choose.quotas, at each budget.
        targets: The comparison with random selections; None if there are no targets.
        weights: The selections with several judge weights, including the run's own; empty if
            choose.objective is ranks, or if the pool is too large to compare them quickly.
    """

    n_selected: int
    n_annotated: int
    n_known: int
    quotas: tuple[QuotaCount, ...]
    targets: TargetFigure | None
    weights: tuple[WeightFigure, ...]
