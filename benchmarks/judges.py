"""What a selection gains and loses by a judge: quality against coverage, for simulated judges.

    python benchmarks/judges.py WORKSPACE ... --to /tmp/judges.csv

A workspace is one in which the stage embed has run. Pools are random draws of its records, with
their real texts and vectors. No model is asked: each record gets a made-up quality, and a judge
sees it with noise, half of which (in variance) is its lasting error about a record; the other half
is drawn again at every vote. The project's own code combines the votes and scores the records. All
ways to select get the same pools, prompts, judges and votes.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.lib.coverage.greedy import greedy, judge_bonus
from tasks.lib.prompts.geometry import Geometry, Mode
from tasks.lib.prompts.group import group
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.similarity.lsa import lexical_space
from tasks.lib.similarity.words import rouge_l_table, words
from tasks.llm_select.votes import (
    MIN_COMBINED,
    Ranking,
    as_ballot,
    combine,
    is_settled,
    judge_scores,
    n_asked,
    order,
)

SIZE = 14  # candidates in a prompt
N_RECORDS = 2_100
BUDGETS = (0.1, 0.3, 1.0, 3.0)  # of the number of prompts
N_RANDOM = 20  # selections
N_QUESTIONS = 300  # to the student
N_DIMS = 128
SHORTLISTS = (3, 5, 7, SIZE)
WEIGHTS = (0, 0.5, 1, 2)
SKILLS = (0.0, 0.5, 0.71, 0.9)  # correlation of what a judge sees with the quality
BIAS = 2.0  # of a slot, in standard deviations of what a judge sees
SLOTS = np.arange(SIZE)
EFFECTS = {
    "none": np.zeros(SIZE),
    "first slot": (SLOTS == 0).astype(float),
    "last slot": (SLOTS == SIZE - 1).astype(float),
    "early slots": 1 - SLOTS / (SIZE - 1),
    "middle dip": (2 * SLOTS / (SIZE - 1) - 1) ** 2,
}
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

Floats = NDArray[np.float64]


class Pool(NamedTuple):
    """Real records, grouped into prompts, and what measures a selection of them."""

    vectors: Vectors
    prompts: list[Rows]
    slots: Rows  # of each record, from 0
    units: dict[int, float]  # the bonus for a judge score of 1 at weight 1, by number of prompts
    cosines: dict[str, Vectors]  # of all pairs of records, in each space that measures coverage
    questions: Rows
    rouge_l: Vectors  # of every record's output with that of each question
    quality: Floats  # made up: shape (m,), mean 0, variance 1
    error: Floats  # the lasting part of a judge's error

    def figures(self, rows: Rows) -> Floats:
        """Return coverage in words and in outputs, and ROUGE-L of the student."""
        coverage = [table[rows].max(axis=0).mean() for table in self.cosines.values()]
        near = self.vectors[self.questions] @ self.vectors[rows].T
        near[self.questions[:, None] == rows] = -2  # no record answers its own question
        answers = self.rouge_l[rows[near.argmax(axis=1)], np.arange(len(self.questions))]
        return np.array([*coverage, answers.mean()])


class Judge(NamedTuple):
    """How a simulated judge is asked, and what it is worth."""

    skill: float
    bias: str = "none"
    votes: int = 1


class Ballots:
    """The votes of a judge on prompts: each a ranking of all slots."""

    def __init__(self, pool: Pool, judge: Judge, prompts: list[Rows], seed: int) -> None:
        self.prompts = prompts
        rng = np.random.default_rng((seed, 2))
        self._votes = [self._cast(pool, judge, prompt, rng) for prompt in prompts]
        self._texts = [[f"{i}" for i in rng.permutation(len(prompt))] for prompt in prompts]

    @staticmethod
    def _cast(pool: Pool, judge: Judge, prompt: Rows, rng: np.random.Generator) -> list[Ranking]:
        n, noise = len(prompt), (1 - judge.skill**2) ** 0.5 * 0.5**0.5
        slots = np.interp(np.arange(n), np.linspace(0, n - 1, SIZE), EFFECTS[judge.bias])
        votes = []
        for vote in range(1, judge.votes + 1):
            shown = order(n, vote, judge.votes)
            seen = judge.skill * pool.quality[prompt] + noise * (
                pool.error[prompt] + rng.standard_normal(n)
            )
            utility = seen[list(shown)] + BIAS * slots
            votes.append(as_ballot([int(i) + 1 for i in np.argsort(-utility)], shown))
        return votes

    def rankings(self, n_ranked: int) -> tuple[list[Ranking], int]:
        """Return the combined ranking of each prompt, and the number of calls in all."""
        ranked, n_calls = [], 0
        for votes, texts in zip(self._votes, self._texts, strict=True):
            ballots: list[Ranking] = []
            for vote in votes:
                ballots.append(vote[: n_asked(len(vote), n_ranked, len(votes))])
                if is_settled(ballots, len(votes), n_ranked):
                    break
            ranked.append(combine(ballots, texts))
            n_calls += len(ballots)
        return ranked, n_calls

    def by_rank(self, prompt_order: Rows, n_ranked: int) -> Rows:
        """Return the rows by rank in their prompts: all firsts, then all seconds ..."""
        ranked, _ = self.rankings(n_ranked)
        rows = [self.prompts[p][np.array(ranked[p]) - 1] for p in prompt_order]
        return np.array([row[i] for i in range(n_ranked) for row in rows if i < len(row)])


Score = Callable[[Ranking, int, int], list[float]]


def reciprocal_scores(ranking: Ranking, n_slots: int, shortlist: int) -> list[float]:
    """Return 1 / rank for each slot of the shortlist."""
    scores = dict(zip(ranking[:shortlist], 1 / np.arange(1, shortlist + 1), strict=False))
    return [float(scores.get(slot, 0)) for slot in range(1, n_slots + 1)]


def first_scores(ranking: Ranking, n_slots: int, shortlist: int) -> list[float]:
    """Return 1 for the first slot, and nearly nothing for the others of the shortlist."""
    return [
        float(s > 0) * (1 if s == 1 else 1e-9) for s in judge_scores(ranking, n_slots, shortlist)
    ]


def draw(workspace: Path, seed: int) -> Pool:
    """Return a random draw of the records of a workspace."""
    data = workspace / "data"
    corpus = Corpus.read(
        data / "ingest/pool.parquet", data / "dedupe/unique.parquet", data / "embed/vectors.npy"
    )
    drawn = np.random.default_rng((seed, 0)).permutation(len(corpus.ids))[:N_RECORDS]
    texts, outputs = (
        [column[row] or "" for row in drawn] for column in (corpus.texts, corpus.outputs)
    )
    vectors = corpus.vectors[drawn]
    prompts = group(vectors, Mode.WITHIN, Geometry(-(-len(drawn) // SIZE), SIZE), seed).prompts
    spaces = {
        "words": lexical_space(texts, N_DIMS, seed),
        "outputs": lexical_space(outputs, N_DIMS, seed),
    }
    k, slots = len(prompts), np.empty(len(drawn), np.intp)
    for prompt in prompts:
        slots[prompt] = np.arange(len(prompt))
    questions = np.random.default_rng((seed, 1)).permutation(len(drawn))[:N_QUESTIONS]
    answers = [words(output) for output in outputs]
    rng = np.random.default_rng((seed, 2))
    return Pool(
        vectors,
        prompts,
        slots,
        {n: float(judge_bonus(np.ones(1), 1, vectors, n)[0]) for n in (k, round(0.3 * k))},
        {name: space @ space.T for name, space in spaces.items()},
        questions,
        rouge_l_table(answers, [answers[row] for row in questions]),
        rng.standard_normal(len(drawn)),
        rng.standard_normal(len(drawn)),
    )


class Way(NamedTuple):
    """A way to select: its name, its calls in all, and the records in order of selection."""

    name: str
    calls: int
    rows: Rows


def covering(  # noqa: PLR0913
    pool: Pool,
    ballots: Ballots,
    shortlist: int,
    weight: float,
    n: int,
    *,
    unit: float,
    is_soft: bool = False,
    score: Score = judge_scores,
) -> tuple[int, Rows]:
    """Return the calls and a selection by coverage from the shortlists, or of all if soft."""
    ranked, n_calls = ballots.rankings(shortlist)
    rows = np.concatenate(ballots.prompts)
    scores = np.concatenate(
        [score(r, len(p), shortlist) for r, p in zip(ranked, ballots.prompts, strict=True)]
    )
    kept = np.flatnonzero((scores > 0) | is_soft)
    n_most = min(n, len(kept))
    bonus = weight * unit * scores[kept]
    return n_calls, greedy(pool.vectors, rows[kept], n_most, bonus=bonus).rows


def second_round(  # noqa: PLR0913, PLR0917
    pool: Pool, judge: Judge, ballots: Ballots, n_each: int, prompt_order: Rows, seed: int
) -> Ballots:
    """Return the ballots on the first `n_each` of each prompt, at no more calls in all.

    Prompts that would be asked last in the first round are left out to pay for the second.
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
            yield Way(name, *covering(pool, ballots, shortlist, weight, n, unit=pool.units[n]))


