"""Select within the run's prompts, to show the effect of the grouping alone."""

from collections.abc import Sequence

import numpy as np

from tasks.lib.prompts.group import group
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.prompts.share_budget import prompt_order, quotas
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.typicality.typicality import choose


def random_rows(prompts: Sequence[Rows], budget: int, seed: int) -> Rows:
    """Return random rows from each prompt, the same number as a model would pick."""
    rng = np.random.default_rng(seed)
    return _pick([rng.permutation(prompt) for prompt in prompts], budget, seed)


def by_typicality(prompts: Sequence[Rows], texts: Sequence[str], budget: int, seed: int) -> Rows:
    """Return the rows that the offline judge, rather than a model, picks from each prompt."""
    sizes = np.array([len(prompt) for prompt in prompts])
    ranked = [
        prompt[np.array(choose([texts[row] for row in prompt], n), np.intp) - 1]
        if n  # ranking a prompt that contributes no row would waste time
        else prompt[:0]
        for prompt, n in zip(prompts, quotas(budget, sizes, seed).tolist(), strict=True)
    ]
    return _pick(ranked, budget, seed, sizes)


def regroup(
    vectors: Vectors, texts: Sequence[str], geometry: Geometry, mode: Mode, seed: int
) -> list[Rows]:
    """Return the prompts that within mode or across mode would compose from the same records."""
    n_bytes = np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))
    return group(vectors, mode, geometry, seed, n_bytes).prompts


def _pick(ranked: Sequence[Rows], budget: int, seed: int, sizes: Rows | None = None) -> Rows:
    """Return the first of each prompt's ranked rows, by rank and then in prompt order.

    If the budget is below the number of prompts, some random prompts contribute no row.
    """
    if sizes is None:
        sizes = np.array([len(prompt) for prompt in ranked])
    n_picks = quotas(budget, sizes, seed)
    places = np.argsort(prompt_order(sizes, seed))
    rows = np.concatenate([rows[:n] for rows, n in zip(ranked, n_picks.tolist(), strict=True)])
    ranks = np.concatenate([np.arange(n) for n in n_picks])
    return rows[np.lexsort((np.repeat(places, n_picks), ranks))]
