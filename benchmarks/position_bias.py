"""Measure how often judges of known skill and position bias pick the best candidates.

    python benchmarks/position_bias.py

This is a simulation: no model is called. Each record has a quality, part of which it shares with
its topics. A judge sees skill x quality + noise + bias x slot effect. Half of the noise (in
variance) is the judge's lasting error about a record; the other half is drawn again for every vote.
The project's own code composes the prompts and combines the votes. All methods get the same pools
and the same lasting errors.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.prompt_size import Mode
from tasks.llm_select.votes import Ranking, as_ballot, combine, is_settled, n_asked, order

SEEDS = range(20)
SIZE = 14  # candidates in a prompt; also the number of large topics
N_PROMPTS = 98  # a multiple of SIZE, so that topics of both sizes have whole numbers of records
TOPICS = (0.2, 0.2)  # shares of the variance of quality due to the large and the small topic
SKILL = 1.0  # standard deviation of the part due to quality; that of the noise is 1
BIAS = 2.0

Floats = NDArray[np.float64]
SLOTS = np.arange(SIZE)
EFFECTS: dict[str, Floats] = {
    "none": np.zeros(SIZE),
    "first slot": (SLOTS == 0).astype(float),
    "last slot": (SLOTS == SIZE - 1).astype(float),
    "early slots": 1 - SLOTS / (SIZE - 1),
    "middle dip": (2 * SLOTS / (SIZE - 1) - 1) ** 2,
}


class Asking(NamedTuple):
    """A way to use a judge: the mode, the votes, and the slots that a ballot ranks."""

    mode: Mode
    n_votes: int = 1
    n_ranked: Callable[[int, int, int], int] = n_asked


class Outcome(NamedTuple):
    """The result of one run; shares are of all picks."""

    in_prompt: float  # picks among the best n of their prompt, if n are picked there
    in_pool: float  # picks among the best n of the pool, if n are picked in all
    top_topic: float  # picks from the large topic with the most picks
    n_calls: float  # per prompt


class Pool(NamedTuple):
    """Records with their true quality, and the judge's lasting view of them."""

    quality: Floats  # shape (M,), variance 1
    seen: Floats  # shape (M,)
    large: NDArray[np.int32]  # shape (M,), topic of each record
    small: NDArray[np.int32]


def pool(seed: int, skill: float) -> Pool:
    """Return `N_PROMPTS` small topics of `SIZE` records, in `SIZE` large topics."""
    rng = np.random.default_rng([seed, 1])
    small = np.repeat(np.arange(N_PROMPTS, dtype=np.int32), SIZE)
    large = small // (N_PROMPTS // SIZE)
    quality = (
        rng.normal(0, TOPICS[0] ** 0.5, SIZE)[large]
        + rng.normal(0, TOPICS[1] ** 0.5, N_PROMPTS)[small]
        + rng.normal(0, (1 - sum(TOPICS)) ** 0.5, len(small))
    )
    return Pool(quality, skill * quality + rng.normal(0, 0.5**0.5, len(small)), large, small)


def run(asking: Asking, effect: Floats, seed: int, n_picks: int = 1) -> Outcome:
    """Select from one pool once."""
    records = pool(seed, SKILL)
    rng = np.random.default_rng([seed, 2])
    labels = records.small if asking.mode is Mode.WITHIN else records.large
    picked: list[int] = []
    n_calls, n_hits = 0, 0
    for prompt in compose(labels, N_PROMPTS, asking.mode, seed):
        ballots: list[Ranking] = []
        for ballot in cast(asking, records.seen[prompt], BIAS * effect, n_picks, rng):
            ballots.append(ballot)
            if is_settled(ballots, asking.n_votes, n_picks):
                break
        texts = [f"{record}" for record in rng.permutation(len(prompt))]  # unrelated to quality
        slots = np.array(combine(ballots, texts)[:n_picks]) - 1
        n_calls += len(ballots)
        n_hits += len(set(slots) & set(np.argsort(-records.quality[prompt])[:n_picks]))
        picked += list(prompt[slots])
    best = np.argsort(-records.quality)[: len(picked)]
    topics = Counter(records.large[picked].tolist())
    return Outcome(
        n_hits / len(picked),
        len(set(picked) & set(best)) / len(picked),
        topics.most_common(1)[0][1] / len(picked),
        n_calls / N_PROMPTS,
    )


