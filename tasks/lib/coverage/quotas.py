"""Quotas of a selection: how many records of each label it must contain, in one or more columns."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from tasks.lib.similarity.cosine import Rows


class Quota(NamedTuple):
    """The number of candidates of each label that must be selected, for one column.

    Attributes:
        labels: intp, shape (c,), the label of each candidate, from 0.
        counts: intp, shape (number of labels,), summing to n. For quotas at several sizes of a
            growing selection: shape (number of sizes, number of labels), ascending; each row sums
            to its size.
    """

    labels: Rows
    counts: Rows

    def among(self, is_candidate: NDArray[np.bool_]) -> Self:
        """Return the same quota for a subset of the candidates."""
        return self._replace(labels=self.labels[is_candidate])

    def at_end(self) -> Self:
        """Return the quota for the largest size alone."""
        return self._replace(counts=np.atleast_2d(self.counts)[-1])


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
    """The quotas that remain to be met while a selection grows from size to size.

    Candidates with the same labels in all columns form one kind. A plan says how many records of
    each kind to add up to each size. If the plan has no more records of a kind before the next
    size, a record of that kind is taken only if another plan has room for it.

    Attributes:
        sizes: The sizes at which quotas are met, ascending; n if there are no quotas.
    """

    def __init__(self, quotas: Sequence[Quota], n: int) -> None:
        """Make the first plan.

        Raises:
            UnmetQuotaError: There is no plan.
        """
        self._is_free = not quotas
        self.sizes = [n]
        if self._is_free:
            return
        labels = np.column_stack([quota.labels for quota in quotas])
        kinds, self._kinds, supply = np.unique(
            labels, axis=0, return_inverse=True, return_counts=True
        )
        self._table = np.concatenate(
            [
                (kinds[:, column] == np.arange(np.shape(quota.counts)[-1])[:, None])
                for column, quota in enumerate(quotas)
            ]
        ).astype(np.int64)
        totals = [np.atleast_2d(quota.counts).astype(np.int64) for quota in quotas]
        self.sizes = totals[0].sum(axis=1).tolist()
        self._wanted: NDArray[np.int64] = np.concatenate(totals, axis=1)
        self._wanted[1:] -= self._wanted[:-1].copy()
        self._supply = supply.astype(np.int64)
        self._is_closed = np.zeros(len(kinds), np.bool_)
        plan = self._complete(self._wanted, self._supply)
        if plan is None:
            raise UnmetQuotaError(n, _shortages(quotas), self._n_most())
        self._plan = plan

    def take(self, place: int) -> bool:
        """Return whether the candidate can be selected, and count it if so.

        A candidate that is refused once can be selected only after the next size is reached.
        """
        if self._is_free:
            return True
        if not self._wanted[0].any():
            self._wanted, self._plan = self._wanted[1:], self._plan[1:]
            self._is_closed[:] = False
        kind = int(self._kinds[place])
        if self._is_closed[kind]:
            return False
        wanted = self._wanted.copy()
        wanted[0] -= self._table[:, kind]
        if not self._plan[0, kind]:
            rest = self._supply.copy()
            rest[kind] -= 1
            plan = self._complete(wanted, rest)
            if plan is None:
                self._is_closed[kind] = True
                return False
            self._plan = plan
        else:
            self._plan[0, kind] -= 1
        self._supply[kind] -= 1
        self._wanted = wanted
        return True

    def _complete(
        self, wanted: NDArray[np.int64], supply: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """Return how many records of each kind to add for each size; None if impossible."""
        if (wanted < 0).any() or (self._table @ supply < wanted.sum(axis=0)).any():
            return None
        n_sizes, n_kinds = len(wanted), len(supply)
        by_size = sparse.block_diag([self._table] * n_sizes)
        in_all = sparse.hstack([sparse.eye_array(n_kinds)] * n_sizes)
        constraints = [LinearConstraint(by_size, wanted.ravel(), wanted.ravel())]
        if n_sizes > 1:
            constraints.append(LinearConstraint(in_all, -np.inf, supply))
        plan = _solve(np.zeros(n_sizes * n_kinds), constraints, np.tile(supply, n_sizes))
        return None if plan is None else plan.reshape(n_sizes, n_kinds)

    def _n_most(self) -> int:
        limit = LinearConstraint(self._table, -np.inf, self._wanted.sum(axis=0))
        plan = _solve(-np.ones(len(self._supply)), [limit], self._supply)
        return 0 if plan is None else int(plan.sum())


def _solve(
    costs: NDArray[np.float64], constraints: list[LinearConstraint], supply: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    done = milp(
        costs, integrality=np.ones(len(supply)), bounds=Bounds(0, supply), constraints=constraints
    )
    return np.rint(done.x).astype(np.int64) if done.x is not None else None


def can_meet(quotas: Sequence[Quota], n: int) -> bool:
    """Return whether a selection of n candidates meets the quotas at every size."""
    try:
        Quotas(quotas, n)
    except UnmetQuotaError:
        return False
    return True


def _shortages(quotas: Sequence[Quota]) -> list[Shortage]:
    quotas = [quota.at_end() for quota in quotas]
    supplies = [np.bincount(labels, minlength=len(counts)) for labels, counts in quotas]
    return [
        Shortage(column, label, int(counts[label]), int(supplies[column][label]))
        for column, (_, counts) in enumerate(quotas)
        for label in np.flatnonzero(supplies[column][: len(counts)] < counts).tolist()
    ]
