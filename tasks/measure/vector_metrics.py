"""Compute the metrics of a selection in one space of vectors."""

import numpy as np

from tasks.lib.similarity.cosine import Nearest, Vectors, nearest
from tasks.measure.intervals import Figure, Mean, Quantile, Values, Whole


def vector_metrics(found: Nearest, selected: Vectors) -> dict[str, Figure]:
    """Return coverage, facility location, redundancy and Vendi score.

    Args:
        found: The selected record nearest to each record to be covered.
        selected: float32, shape (n, d), of unit norm or zero, n at least 1.
    """
    distances = gaps(found.cosines)
    figures: dict[str, Figure] = {
        "coverage_mean": Mean(distances),
        "coverage_p95": Quantile(distances, 0.95),
        "coverage_max": Whole(float(distances.max())),
        "facility_location": Mean(np.maximum(found.cosines, 0)),
        "vendi": Whole(vendi(selected)),
    }
    if len(selected) > 1:
        figures["redundancy"] = Mean(_to_nearest_other(selected))
    return figures


def gaps(cosines: Values) -> Values:
    """Return the distances between pairs of unit vectors, given their cosines."""
    return np.sqrt(np.maximum(2 - 2 * cosines, 0))


def vendi(vectors: Vectors) -> float:
    """Return the Vendi score: the effective number of entirely different records, from 1 to n.

    This is the exponential of the Shannon entropy of the eigenvalues of the cosine matrix divided
    by n. We use the d by d matrix with the same non-zero eigenvalues, which is never large.
    """
    exact = vectors.astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(exact.T @ exact)
    shares = eigenvalues[eigenvalues > 1e-12 * max(eigenvalues.max(), 1e-300)]
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _to_nearest_other(vectors: Vectors) -> Values:
    """Return the cosine between each vector and the nearest other vector."""
    return nearest(vectors, vectors, np.arange(len(vectors))).cosines
