"""What a selection gains and loses by a judge: quality against coverage, for simulated judges.

    python benchmarks/judges.py WORKSPACE ... --to /tmp/judges.csv

A workspace is one in which the stage embed has run. Pools are random draws of its records, with
their real texts and vectors. No model is asked: each record gets a made-up quality, and a judge
sees it with noise, half of which (in variance) is its lasting error about a record; the other half
is drawn again at every vote. All ways to select get the same pools, prompts, judges and ballots.
"""

import argparse
import csv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
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
from tasks.llm_select.votes import order

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
    "quality",
    "words",
    "outputs",
    "student",
)

Floats = NDArray[np.float64]


class Pool(NamedTuple):
    """Real records, grouped into prompts, and what measures a selection of them."""

    vectors: Vectors
    prompts: list[Rows]
    unit: float  # the bonus for a judge score of 1 at weight 1
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
    """The votes of a judge on prompts: ranks from 0, shape (votes, size) for each prompt."""

    def __init__(self, pool: Pool, judge: Judge, prompts: list[Rows], seed: int) -> None:
        self.prompts = prompts
        rng = np.random.default_rng((seed, 2))
        self.ranks = [self._rank(pool, judge, prompt, rng) for prompt in prompts]

    @staticmethod
    def _rank(pool: Pool, judge: Judge, prompt: Rows, rng: np.random.Generator) -> Floats:
        n, noise = len(prompt), (1 - judge.skill**2) ** 0.5 * 0.5**0.5
        ranks = np.empty((judge.votes, n))
        for vote in range(judge.votes):
            shown = list(order(n, vote + 1, judge.votes))
            seen = judge.skill * pool.quality[prompt] + noise * (
                pool.error[prompt] + rng.standard_normal(n)
            )
            slots = np.interp(np.arange(n), np.linspace(0, n - 1, SIZE), EFFECTS[judge.bias])
            utility = seen[shown] + BIAS * slots
            ranks[vote, np.array(shown)[np.argsort(-utility)]] = np.arange(n)
        return ranks

    def scores(self, shortlist: int, definition: str = "linear") -> tuple[Rows, Floats]:
        """Return all judged rows and their judge scores."""
        value = DEFINITIONS[definition]
        scores = [value(ranks, shortlist).mean(axis=0) for ranks in self.ranks]
        return np.concatenate(self.prompts), np.concatenate(scores)

    def by_rank(self, prompt_order: Rows) -> Rows:
        """Return the rows by Borda rank in their prompts: all firsts, then all seconds ..."""
        ranked = [
            self.prompts[p][self.ranks[p].sum(axis=0).argsort(kind="stable")] for p in prompt_order
        ]
        return np.array([row[i] for i in range(SIZE) for row in ranked if i < len(row)])


DEFINITIONS = {
    "linear": lambda ranks, s: np.maximum(0, 1 - ranks / s),
    "reciprocal": lambda ranks, s: np.where(ranks < s, 1 / (1 + ranks), 0),
    "first": lambda ranks, s: np.where(ranks < 1, 1.0, np.where(ranks < s, 1e-9, 0)),
}


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
    questions = np.random.default_rng((seed, 1)).permutation(len(drawn))[:N_QUESTIONS]
    answers = [words(output) for output in outputs]
    rng = np.random.default_rng((seed, 2))
    return Pool(
        vectors,
        prompts,
        float(judge_bonus(np.ones(1), 1, vectors, len(prompts))[0]),
        {name: space @ space.T for name, space in spaces.items()},
        questions,
        rouge_l_table(answers, [answers[row] for row in questions]),
        rng.standard_normal(len(drawn)),
        rng.standard_normal(len(drawn)),
    )


def covering(pool: Pool, candidates: Rows, scores: Floats, weight: float, n: int) -> Rows:
    """Return n of the candidates by coverage and judge score, in order."""
    bonus = scores * weight * pool.unit
    return greedy(pool.vectors, candidates, min(n, len(candidates)), bonus=bonus).rows


def listed(  # noqa: PLR0913, PLR0917
    pool: Pool, ballots: Ballots, shortlist: int, weight: float, n: int, definition: str = "linear"
) -> Rows:
    """Return a selection from the shortlists alone."""
    rows, scores = ballots.scores(shortlist, definition)
    is_listed = scores > 0
    return covering(pool, rows[is_listed], scores[is_listed], weight, n)


