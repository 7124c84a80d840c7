"""Show a prompt several times, in different orders, and combine the votes.

Slots are numbered as in vote 1. A ballot ranks slots, the best first, and names none twice.
"""

from collections import Counter
from collections.abc import Sequence

from tasks.lib.typicality.typicality import choose

EXTRA_RANKS = 2  # benchmarks/position_bias.py tries others

Ranking = tuple[int, ...]
"""Slots, the best first, none twice."""


def n_useful(n: int, n_votes: int) -> int:
    """Return how many of `n_votes` on `n` candidates are cast: at most the number of rotations."""
    return min(n, n_votes)


def order(n: int, vote: int, n_votes: int) -> tuple[int, ...]:
    """Return the order in a vote from 1 to `n_useful`: item s - 1 is the candidate in slot s.

    Vote 1 keeps the order. The others rotate it, by steps as even as `n` allows, so that each
    candidate has another slot in every vote, near the front in some and near the back in others.
    Neighbours stay neighbours.

    Raises:
        ValueError: There is no such vote.
    """
    n_cast = n_useful(n, n_votes)
    if not 1 <= vote <= n_cast:
        raise ValueError(f"vote {vote} of {n_cast}")
    shift = (vote - 1) * n // n_cast
    return (*range(shift, n), *range(shift))


def as_ballot(picks: Sequence[int], shown: Sequence[int]) -> Ranking:
    """Return picked slots of an order `shown` in the numbers of vote 1."""
    return tuple(shown[slot - 1] + 1 for slot in picks)


def n_ranked(n: int, n_picks: int, n_votes: int) -> int:
    """Return how many slots each ballot ranks so that `n_votes` decide on `n_picks` of `n`.

    Combined votes rank a few more than are picked. So a candidate that one vote ranks first and
    another second is distinguished from one that only one vote names.
    """
    return min(n, n_picks + EXTRA_RANKS) if n_useful(n, n_votes) > 1 else n_picks


def is_settled(ballots: Sequence[Ranking], n_votes: int, n_picks: int) -> bool:
    """Return whether no more votes are needed: all are cast, or more than half and they agree.

    They agree when all have the same first `n_picks` in the same order. Votes not cast could
    still have changed what `combine` gives, unless each ballot names a single slot.

    Args:
        ballots: The ballots so far.
        n_votes: How many will be cast, as `n_useful` says.
        n_picks: How many slots the prompt picks; ballots may rank more.
    """
    if len(ballots) >= n_votes:
        return True
    return 2 * len(ballots) > n_votes and len({ballot[:n_picks] for ballot in ballots}) == 1


def combine(ballots: Sequence[Ranking], texts: Sequence[str], n_picks: int) -> tuple[int, ...]:
    """Return the `n_picks` slots that the ballots prefer together, the best first: a Borda count.

    In a ballot of m slots the first gets m points and the last 1; others get none. Ties in points
    go to the slot that more ballots name, then to the one that the offline judge
    prefers (`tasks.lib.typicality`), never to a slot. Ballots that are all alike give their
    own order. The order of the ballots does not matter.

    Args:
        ballots: One or more, which together name at least `n_picks` slots.
        texts: Item i is the text in slot i + 1.
        n_picks: How many slots to return.
    """
    if len(ballots) == 1:  # nothing to weigh, and comparing texts takes time
        return ballots[0][:n_picks]
    points: Counter[int] = Counter()
    n_named: Counter[int] = Counter()
    for ballot in ballots:
        n_named.update(ballot)
        points.update({slot: len(ballot) - i for i, slot in enumerate(ballot)})

    preferred = {slot: i for i, slot in enumerate(choose(texts, len(texts)))}

    def worse(slot: int) -> tuple[int, int, int]:
        return -points[slot], -n_named[slot], preferred[slot]

    return tuple(sorted(points, key=worse)[:n_picks])
