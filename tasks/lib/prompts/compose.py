"""Compose prompts from candidates whose clusters are known."""

import numpy as np
from numpy.typing import NDArray

from tasks.lib.prompts.prompt_size import Mode

SHOWN_BYTES = 2_000  # a longer text counts as this long, since llm_select shortens it


def compose(
    clusters: NDArray[np.int32],
    n_prompts: int,
    mode: Mode,
    seed: int,
    n_bytes: NDArray[np.int64] | None = None,
) -> list[NDArray[np.intp]]:
    """Return prompts, each an array of indices of candidates in the order of their slots.

    Every candidate is in exactly one prompt, and the sizes of prompts differ by at most 1.
    Candidates are sorted by cluster number, then

    - within: cut into consecutive runs, the longer ones first; if the clusters have the same sizes
      in the same order, each cluster becomes a prompt;
    - across and paper: dealt one by one to the prompts in turn, so that no prompt has two members
      of a cluster unless the cluster has more members than there are prompts.

    `seed` decides which member of a cluster goes to which prompt, and its slot, so neither depends
    on the order of the file or on the cluster. In across mode with `n_bytes`, each cluster's longer
    members go to the prompts with the shortest texts so far, so that prompts cost about the same.

    In paper mode, the members of a cluster go to prompts in the order given: the first member goes
    to the first prompt that gets a member of this cluster. Slots follow the cluster number, so
    cluster and slot are confounded, as in the paper: a judge that favours slot 1 favours a cluster.

    Args:
        clusters: int32, shape (n,), element i is the cluster of candidate i.
        n_prompts: At least 1 if there are candidates, and at most one per candidate.
        mode: How to combine clusters.
        seed: The seed for both random choices.
        n_bytes: int64, shape (n,), the length of each candidate's text in UTF-8.
    """
    if len(clusters) == 0:
        return []
    rng = np.random.default_rng(seed)
    drawn = np.arange(len(clusters)) if mode is Mode.PAPER else rng.permutation(len(clusters))
    by_cluster = drawn[np.argsort(clusters[drawn], kind="stable")]
    if mode is Mode.ACROSS and n_bytes is not None:
        by_cluster = _level(by_cluster, clusters, n_prompts, np.minimum(n_bytes, SHOWN_BYTES))
    if mode is Mode.PAPER:
        by_cluster = _ascending(by_cluster, clusters, n_prompts)
    if mode is Mode.WITHIN:
        prompts = np.array_split(by_cluster, n_prompts)
    else:
        prompts = [by_cluster[start::n_prompts] for start in range(n_prompts)]
    return prompts if mode is Mode.PAPER else [rng.permutation(prompt) for prompt in prompts]


def _ascending(
    by_cluster: NDArray[np.intp], clusters: NDArray[np.int32], n_prompts: int
) -> NDArray[np.intp]:
    """Reorder each cluster so that its first members go to the prompts with the lowest numbers.

    Dealing a cluster starts at the prompt after the last one of the previous cluster. If clusters
    are smaller than the number of prompts, a prompt would otherwise mix records that were taken
    early and late.
    """
    order = np.lexsort((np.arange(len(by_cluster)) % n_prompts, clusters[by_cluster]))
    ordered = np.empty_like(by_cluster)
    ordered[order] = by_cluster
    return ordered


def _level(
    by_cluster: NDArray[np.intp],
    clusters: NDArray[np.int32],
    n_prompts: int,
    weights: NDArray[np.int64],
) -> NDArray[np.intp]:
    """Reorder candidates so that dealing them in turn gives all prompts about the same weight.

    A candidate swaps places only with members of its own cluster in the same turn of the deal,
    so each prompt still has members of the same clusters.
    """
    places = np.arange(len(by_cluster))
    of = clusters[by_cluster]
    starts = np.flatnonzero((np.diff(of, prepend=of[0] - 1) != 0) | (places % n_prompts == 0))
    levelled, loads = by_cluster.copy(), np.zeros(n_prompts, np.int64)
    for part in np.split(places, starts[1:]):
        lightest = part[np.argsort(loads[part % n_prompts], kind="stable")]
        heaviest = by_cluster[part[np.argsort(-weights[by_cluster[part]], kind="stable")]]
        levelled[lightest] = heaviest
        loads[lightest % n_prompts] += weights[heaviest]
    return levelled
