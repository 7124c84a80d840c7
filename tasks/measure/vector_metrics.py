"""How a selection lies in the pool: figures of one space of vectors."""

import numpy as np

from tasks.lib.similarity.cosine import Vectors, nearest
from tasks.measure.intervals import Figure, Mean, Quantile, Values, Whole


def spread_figures(covered: Vectors, chosen: Vectors) -> dict[str, Figure]:
    """Coverage, facility location, redundancy and Vendi score.

    Args:
        covered: float32, shape (n, d), of unit norm or zero; the records to be covered.
        chosen: The same of the selection, at least one.
    """
    cosines = nearest(covered, chosen).cosines
    gaps = np.sqrt(np.maximum(2 - 2 * cosines, 0))  # the distance of two unit vectors
    figures: dict[str, Figure] = {
        "coverage_mean": Mean(gaps),
        "coverage_p95": Quantile(gaps, 0.95),
        "coverage_max": Whole(float(gaps.max())),
        "facility_location": Mean(np.maximum(cosines, 0)),
        "vendi": Whole(vendi(chosen)),
    }
    if len(chosen) > 1:
        figures["redundancy"] = Mean(_inside(chosen))
    return figures


def vendi(vectors: Vectors) -> float:
    """The Vendi score: of how many wholly unlike records the variety is, from 1 to n.

    The exponential of the Shannon entropy of the eigenvalues of the cosines, divided by n; these
    are the eigenvalues of a d by d matrix, too, which is never large.
    """
    exact = vectors.astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(exact.T @ exact)
    shares = eigenvalues[eigenvalues > 1e-12 * max(eigenvalues.max(), 1e-300)]
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _inside(chosen: Vectors) -> Values:
    """The cosine of each to its nearest other one."""
    return nearest(chosen, chosen, np.arange(len(chosen))).cosines
