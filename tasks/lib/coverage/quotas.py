"""Quotas of a selection: how many records of each label it must have, in one or more columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from tasks.lib.similarity.cosine import Rows


class Quota(NamedTuple):
    """The number of candidates of each label that must be selected, for one column.

    Attributes:
        labels: intp, shape (c,), the label of each candidate, from 0.
        counts: intp, shape (number of labels,), with sum n.
    """

    labels: Rows
    counts: Rows


class Shortage(NamedTuple):
    """A label that has fewer candidates than its quota requires."""

    column: int
    label: int
    n_wanted: int
    n_candidates: int


class UnmetQuotaError(ValueError):
    """No selection meets the quotas.

    Attributes:
        n: Number of records to select.
        shortages: The labels with too few candidates. If there are none, each quota can be met
            alone, but not all of them together.
        n_most: The largest number of records that can be selected without exceeding a quota.
    """

    def __init__(self, n: int, shortages: list[Shortage], n_most: int) -> None:
        super().__init__(f"the quotas allow {n_most} of {n} records; too few: {shortages}")
        self.n, self.shortages, self.n_most = n, shortages, n_most


class Quotas:
    """The quotas that remain to be met while a selection grows.

    Candidates with the same labels in all columns are of one kind. A plan is the number of records
    of each kind that would complete the selection. If the plan does not include a kind, a record
    of this kind is taken only if another plan includes it.
    """

    def __init__(self, quotas: Sequence[Quota], n: int) -> None:
        """Make the first plan.

        Raises:
            UnmetQuotaError: There is no plan.
        """
        self._is_free = not quotas
        if self._is_free:
            return
        labels = np.column_stack([quota.labels for quota in quotas])
        kinds, self._kinds, supply = np.unique(
            labels, axis=0, return_inverse=True, return_counts=True
        )
        self._table = np.concatenate(
            [
                (kinds[:, column] == np.arange(len(quota.counts))[:, None])
                for column, quota in enumerate(quotas)
            ]
        ).astype(np.int64)
        self._wanted = np.concatenate([quota.counts for quota in quotas]).astype(np.int64)
        self._supply = supply.astype(np.int64)
        self._is_closed = np.zeros(len(kinds), np.bool_)
        plan = self._complete(self._wanted, self._supply)
        if plan is None:
            raise UnmetQuotaError(n, _shortages(quotas), self._n_most())
        self._plan = plan

    def take(self, place: int) -> bool:
        """Return whether the candidate can be selected, and count it if so.

        A candidate that is refused once can never be selected later.
        """
        if self._is_free:
            return True
        kind = int(self._kinds[place])
        if self._is_closed[kind]:
            return False
        if not self._plan[kind]:
            rest = self._supply.copy()
            rest[kind] -= 1
            plan = self._complete(self._wanted - self._table[:, kind], rest)
            if plan is None:
                self._is_closed[kind] = True
                return False
            self._plan = plan
        else:
            self._plan[kind] -= 1
        self._supply[kind] -= 1
        self._wanted -= self._table[:, kind]
        return True

    def _complete(
        self, wanted: NDArray[np.int64], supply: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """Return how many records of each kind to add to meet the quotas, or None if none can."""
        if (wanted < 0).any() or (self._table @ supply < wanted).any():
            return None
        return self._solve(
            np.zeros(len(supply)), LinearConstraint(self._table, wanted, wanted), supply
        )

    def _n_most(self) -> int:
        plan = self._solve(
            -np.ones(len(self._supply)),
            LinearConstraint(self._table, -np.inf, self._wanted),
            self._supply,
        )
        return 0 if plan is None else int(plan.sum())

    @staticmethod
    def _solve(
        costs: NDArray[np.float64], quotas: LinearConstraint, supply: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        done = milp(
            costs, integrality=np.ones(len(supply)), bounds=Bounds(0, supply), constraints=quotas
        )
        return np.rint(done.x).astype(np.int64) if done.x is not None else None


def _shortages(quotas: Sequence[Quota]) -> list[Shortage]:
    supplies = [np.bincount(labels, minlength=len(counts)) for labels, counts in quotas]
    return [
        Shortage(column, label, int(counts[label]), int(supplies[column][label]))
        for column, (_, counts) in enumerate(quotas)
        for label in np.flatnonzero(supplies[column][: len(counts)] < counts).tolist()
    ]
