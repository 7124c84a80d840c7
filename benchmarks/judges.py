"""Measure what a selection gains and loses through a simulated judge: quality and coverage.

    python benchmarks/judges.py WORKSPACE ... --to /tmp/judges.csv

The embed stage must have run in each workspace. Pools are random draws of its records, with their
real texts and vectors; simulated.py defines how judges see them. The project's own code combines
the votes and scores the records. All methods get the same pools, prompts, judges and votes.
"""

import argparse
import csv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from simulated import (
    EFFECTS,
    SIZE,
    Ballots,
    Floats,
    Judge,
    Pool,
    Score,
    draw,
    first_scores,
    reciprocal_scores,
)
from threadpoolctl import threadpool_limits

from tasks.choose.order import JudgedRecords, by_coverage
from tasks.lib.coverage.greedy import greedy
from tasks.lib.prompts.group import group
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.similarity.cosine import Rows
from tasks.llm_select.votes import MIN_COMBINED, judge_scores

BUDGETS = (0.1, 0.3, 1.0, 3.0)  # of the number of prompts
N_RANDOM = 20  # selections
SHORTLISTS = (3, 5, 7, SIZE)
WEIGHTS = (0, 0.5, 1, 2)
SKILLS = (0.0, 0.5, 0.71, 0.9)  # correlation of what a judge sees with the quality
COLUMNS = (
    "pool",
    "skill",
    "bias",
    "votes",
    "way",
    "budget",
    "calls",
    "quality",
    "words",
    "outputs",
    "student",
    "top_slot",
)


class Way(NamedTuple):
    """A way to select: its name, its total calls, and the records in order of selection."""

    name: str
    calls: int
    rows: Rows


def scored(
    ballots: Ballots, shortlist: int, score: Score = judge_scores
) -> tuple[Rows, Floats, Floats, int]:
    """Return the rows, ranks and judge scores of all records, and the total number of calls."""
    ranked, n_calls = ballots.rankings(shortlist)
    pairs = list(zip(ranked, ballots.prompts, strict=True))
    ranks = [np.full(len(prompt), np.inf) for prompt in ballots.prompts]
    for own, (ranking, _) in zip(ranks, pairs, strict=True):
        own[np.array(ranking[:shortlist]) - 1] = np.arange(1, 1 + len(ranking[:shortlist]))
    scores = [score(ranking, len(prompt), shortlist) for ranking, prompt in pairs]
    return np.concatenate(ballots.prompts), np.concatenate(ranks), np.concatenate(scores), n_calls


def covering(  # noqa: PLR0913
    pool: Pool,
    ballots: Ballots,
    shortlist: int,
    weight: float,
    n: int,
    *,
    score: Score = judge_scores,
) -> tuple[int, Rows]:
    """Return the calls and a selection as the project makes it."""
    rows, ranks, scores, n_calls = scored(ballots, shortlist, score)
    sizes = np.array([len(prompt) for prompt in ballots.prompts])
    numbers = np.repeat(np.arange(len(sizes), dtype=np.int32) + 1, sizes)
    weights, annotated = np.ones(len(pool.vectors)), np.empty(0, np.intp)
    records = JudgedRecords(rows, numbers, ranks, scores, sizes, pool.vectors, weights, annotated)
    n_listed = int((scores > 0).sum())
    return n_calls, by_coverage(records, min(n, n_listed), weight, seed=0).rows


def covering_once(  # noqa: PLR0913
    pool: Pool,
    ballots: Ballots,
    shortlist: int,
    weight: float,
    n: int,
    *,
    is_soft: bool = False,
) -> tuple[int, Rows]:
    """Return the calls and a selection in one round from the shortlists, or from all if soft."""
    rows, _, scores, n_calls = scored(ballots, shortlist)
    kept = np.flatnonzero((scores > 0) | is_soft)
    bonus = weight * pool.unit * scores[kept]
    return n_calls, greedy(pool.vectors, rows[kept], min(n, len(kept)), bonus=bonus).rows


