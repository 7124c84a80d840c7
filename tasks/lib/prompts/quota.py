"""Share a budget among prompts so that a smaller selection is a prefix of a larger one."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Take(StrEnum):
    """Which part of a ranking counts as its first ranks; MIDDLE and LAST only test the ranking."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"

    def ranks(self, n_ranked: int, n_picks: int) -> slice:
        """Return the `n_picks` ranks of `n_ranked` that are taken, best first."""
        start = {
            Take.FIRST: 0,
            Take.MIDDLE: (n_ranked - n_picks) // 2,
            Take.LAST: n_ranked - n_picks,
        }
        return slice(start[self], start[self] + n_picks)


def prompt_order(sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return the indices of the prompts in the order in which they get one more pick.

    Larger prompts come first, ties are random. The order depends only on sizes and seed, so it is
    the same for every budget.
    """
    random_order = np.random.default_rng(seed).permutation(len(sizes))
    return np.lexsort((random_order, -sizes))


def quotas(n_picks: int, sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return the number of picks per prompt: int, shape (k,), sum `n_picks`, at most its size.

    Each prompt picks once before any prompt picks twice, and so on, in `prompt_order`. So if sizes
    differ by at most 1, each prompt picks floor(n_picks / k), and n_picks mod k pick once more.

    Raises:
        ValueError: There are fewer candidates than picks.
    """
    if n_picks > sizes.sum():
        raise ValueError(f"{n_picks} picks out of {sizes.sum()} candidates")
    picks = np.zeros_like(sizes)
    order = prompt_order(sizes, seed)
    while (rest := n_picks - picks.sum()) > 0:
        is_open = picks < sizes
        share = rest // is_open.sum()
        if share:
            picks[is_open] += np.minimum(share, (sizes - picks)[is_open])
        else:
            picks[order[is_open[order]][:rest]] += 1
    return picks
