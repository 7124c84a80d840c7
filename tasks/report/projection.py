"""Place records as points in a plane, with similar ones near each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Vectors

MIN_POINTS = 10  # with fewer, neighbourhoods add nothing to the axes of variance
PERPLEXITY = 30  # neighbours that count for a point, as van der Maaten recommends
ITERATIONS = 500  # 14 s for 5,000 points on one core; 1,000 take twice as long and look the same
AXES = 50  # principal components in which neighbours are found

Points = NDArray[np.float64]


def project(vectors: Vectors) -> Points:
    """Project vectors onto a plane with t-SNE (van der Maaten 2014), initialised with PCA.

    The same vectors give the same points on processors in the same family. If there are only a few
    records, they are projected onto two principal components; identical records form one point.

    Args:
        vectors: float32, shape (n, d), of unit norm or zero, n at least 1.

    Returns:
        float64, shape (n, 2), each axis within 0 to 1.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415  first: limits need the library loaded

    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        axes = _components(vectors, AXES)
        flat = np.zeros((len(vectors), 2))
        flat[:, : axes.shape[1]] = axes[:, :2]
        if len(vectors) >= MIN_POINTS and flat[:, 0].std() > 0:
            flat = _neighbourhoods(axes, flat, TSNE)
    return _within_unit(flat)


def _components(vectors: Vectors, n: int) -> Points:
    """Return the first `n` principal components, or all if there are fewer, with fixed signs."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :n]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    components: Points = centred @ (directions * signs)
    return components


def _neighbourhoods(axes: Points, start: Points, method: Any) -> Points:
    model = method(
        init=(start / start[:, 0].std() * 1e-4).astype(np.float32),
        perplexity=min(PERPLEXITY, (len(axes) - 1) / 3),
        max_iter=ITERATIONS,
        random_state=0,
        n_jobs=1,
    )
    points: Points = model.fit_transform(axes.astype(np.float32)).astype(np.float64)
    return points


def _within_unit(points: Points) -> Points:
    """Move and scale the points to fit into the middle of a unit square; keep their proportions."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max()) or 1.0
    centred: Points = 0.5 + (points - (low + high) / 2) / size
    return centred