def second_rounds(
    pool: Pool, judge: Judge, ballots: Ballots, prompt_order: Rows, seed: int
) -> Iterator[Way]:
    """Yield the ways that ask about the best of each prompt once more."""
    k = len(prompt_order)
    for n_each in (1, 3):
        again = second_round(pool, judge, ballots, n_each, prompt_order, seed)
        rows = again.by_rank(np.arange(len(again.prompts)), SIZE)
        yield Way(f"tournament of {n_each}", k, rows)
        for shortlist, weight in ((SIZE, 1), (SIZE, 4), (7, 1), (7, 2)):
            _, rows = covering(pool, again, shortlist, weight, 3 * k, unit=pool.units[k])
            yield Way(f"second round of {n_each}, list {shortlist}, weight {weight}", k, rows)


def ways(pool: Pool, judge: Judge, seed: int) -> Iterator[Way]:
    """Yield each way to select."""
    k = len(pool.prompts)
    prompt_order = np.random.default_rng((seed, 3)).permutation(k)
    ballots = Ballots(pool, judge, pool.prompts, seed)
    covered = partial(covering, pool, ballots, n=int(max(BUDGETS) * k), unit=pool.units[k])
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
        yield Way(f"soft {shortlist}, weight 1", *covered(shortlist, 1, is_soft=True))
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
    """Simulate, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspaces", type=Path, nargs="+")
    arguments.add_argument("--pools", type=int, default=10, help="draws from each workspace")
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
