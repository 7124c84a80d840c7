"""Compare ways to select more records than prompts: coverage and quality for three judges.

    python benchmarks/rounds.py WORKSPACE

A workspace is one in which llm_select has run with the offline judge, such as that of Dolly in
docs/explanation/evidence.md. Each prompt gives three records. Coverage is measured in words and in
outputs, in standard deviations of random selections.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from simulated import Floats

from tasks.lib.coverage.greedy import greedy, judge_unit
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows, Vectors
from tasks.lib.similarity.lsa import lexical_space

SHORTLIST, N_ROUNDS, N_RANDOM = 5, 3, 20
N_DIMS, N_COVERED = 256, 4_000
SKILL = 0.71  # correlation of what the simulated judge sees with the quality


class Way(NamedTuple):
    """A way to select.

    Attributes:
        name: What it does.
        unit: Returns the bonus of a judge score of 1 in a round, from the units of all rounds.
        is_soft: Whether all records can be selected from round 2 on, and not just the shortlists.
    """

    name: str
    unit: Callable[[list[float], int], float]
    is_soft: bool = False


WAYS = (
    Way("one round, shortlists of 5", lambda units, i: units[0]),
    Way("rounds, the bonus measured again", lambda units, i: units[i]),
    Way("the same, the bonus divided by the round", lambda units, i: units[i] / (i + 1)),
    Way(
        "the same, and all judged records from round 2 on",
        lambda units, i: units[i] / (i + 1),
        is_soft=True,
    ),
)


def select(vectors: Vectors, rows: Rows, ranks: Floats, n_prompts: int, way: Way) -> Rows:
    """Return the selection of a judge that gave these ranks to these rows."""
    units = [judge_unit(vectors, i * n_prompts) for i in range(1, N_ROUNDS + 1)]
    scores = np.maximum(0, (SHORTLIST + 1 - ranks) / SHORTLIST)
    taken = np.empty(0, np.intp)
    for i in range(N_ROUNDS):
        is_open = (scores > 0) | (way.is_soft and i > 0)
        is_open &= ~np.isin(rows, taken)
        bonus = scores[is_open] * way.unit(units, i)
        more = greedy(vectors, rows[is_open], n_prompts, bonus=bonus, annotated=taken)
        taken = np.concatenate([taken, more.rows])
    return taken


def ranks_of(values: Floats, prompts: Rows) -> Floats:
    """Return the rank of each value in its prompt, from 1, the highest first."""
    order = np.lexsort((-values, prompts))
    starts = np.searchsorted(prompts[order], prompts[order])
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values)) - starts + 1
    return ranks


def main() -> None:
    """Select in each way, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspace", type=Path)
    data = arguments.parse_args().workspace / "data"
    corpus = Corpus.read(
        data / "ingest/pool.parquet", data / "dedupe/unique.parquet", data / "embed/vectors.npy"
    )
    ballots = pq.read_table(data / "llm_select/ballots.parquet").to_pandas()
    ballots = ballots[ballots["set_aside"].isna()]
    row_of = {id_: row for row, id_ in enumerate(corpus.ids)}
    rows = np.array([row_of[id_] for id_ in ballots["id"]])
    prompts = ballots["prompt"].to_numpy(np.intp)
    n_prompts, m = int(prompts.max()), len(row_of)
    rng = np.random.default_rng(0)
    quality = rng.standard_normal(len(rows))
    seen = SKILL * quality + (1 - SKILL**2) ** 0.5 * rng.standard_normal(len(rows))
    judges = {
        "offline": ballots["rank"].astype(float).fillna(np.inf).to_numpy(),
        "at random": ranks_of(rng.standard_normal(len(rows)), prompts),
        "simulated": ranks_of(seen, prompts),
    }
    first_picks = quality[judges["simulated"] <= N_ROUNDS].mean()
    place_of = dict(zip(rows.tolist(), range(len(rows)), strict=True))

    covered = rng.choice(m, min(m, N_COVERED), replace=False)
    texts = [[text or "" for text in column] for column in (corpus.texts, corpus.outputs)]
    spaces = [lexical_space(column, N_DIMS, 0) for column in texts]
    cosines = [(space[covered] @ space.T).astype(np.float32) for space in spaces]

    def coverage(chosen: Rows) -> Floats:
        nearest = [table[:, chosen].max(axis=1) for table in cosines]
        return np.array([np.sqrt(np.maximum(0, 2 - 2 * best)).mean() for best in nearest])

    n = N_ROUNDS * n_prompts
    random = np.array([coverage(rng.choice(m, n, replace=False)) for _ in range(N_RANDOM)])
    print(f"{m:,} records, {n_prompts:,} prompts, {n:,} selected")
    print("| way | judge | words, z | outputs, z | of the first picks' quality |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        for name, ranks in judges.items():
            chosen = select(corpus.vectors, rows, ranks, n_prompts, way)
            z = (random.mean(axis=0) - coverage(chosen)) / random.std(axis=0, ddof=1)
            kept = quality[[place_of[row] for row in chosen.tolist()]].mean() / first_picks
            share = f"{kept:.0%}" if name == "simulated" else ""
            print(f"| {way.name} | {name} | {z[0]:.1f} | {z[1]:.1f} | {share} |", flush=True)


if __name__ == "__main__":
    main()