def second_round(  # noqa: PLR0913, PLR0917
    pool: Pool, judge: Judge, ballots: Ballots, n_each: int, prompt_order: Rows, seed: int
) -> Ballots:
    """Return the ballots on the first `n_each` of each prompt, at no more calls in all.

    Prompts that would be asked last in the first round are left out to pay for the second.
    """
    n_first = int(len(prompt_order) / (1 + n_each / SIZE))
    winners = ballots.by_rank(prompt_order[:n_first])[: n_each * n_first]
    n_prompts = -(-len(winners) // SIZE)
    again = group(pool.vectors[winners], Mode.WITHIN, Geometry(n_prompts, SIZE), seed).prompts
    return Ballots(pool, judge, [winners[rows] for rows in again], seed + 1000)


def larger_prompts(pool: Pool, judge: Judge, seed: int) -> Iterator[tuple[str, Rows]]:
    """Yield a selection of 0.3 K from 0.3 K prompts of 47: fewer calls, the same texts."""
    n = round(0.3 * len(pool.prompts))
    geometry = Geometry(n, -(-len(pool.vectors) // n))
    ballots = Ballots(pool, judge, group(pool.vectors, Mode.WITHIN, geometry, seed).prompts, seed)
    rows = listed(pool, ballots, 5, 1 / 0.3, n)  # the unit, too, is that of 0.3 K prompts
    yield "0.3 K prompts, list 5, weight 1", rows


def ways(pool: Pool, judge: Judge, seed: int) -> Iterator[tuple[str, Rows]]:
    """Yield the name of each way to select, and its selection in order."""
    k = len(pool.prompts)
    n = int(max(BUDGETS) * k)
    prompt_order = np.random.default_rng((seed, 3)).permutation(k)
    ballots = Ballots(pool, judge, pool.prompts, seed)
    yield "first picks", ballots.by_rank(prompt_order)
    if judge.bias != "none" or judge.votes > 1:
        for shortlist in (3, 5):
            yield f"list {shortlist}, weight 1", listed(pool, ballots, shortlist, 1, n)
        return
    yield "list 1", listed(pool, ballots, 1, 1, n)
    for shortlist in SHORTLISTS:
        for weight in WEIGHTS:
            yield f"list {shortlist}, weight {weight}", listed(pool, ballots, shortlist, weight, n)
    for shortlist in (3, 5):
        rows = covering(pool, *ballots.scores(shortlist), 1, n)
        yield f"soft {shortlist}, weight 1", rows
    for definition in ("reciprocal", "first"):
        rows = listed(pool, ballots, 3, 1, n, definition)
        yield f"list 3, weight 1, {definition}", rows
    yield from larger_prompts(pool, judge, seed)
    for n_each in (1, 3):
        again = second_round(pool, judge, ballots, n_each, prompt_order, seed)
        yield f"tournament of {n_each}", again.by_rank(np.arange(len(again.prompts)))
        for weight in (1, 4):
            rows = listed(pool, again, SIZE, weight, n)
            yield f"second round of {n_each}, weight {weight}", rows


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
        for way, rows in ways(pool, judge, seed):
            for share, n in budgets.items():
                if len(rows) >= n:
                    gain = pool.figures(rows[:n]) - random[n].mean(axis=0)
                    z = gain / random[n].std(axis=0, ddof=1)
                    yield name, *judge, way, share, pool.quality[rows[:n]].mean(), *z


def main() -> None:
    """Simulate, and write the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspaces", type=Path, nargs="+")
    arguments.add_argument("--pools", type=int, default=10, help="draws from each workspace")
    arguments.add_argument("--to", type=Path, required=True, help="CSV file")
    given = arguments.parse_args()
    with (
        given.to.open("w", encoding="utf-8", newline="") as file,
        ProcessPoolExecutor(2) as workers,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        seeds = [(path, seed) for seed in range(given.pools) for path in given.workspaces]
        for rows in workers.map(measure, *zip(*seeds, strict=True)):
            table.writerows(rows)
            file.flush()


if __name__ == "__main__":
    main()
