"""A prompt shown more than once, in other orders, and what its votes come to together.

Slots are numbered as in vote 1. A ballot lists slots, the best first, and names none twice.
"""

from collections import Counter
from collections.abc import Sequence

from tasks.lib.rubric.rubric import rate

EXTRA_RANKS = 2  # benchmarks/judges.py tries others

Ranking = tuple[int, ...]
"""Slots, the best first, none twice."""


def n_useful(n: int, n_votes: int) -> int:
    """How many of `n_votes` on `n` candidates are to be cast: no more than there are rotations."""
    return min(n, n_votes)


def order(n: int, vote: int, n_votes: int) -> tuple[int, ...]:
    """Who stands where in vote 1 .. `n_useful`: item s - 1 is the index of the candidate in slot s.

    Vote 1 leaves all in place. The others rotate, by steps as even as `n` allows, so that each
    candidate stands in a slot of its own in every vote, near the front in some and near the back
    in others. Neighbours stay neighbours.

    Raises:
        ValueError: There is no such vote.
    """
    n_cast = n_useful(n, n_votes)
    if not 1 <= vote <= n_cast:
        raise ValueError(f"vote {vote} of {n_cast}")
    shift = (vote - 1) * n // n_cast
    return (*range(shift, n), *range(shift))


def as_ballot(picks: Sequence[int], shown: Sequence[int]) -> Ranking:
    """Picked slots of an order `shown`, in the numbers of vote 1."""
    return tuple(shown[slot - 1] + 1 for slot in picks)


def n_ranked(n: int, n_picks: int, n_votes: int) -> int:
    """How many slots each ballot is to rank so that `n_picks` of `n` come out of `n_votes`.

    Where votes are combined, some more than are picked: a candidate that one vote puts second and
    another first is then told from one that was named once.
    """
    return min(n, n_picks + EXTRA_RANKS) if n_useful(n, n_votes) > 1 else n_picks


def is_settled(ballots: Sequence[Ranking], n_votes: int, n_picks: int) -> bool:
    """Whether no more votes are wanted: all are cast, or more than half and they agree.

    They agree when all have the same first `n_picks` in the same order. Votes not cast could
    still have changed what `combine` gives, unless each ballot names a single slot.

    Args:
        ballots: Those cast so far.
        n_votes: How many are to be cast, as `n_useful` says.
        n_picks: How many slots the prompt picks; ballots may rank more.
    """
    if len(ballots) >= n_votes:
        return True
    return 2 * len(ballots) > n_votes and len({ballot[:n_picks] for ballot in ballots}) == 1


def combine(ballots: Sequence[Ranking], texts: Sequence[str], n_picks: int) -> tuple[int, ...]:
    """The `n_picks` slots that the ballots prefer together, the best first: a Borda count.

    Of a ballot of m slots the first gets m points and the last 1; what it does not name gets
    none. Among equal points, what more ballots name comes first, then the higher rating of
    `tasks.lib.rubric`, then the text first in code point order; the slot has no say. All ballots
    alike, their own order comes out. The order of the ballots does not matter.

    Args:
        ballots: One or more, which name at least `n_picks` slots.
        texts: Item i is what stands in slot i + 1.
        n_picks: How many slots to give.
    """
    if len(ballots) == 1:  # nothing to weigh, and rating texts takes time
        return ballots[0][:n_picks]
    points: Counter[int] = Counter()
    n_named: Counter[int] = Counter()
    for ballot in ballots:
        n_named.update(ballot)
        points.update({slot: len(ballot) - i for i, slot in enumerate(ballot)})

    def worse(slot: int) -> tuple[int, int, float, str]:
        text = texts[slot - 1]
        return -points[slot], -n_named[slot], -rate(text).total, text

    return tuple(sorted(points, key=worse)[:n_picks])
