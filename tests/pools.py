"""Made-up vectors, and pools of made-up records for methods to select from."""

import numpy as np

from tasks.baseline import in_prompts
from tasks.baseline.by_score import Score
from tasks.baseline.methods import BaselinePool
from tasks.lib.prompts.prompt_size import Geometry, Mode


def unit_vectors(n, seed=0, d=8, n_blobs=0, noise=0.3):
    """Return random directions, or blobs around random directions."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, d))
    if n_blobs:
        vectors = noise * vectors + rng.standard_normal((n_blobs, d))[rng.integers(n_blobs, size=n)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def uneven_blobs(n, seed=0, d=8, n_blobs=5):
    """Return points around centres that attract very different numbers of points."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_blobs, 0.5))
    centres = rng.standard_normal((n_blobs, d)) * 2
    points = centres[rng.choice(n_blobs, n, p=shares)] + rng.standard_normal((n, d))
    return points.astype(np.float32)


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def pool_of(vectors, texts=None, modes=(Mode.WITHIN,), size=4):
    texts = texts or [f"Say {i} words about number {i}." for i in range(len(vectors))]
    geometry = Geometry(-(-len(vectors) // size), size)
    prompts = {mode: in_prompts.regroup(vectors, texts, geometry, mode, 0) for mode in modes}
    scores = {score: np.random.default_rng(1).integers(9, size=len(vectors)) / 3 for score in Score}
    return BaselinePool(texts, vectors, prompts, scores)
