"""Share a budget among prompts so that a smaller selection is a prefix of a larger one."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Take(StrEnum):
    """The part of a ranking from which to pick; MIDDLE and LAST are only for testing the judge."""

    FIRST = "first"
    MIDDLE = "middle"
    LAST = "last"

    def ranks(self, n_ranked: int, n_picks: int) -> slice:
        """Return which `n_picks` of `n_ranked` ranks to take, the best first."""
        start = {
            Take.FIRST: 0,
            Take.MIDDLE: (n_ranked - n_picks) // 2,
            Take.LAST: n_ranked - n_picks,
        }
        return slice(start[self], start[self] + n_picks)


def prompt_order(sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return the indices of the prompts in the order in which they get one more pick.

    Larger prompts come first; ties are in random order. The order depends only on the sizes and
    the seed, so it is the same for every budget.
    """
    random_order = np.random.default_rng(seed).permutation(len(sizes))
    return np.lexsort((random_order, -sizes))


def quotas(n_picks: int, sizes: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return how many candidates each prompt picks: int, shape (k,), summing to `n_picks`.

    Each prompt picks once before any prompt picks twice, and so on, in `prompt_order`, until it has
    picked all of its candidates. So if sizes differ by at most 1, each prompt picks
    floor(n_picks / k), and n_picks mod k prompts pick once more.

    Raises:
        ValueError: There are fewer candidates than picks.
    """
    if n_picks > sizes.sum():
        raise ValueError(f"cannot make {n_picks} picks from {sizes.sum()} candidates")
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
