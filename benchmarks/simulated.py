"""Simulate judges of real records: pools, votes, and judge scores from the project's own code.

No model is called. Each record gets a made-up quality, and a judge sees this quality with noise.
Half of the noise (in variance) is the judge's lasting error about the record; the other half is
drawn again for every vote.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.coverage.greedy import judge_unit
from tasks.lib.prompts.group import group
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.similarity.lsa import lexical_space
from tasks.lib.similarity.words import rouge_l_table, words
from tasks.llm_select.votes import (
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
N_QUESTIONS = 300  # for the student
N_DIMS = 128
BIAS = 2.0  # the effect of a slot, in standard deviations of what a judge sees
SLOTS = np.arange(SIZE)
EFFECTS = {
    "none": np.zeros(SIZE),
    "first slot": (SLOTS == 0).astype(float),
    "last slot": (SLOTS == SIZE - 1).astype(float),
    "early slots": 1 - SLOTS / (SIZE - 1),
    "middle dip": (2 * SLOTS / (SIZE - 1) - 1) ** 2,
}

Floats = NDArray[np.float64]


class Pool(NamedTuple):
    """Real records, grouped into prompts, and the data by which a selection is measured."""

    vectors: Vectors
    prompts: list[Rows]
    slots: Rows  # of each record, from 0
    unit: float  # the bonus for a judge score of 1 at weight 1
    cosines: dict[str, Vectors]  # of all pairs of records, in each space that measures coverage
    questions: Rows
    rouge_l: Vectors  # of every record's output with that of each question
    quality: Floats  # made up: shape (m,), mean 0, variance 1
    error: Floats  # the lasting part of a judge's error

    def figures(self, rows: Rows) -> Floats:
        """Return the coverage of words and of outputs, and the ROUGE-L of the student."""
        coverage = [table[rows].max(axis=0).mean() for table in self.cosines.values()]
        near = self.vectors[self.questions] @ self.vectors[rows].T
        near[self.questions[:, None] == rows] = -2  # no record answers its own question
        answers = self.rouge_l[rows[near.argmax(axis=1)], np.arange(len(self.questions))]
        return np.array([*coverage, answers.mean()])


class Judge(NamedTuple):
    """A simulated judge: its skill, its bias, and its number of votes."""

    skill: float
    bias: str = "none"
    votes: int = 1


class Ballots:
    """The votes of a judge on prompts; each vote ranks all slots."""

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
        """Return the combined ranking of each prompt, and the total number of calls."""
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
        """Return the rows by rank in their prompts: all firsts, then all seconds, and so on."""
        ranked, _ = self.rankings(n_ranked)
        rows = [self.prompts[p][np.array(ranked[p]) - 1] for p in prompt_order]
        return np.array([row[i] for i in range(n_ranked) for row in rows if i < len(row)])


Score = Callable[[Ranking, int, int], list[float]]


def reciprocal_scores(ranking: Ranking, n_slots: int, shortlist: int) -> list[float]:
    """Return 1 / rank for each slot of the shortlist."""
    scores = dict(zip(ranking[:shortlist], 1 / np.arange(1, shortlist + 1), strict=False))
    return [float(scores.get(slot, 0)) for slot in range(1, n_slots + 1)]


def first_scores(ranking: Ranking, n_slots: int, shortlist: int) -> list[float]:
    """Return 1 for the first slot, and almost nothing for the others on the shortlist."""
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
        judge_unit(vectors, k),
        {name: space @ space.T for name, space in spaces.items()},
        questions,
        rouge_l_table(answers, [answers[row] for row in questions]),
        rng.standard_normal(len(drawn)),
        rng.standard_normal(len(drawn)),
    )
