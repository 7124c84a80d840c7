"""Records as points of a plane, the alike ones near each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.similarity.cosine import Vectors

MIN_POINTS = 10  # with fewer, neighbourhoods say nothing that the axes of variance do not
PERPLEXITY = 30  # neighbours that a point looks at, van der Maaten's usual
ITERATIONS = 500  # of 5,000 points 14 s on one core; 1,000 take twice as long and look the same
AXES = 50  # principal components that neighbours are looked for in

Points = NDArray[np.float64]


def project(vectors: Vectors) -> Points:
    """Points in a plane: t-SNE (van der Maaten 2014) from the first two principal components on.

    The same for the same vectors on processors of one family. Of few records it is the two
    components themselves; records that are all the same are one point.

    Args:
        vectors: float32, shape (n, d), of unit norm or zero, n at least 1.

    Returns:
        float64, shape (n, 2), each axis within 0 to 1.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415  here: a limit reaches only what is loaded

    with threadpool_limits(1):  # a sum's last bits tell how many threads shared it
        axes = _components(vectors, AXES)
        flat = np.zeros((len(vectors), 2))
        flat[:, : axes.shape[1]] = axes[:, :2]
        if len(vectors) >= MIN_POINTS and flat[:, 0].std() > 0:
            flat = _neighbourhoods(axes, flat, TSNE)
    return _within_unit(flat)


def _components(vectors: Vectors, n: int) -> Points:
    """The vectors in their first principal components, at most `n`; each sign is fixed."""
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
    """The points moved and scaled, both axes alike, so that they fill a unit square's middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max()) or 1.0
    centred: Points = 0.5 + (points - (low + high) / 2) / size
    return centred