def cast(
    asking: Asking, seen: Floats, effect: Floats, n_picks: int, rng: np.random.Generator
) -> Iterator[Ranking]:
    """Yield the ballots of one prompt, vote by vote."""
    for vote in range(1, asking.n_votes + 1):
        shown = order(len(seen), vote, asking.n_votes)
        utility = seen[list(shown)] + rng.normal(0, 0.5**0.5, len(seen)) + effect[: len(seen)]
        n = asking.n_ranked(len(seen), n_picks, asking.n_votes)
        yield as_ballot([int(i) + 1 for i in np.argsort(-utility)[:n]], shown)


def several(asking: Asking, shape: str, n_picks: int = 1) -> Floats:
    """Return the outcomes of all seeds: shape (20, 4)."""
    return np.array([run(asking, EFFECTS[shape], seed, n_picks) for seed in SEEDS])


def interval(values: Floats, scale: float = 100, sign: str = "") -> str:
    """Return the mean and the half width of its 95 % interval (Student's t), in percent."""
    width = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{scale * values.mean():{sign}.1f} ± {scale * width:.1f}"


def compare() -> None:
    """Compare the paper's method with ours for each shape of bias."""
    ways = {
        "paper": Asking(Mode.PAPER),
        "across, 1 vote": Asking(Mode.ACROSS),
        "across, 3 votes": Asking(Mode.ACROSS, 3),
        "within, 1 vote": Asking(Mode.WITHIN),
        "within, 3 votes": Asking(Mode.WITHIN, 3),
    }
    outcomes = {(shape, way): several(ways[way], shape) for shape in EFFECTS for way in ways}
    titles = ("best of its prompt", "among the best of the pool", "from the most picked topic")
    for column, title in enumerate(titles):
        print(f"\nShare of picks {title}, in %: mean over {len(SEEDS)} pools and 95 % interval\n")
        print("| bias |", " | ".join(ways), "|\n|---" + "|---" * len(ways) + "|")
        for shape in EFFECTS:
            cells = [interval(outcomes[shape, way][:, column]) for way in ways]
            print(f"| {shape} |", " | ".join(cells), "|")
    print("\nBest of its prompt: percentage points above the paper's method, on the same pools\n")
    print(
        "| bias | across, 1 vote | across, 3 votes | calls per prompt, 3 votes |\n|---|---|---|---|"
    )
    for shape in EFFECTS:
        base = outcomes[shape, "paper"][:, 0]
        one_vote, three_votes = (
            outcomes[shape, way] for way in ("across, 1 vote", "across, 3 votes")
        )
        gains = [interval(way[:, 0] - base, sign="+") for way in (one_vote, three_votes)]
        print(f"| {shape} | {gains[0]} | {gains[1]} | {interval(three_votes[:, 3], 1)} |")


def rank_more() -> None:
    """Measure how many slots a ballot should rank."""
    extras = (0, 1, 2, 4, SIZE)
    print(
        "\nBest of its prompt in %, 3 votes across, by the slots that a ballot ranks in addition to"
    )
    print("the picks; from +1 on, percentage points above +0 on the same pools\n")
    print("| picks | bias |", " | ".join(f"+{n}" for n in extras), "|")
    print("|---|---" + "|---" * len(extras) + "|")
    for n_picks in (1, 3):
        for shape in ("none", "first slot", "middle dip"):
            ways = [Asking(Mode.ACROSS, 3, _beyond(extra)) for extra in extras]
            base, *more = (several(way, shape, n_picks)[:, 0] for way in ways)
            cells = [interval(base), *(interval(shares - base, sign="+") for shares in more)]
            print(f"| {n_picks} | {shape} |", " | ".join(cells), "|", flush=True)


def _beyond(extra: int) -> Callable[[int, int, int], int]:
    return lambda n, n_picks, n_votes: min(n, n_picks + extra)


if __name__ == "__main__":
    compare()
    rank_more()
