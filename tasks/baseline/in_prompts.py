"""Choices inside the prompts that a model is shown: what the grouping alone gives."""

from collections.abc import Sequence

import numpy as np

from tasks.lib.prompts.geometry import Geometry, Mode
from tasks.lib.prompts.group import group
from tasks.lib.prompts.quota import prompt_order, quotas
from tasks.lib.rubric.rubric import choose
from tasks.lib.similarity.cosine import Rows, Vectors


def at_random(prompts: Sequence[Rows], budget: int, seed: int) -> Rows:
    """As many rows of each prompt as a model would pick, by lot."""
    rng = np.random.default_rng(seed)
    return _pick([rng.permutation(prompt) for prompt in prompts], budget, seed)


def by_rubric(prompts: Sequence[Rows], texts: Sequence[str], budget: int, seed: int) -> Rows:
    """As many rows of each prompt as a model would pick, by the offline rubric."""
    sizes = np.array([len(prompt) for prompt in prompts])
    ranked = [
        prompt[np.array(choose([texts[row] for row in prompt], n), np.intp) - 1]
        if n  # rating a prompt that picks nothing takes as long
        else prompt[:0]
        for prompt, n in zip(prompts, quotas(budget, sizes, seed).tolist(), strict=True)
    ]
    return _pick(ranked, budget, seed, sizes)


def regroup(
    vectors: Vectors, texts: Sequence[str], geometry: Geometry, mode: Mode, seed: int
) -> list[Rows]:
    """The prompts of the way of composing that the run itself does not go, within or across."""
    n_bytes = np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))
    return group(vectors, mode, geometry, seed, n_bytes).prompts


def _pick(ranked: Sequence[Rows], budget: int, seed: int, sizes: Rows | None = None) -> Rows:
    """The first of each prompt's ranked rows, by rank and then by the order of prompts.

    Below the number of prompts some are left out by lot: there is no tournament here.
    """
    if sizes is None:
        sizes = np.array([len(prompt) for prompt in ranked])
    n_picks = quotas(budget, sizes, seed)
    places = np.argsort(prompt_order(sizes, seed))
    rows = np.concatenate([r[:n] for r, n in zip(ranked, n_picks.tolist(), strict=True)])
    ranks = np.concatenate([np.arange(n) for n in n_picks])
    return rows[np.lexsort((np.repeat(places, n_picks), ranks))]
