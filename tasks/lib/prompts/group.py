"""Group records into prompts according to their vectors."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.kmeans.partition import Partition, Rows, Vectors
from tasks.lib.kmeans.solver import SolverParam, choose, load
from tasks.lib.prompts.compose import compose
from tasks.lib.prompts.prompt_size import Geometry, Mode


class Clustered(NamedTuple):
    """The prompts, each with the rows of its candidates in slot order, and the clusters."""

    prompts: list[Rows]
    partition: Partition


def group(  # noqa: PLR0913  each is a parameter of the run
    vectors: Vectors,
    mode: Mode,
    geometry: Geometry,
    seed: int,
    n_bytes: NDArray[np.int64] | None = None,
    *,
    solver: SolverParam = SolverParam.BALANCED,
) -> Clustered:
    """Return prompts that contain every record exactly once; their sizes differ by at most 1.

    There are K prompts of at most R candidates. Within mode makes K clusters of similar records,
    each of which is a prompt. Across mode and paper mode make R clusters, and a prompt takes at
    most one record from each. Across mode uses equal-size k-means and a seeded draw that balances
    the prompts' lengths; paper mode follows the paper's Algorithm 2.

    The paper's text does not say which member of a cluster goes to which prompt. Here, prompt p
    gets the p-th record of each cluster in the order in which the cluster took them (in the
    authors' code, in file order), and its slots follow the clusters' numbers. If there are fewer
    than K times R records, the authors' code shows some of them twice. Here, some clusters then
    have fewer than K members; each of them skips some prompts, and different clusters skip
    different prompts.

    Args:
        vectors: float32, shape (M, d), finite, M at least 1, row i is record i.
        mode: How prompts are composed from clusters.
        geometry: K and R for M records.
        seed: The seed for cluster starts, the draw and the slots.
        n_bytes: The length of each record's text in UTF-8, int64, shape (M,); None to ignore it.
        solver: The solver that finds the clusters; ignored in paper mode.
    """
    n_clusters = geometry.n_clusters(mode, len(vectors))
    partition = _partition(vectors, mode, n_clusters, seed, solver)
    by_cluster = np.concatenate(partition.clusters)
    lengths = None if n_bytes is None else n_bytes[by_cluster]
    prompts = compose(partition.labels[by_cluster], geometry.n_prompts, mode, seed, lengths)
    return Clustered([by_cluster[prompt] for prompt in prompts], partition)


def _partition(
    vectors: Vectors, mode: Mode, n_clusters: int, seed: int, solver: SolverParam
) -> Partition:
    if mode is Mode.PAPER:
        from tasks.lib.kmeans.round_robin import round_robin  # noqa: PLC0415  scikit-learn

        return round_robin(vectors, n_clusters, seed)
    choice = choose(solver, len(vectors), n_clusters)
    partition = load(choice.solver).equal_size_kmeans(vectors, n_clusters, seed)
    return replace(partition, reason=choice.reason)
