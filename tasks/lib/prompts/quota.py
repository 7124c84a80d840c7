"""How a budget is shared among prompts, so that smaller budgets are beginnings of larger ones."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Take(StrEnum):
    """Which ranks of a prompt fill its quota: all but the first are a test of the ranking."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"

    def ranks(self, n_ranked: int, n_picks: int) -> slice:
        """`n_picks` of so many ranks, the better ones first."""
        start = {
            Take.FIRST: 0,
            Take.MIDDLE: (n_ranked - n_picks) // 2,
            Take.LAST: n_ranked - n_picks,
        }
        return slice(start[self], start[self] + n_picks)


def prompt_order(sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Indices of the prompts, the most entitled first: the larger ones, and then by lot.

    The order depends on sizes and seed alone, so it is the same for every budget.
    """
    lots = np.random.default_rng(seed).permutation(len(sizes))
    return np.lexsort((lots, -sizes))


def quotas(n_picks: int, sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """How many picks each prompt makes: int, shape (k,), of sum `n_picks`, none above its size.

    Each prompt picks once before any picks twice, and so on, in `prompt_order`. So with sizes
    that differ by at most 1 each picks floor(n_picks / k), and n_picks mod k of them once more.

    Raises:
        ValueError: There are fewer candidates than picks.
    """
    if n_picks > sizes.sum():
        raise ValueError(f"{n_picks} picks out of {sizes.sum()} candidates")
    picks = np.zeros_like(sizes)
    order = prompt_order(sizes, seed)
    while (rest := n_picks - picks.sum()) > 0:
        is_open = picks < sizes
        each = rest // is_open.sum()
        if each:
            picks[is_open] += np.minimum(each, (sizes - picks)[is_open])
        else:
            picks[order[is_open[order]][:rest]] += 1
    return picks
