"""Turn a judge into a random one: shuffle the ranks and scores within each prompt.

    python benchmarks/random_judge.py WORKSPACE

Then run choose, baseline and measure in the workspace. llm_select must have run there with one
vote. Candidates that could not be judged keep their places.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def shuffled(ballots: pa.Table, seed: int) -> pa.Table:
    """Return ballots in which each judged record of a prompt may have the rank of any other."""
    rng = np.random.default_rng(seed)
    prompts = ballots["prompt"].to_numpy()
    is_judged = ballots["set_aside"].is_null().to_numpy()
    order = np.arange(len(prompts))
    for prompt in np.unique(prompts):
        rows = np.flatnonzero((prompts == prompt) & is_judged)
        order[rows] = rng.permutation(rows)
    for name in ("rank", "score"):
        place = ballots.schema.get_field_index(name)
        ballots = ballots.set_column(place, ballots.schema.field(name), ballots[name].take(order))
    return ballots


def main() -> None:
    """Replace the ballots of a workspace."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    path = given.workspace / "data/llm_select/ballots.parquet"
    pq.write_table(shuffled(pq.read_table(path), given.seed), path)


if __name__ == "__main__":
    main()