def second_round(  # noqa: PLR0913, PLR0917
    pool: Pool, judge: Judge, ballots: Ballots, n_each: int, prompt_order: Rows, seed: int
) -> Ballots:
    """Return the ballots of a second round on the first `n_each` of each prompt.

    The last prompts of the first round are left out, so the total number of calls does not grow.
    """
    n_first = int(len(prompt_order) / (1 + n_each / SIZE))
    winners = ballots.by_rank(prompt_order[:n_first], n_each)
    n_prompts = -(-len(winners) // SIZE)
    again = group(pool.vectors[winners], Mode.WITHIN, Geometry(n_prompts, SIZE), seed).prompts
    return Ballots(pool, judge, [winners[rows] for rows in again], seed + 1000)


def larger_prompts(pool: Pool, judge: Judge, seed: int) -> Iterator[Way]:
    """Yield selections of 0.3 K from 0.3 K prompts of 47; 3 votes cost at most 0.9 K calls."""
    n = round(0.3 * len(pool.prompts))
    geometry = Geometry(n, -(-len(pool.vectors) // n))
    prompts = group(pool.vectors, Mode.WITHIN, geometry, seed).prompts
    for votes in (1, 3):
        ballots = Ballots(pool, judge._replace(votes=votes), prompts, seed)
        for shortlist, weight in ((3, 1), (5, 1), (5, 2)):
            name = f"0.3 K prompts, votes {votes}, list {shortlist}, weight {weight}"
            yield Way(name, *covering(pool, ballots, shortlist, weight, n))


def second_rounds(
    pool: Pool, judge: Judge, ballots: Ballots, prompt_order: Rows, seed: int
) -> Iterator[Way]:
    """Yield the ways that send the best of each prompt to the judge a second time."""
    k = len(prompt_order)
    for n_each in (1, 3):
        again = second_round(pool, judge, ballots, n_each, prompt_order, seed)
        rows = again.by_rank(np.arange(len(again.prompts)), SIZE)
        yield Way(f"tournament of {n_each}", k, rows)
        for shortlist, weight in ((SIZE, 1), (SIZE, 4), (7, 1), (7, 2)):
            _, rows = covering_once(pool, again, shortlist, weight, 3 * k)
            yield Way(f"second round of {n_each}, list {shortlist}, weight {weight}", k, rows)


def ways(pool: Pool, judge: Judge, seed: int) -> Iterator[Way]:
    """Yield each way to select."""
    k = len(pool.prompts)
    prompt_order = np.random.default_rng((seed, 3)).permutation(k)
    ballots = Ballots(pool, judge, pool.prompts, seed)
    covered = partial(covering, pool, ballots, n=int(max(BUDGETS) * k))
    once = partial(covering_once, pool, ballots, n=int(max(BUDGETS) * k))
    _, n_calls = ballots.rankings(1)
    yield Way("first picks", n_calls, ballots.by_rank(prompt_order, MIN_COMBINED))
    if judge.bias != "none" or judge.votes > 1:
        for shortlist in (3, 5):
            yield Way(f"list {shortlist}, weight 1", *covered(shortlist, 1))
        return
    yield Way("list 1", *covered(1, 1))
    for shortlist in SHORTLISTS:
        for weight in WEIGHTS:
            yield Way(f"list {shortlist}, weight {weight}", *covered(shortlist, weight))
    for shortlist in (3, 5):
        yield Way(f"soft {shortlist}, weight 1", *once(shortlist, 1, is_soft=True))
        yield Way(f"one round, list {shortlist}, weight 1", *once(shortlist, 1))
    for name, score in {"reciprocal": reciprocal_scores, "first": first_scores}.items():
        yield Way(f"list 3, weight 1, {name}", *covered(3, 1, score=score))
    yield from larger_prompts(pool, judge, seed)
    yield from second_rounds(pool, judge, ballots, prompt_order, seed)


def measure(workspace: Path, seed: int) -> list[tuple[object, ...]]:
    """Return the rows of the table for one pool."""
    with threadpool_limits(1):
        return list(_measure(draw(workspace, seed), f"{workspace.name} {seed}", seed))


def _measure(pool: Pool, name: str, seed: int) -> Iterator[tuple[object, ...]]:
    budgets = {share: round(share * len(pool.prompts)) for share in BUDGETS}
    rng = np.random.default_rng((seed, 4))
    draws = [rng.permutation(len(pool.vectors)) for _ in range(N_RANDOM)]
    random = {n: np.array([pool.figures(rows[:n]) for rows in draws]) for n in budgets.values()}
    judges = [Judge(skill) for skill in SKILLS]
    judges += [Judge(0.71, bias, votes) for bias in EFFECTS for votes in (1, 3)]
    for judge in dict.fromkeys(judges):
        for way, calls, rows in ways(pool, judge, seed):
            for share, n in budgets.items():
                if len(rows) >= n:
                    gain = pool.figures(rows[:n]) - random[n].mean(axis=0)
                    z = gain / random[n].std(axis=0, ddof=1)
                    top = np.bincount(pool.slots[rows[:n]]).max() / n
                    quality = pool.quality[rows[:n]].mean()
                    yield name, *judge, way, share, calls / len(pool.prompts), quality, *z, top


def main() -> None:
    """Run the simulation, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspaces", type=Path, nargs="+")
    arguments.add_argument(
        "--pools", type=int, default=10, help="number of draws from each workspace"
    )
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--to", type=Path, required=True, help="CSV file")
    given = arguments.parse_args()
    with (
        given.to.open("w", encoding="utf-8", newline="") as file,
        ProcessPoolExecutor(given.processes) as workers,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        seeds = [(path, seed) for seed in range(given.pools) for path in given.workspaces]
        for rows in workers.map(measure, *zip(*seeds, strict=True)):
            table.writerows(rows)
            file.flush()


if __name__ == "__main__":
    main()
