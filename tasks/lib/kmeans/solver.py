"""Choose a solver for equal-size clusters: k-means-constrained if it is quick, otherwise ours."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from tasks.lib.kmeans.partition import Partition, Solver, Vectors

# Up to this number of records times clusters, k-means-constrained takes under 2 s of processor time
# (docs/explanation/performance.md). There are then at most 200 clusters, so it never replaces our
# tree.
MAX_PAIRS = 40_000
CPU_S_PER_PAIR = 2e-5  # at most, for one start: 5e-6 for 1,073 clusters, 1.8e-5 for 51


class SolverParam(StrEnum):
    """The values of the cluster.solver parameter."""

    AUTO = "auto"
    K_MEANS_CONSTRAINED = "k_means_constrained"
    BALANCED = "balanced"


class SolverChoice(NamedTuple):
    """K_MEANS_CONSTRAINED or BALANCED, and the reason for the choice."""

    solver: Solver
    reason: str


class EqualSizeKMeans(Protocol):
    """The interface of both solvers' modules."""

    def equal_size_kmeans(self, vectors: Vectors, n_clusters: int, seed: int) -> Partition:
        """Return clusters whose sizes differ by at most 1; equal arguments give equal clusters."""

    def memory_mb(self, n: int, n_clusters: int, d: int) -> int:
        """Return the memory that the solver needs in addition to n vectors of d numbers."""


def choose(param: SolverParam, n: int, n_clusters: int) -> SolverChoice:
    """Return the solver for n records; the choice depends on the arguments alone."""
    if param is not SolverParam.AUTO:
        return SolverChoice(Solver(param.value), f"cluster.solver is {param.value}")
    size = f"{n:,} records x {n_clusters:,} clusters = {n * n_clusters:,}"
    if is_quick(n, n_clusters):
        reason = f"{size}; up to {MAX_PAIRS:,}, k-means-constrained is quick"
        return SolverChoice(Solver.K_MEANS_CONSTRAINED, reason)
    reason = f"{size}; above {MAX_PAIRS:,}, k-means-constrained is slow"
    return SolverChoice(Solver.BALANCED, reason)


def is_quick(n: int, n_clusters: int) -> bool:
    """Return whether k-means-constrained takes under 2 s, judging by size alone."""
    return n * n_clusters <= MAX_PAIRS


def load(solver: Solver) -> EqualSizeKMeans:
    """Import and return a solver's module, which takes about a second."""
    if solver is Solver.K_MEANS_CONSTRAINED:
        from tasks.lib.kmeans import constrained  # noqa: PLC0415  OR-Tools

        return constrained
    from tasks.lib.kmeans import balanced  # noqa: PLC0415  scikit-learn

    return balanced
