"""Show a prompt several times, in different orders, and combine the votes.

Slots are numbered as in vote 1. A ballot ranks slots, the best first, and names none twice.
"""

from collections import Counter
from collections.abc import Sequence

from tasks.lib.typicality.typicality import choose

MIN_COMBINED = 3  # the fewest ranks of a ballot that is combined with others

Ranking = tuple[int, ...]
"""Slots, the best first, none twice."""


def n_useful(n: int, n_votes: int) -> int:
    """Return the number of votes to cast on `n` candidates, which have only `n` rotations."""
    return min(n, n_votes)


def order(n: int, vote: int, n_votes: int) -> tuple[int, ...]:
    """Return the candidates of a vote by slot: item s - 1 is the candidate in slot s.

    Vote 1 keeps the order. The others rotate it, by steps as even as `n` allows, so that each
    candidate has a different slot in every vote, near the front in some and near the back in
    others. Neighbours stay neighbours.

    Raises:
        ValueError: The vote is not from 1 to `n_useful`.
    """
    n_cast = n_useful(n, n_votes)
    if not 1 <= vote <= n_cast:
        raise ValueError(f"vote {vote} of {n_cast}")
    shift = (vote - 1) * n // n_cast
    return (*range(shift, n), *range(shift))


def as_ballot(picks: Sequence[int], shown: Sequence[int]) -> Ranking:
    """Return slots picked from texts in the order `shown`, renumbered as in vote 1."""
    return tuple(shown[slot - 1] + 1 for slot in picks)


def n_asked(n: int, n_ranked: int, n_votes: int) -> int:
    """Return the number of slots that each ballot ranks so that all together rank `n_ranked`.

    A ballot that is combined with others ranks at least `MIN_COMBINED` slots. This separates a
    candidate that one vote ranks first and another second from one that only one vote names.
    """
    return min(n, max(n_ranked, MIN_COMBINED) if n_useful(n, n_votes) > 1 else n_ranked)


def is_settled(ballots: Sequence[Ranking], n_votes: int, n_ranked: int) -> bool:
    """Return whether no more votes are needed: all are cast, or more than half and they agree.

    They agree if all have the same first `n_ranked` slots in the same order. Further votes could
    still change the result of `combine`, unless each ballot names a single slot.

    Args:
        ballots: The ballots so far.
        n_votes: The number of votes to cast, from `n_useful`.
        n_ranked: The number of slots to rank in the prompt; ballots may rank more.
    """
    if len(ballots) >= n_votes:
        return True
    return 2 * len(ballots) > n_votes and len({ballot[:n_ranked] for ballot in ballots}) == 1


def n_certain(ballots: Sequence[Ranking], n_votes: int, n_ranked: int) -> int:
    """Return the number of votes that are certain to be cast, whatever the next ballots say.

    More than half are always cast, and all of them once two ballots differ.
    """
    differ = len({ballot[:n_ranked] for ballot in ballots}) > 1
    return n_votes if differ else n_votes // 2 + 1


def combine(ballots: Sequence[Ranking], texts: Sequence[str]) -> Ranking:
    """Return all slots that the ballots name, the best first by Borda count.

    In a ballot of m slots, the first gets m points and the last 1; others get none. Ties in points
    go to the slot that more ballots name, then to the one that the offline judge prefers
    (`tasks.lib.typicality`); the slot number never decides. Identical ballots keep their order.
    The order of the ballots does not matter.

    Args:
        ballots: Any number of ballots.
        texts: Item i is the text in slot i + 1.
    """
    if len(ballots) == 1:  # there is nothing to combine, and comparing texts takes time
        return ballots[0]
    points: Counter[int] = Counter()
    n_named: Counter[int] = Counter()
    for ballot in ballots:
        n_named.update(ballot)
        points.update({slot: len(ballot) - i for i, slot in enumerate(ballot)})

    preferred = {slot: i for i, slot in enumerate(choose(texts, len(texts)))}

    def worse(slot: int) -> tuple[int, int, int]:
        return -points[slot], -n_named[slot], preferred[slot]

    return tuple(sorted(points, key=worse))


def judge_scores(ranking: Ranking, n_slots: int, shortlist: int) -> list[float]:
    """Return the judge score of each slot, from 0 to 1, based on its rank in the combined ballots.

    The first slot gets 1 and each later one 1 / `shortlist` less, so slots beyond the shortlist and
    slots that are not ranked get 0. A ranking of more slots, as large budgets require, gives the
    same scores.

    Args:
        ranking: The combined ranking of a prompt.
        n_slots: The number of slots of the prompt.
        shortlist: The number of ranks that score.
    """
    scores = [0.0] * n_slots
    for i, slot in enumerate(ranking[:shortlist]):
        scores[slot - 1] = (shortlist - i) / shortlist
    return scores
