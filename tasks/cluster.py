"""Group the records by their vectors, and compose the prompts of the first round."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.core.errors import ParamError
from tasks.core.events import log
from tasks.core.params import PARAMS_FILE, Params, load_section, load_seed
from tasks.core.schemas import PROMPTS, UNIQUE
from tasks.core.stage import Stage, run_step
from tasks.core.tables import read_table, write_table
from tasks.grouping.compose import Mode, compose
from tasks.grouping.inputs import read_vectors, text_lengths
from tasks.grouping.partition import Partition, Rows, Vectors


class Cluster(Params):
    """Section cluster of params.yaml."""

    mode: Annotated[Mode, Field(strict=False)]  # a string in YAML
    candidates_per_prompt: int = Field(ge=2, le=200)
    max_memory_mb: int = Field(ge=1)


class Clustered(NamedTuple):
    """Prompts, each with the rows of its candidates in the order of their slots."""

    prompts: list[Rows]
    partition: Partition


def check(values: Mapping[str, Any]) -> Cluster:
    """The checked section; the seed is checked, too.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "cluster", Cluster)


def cluster(
    vectors: Vectors, params: Cluster, seed: int, n_bytes: NDArray[np.int64] | None = None
) -> Clustered:
    """Prompts that hold every record once, in sizes that differ by at most 1.

    With M records and at most R candidates in a prompt there are K = ceil(M / R) prompts. Mode
    within makes K clusters of alike records, and each is a prompt. Modes across and paper make R
    clusters, and each prompt takes at most one record of each; across by equal-size k-means and a
    seeded draw that levels the prompts' lengths, paper as the paper's Algorithm 2 does.

    The paper's text does not say which member of a cluster goes to which prompt. Here prompt p
    takes the p-th record that each cluster took (the authors' code goes by file order), and its
    slots follow the clusters' numbers. Where R does not divide M, the authors' code shows some
    records twice; here the last clusters have one record less, and each is dealt from the prompt
    where the one before it ended.

    Args:
        vectors: float32, shape (M, d), finite, M at least 1, row i is record i.
        params: Mode, R, and the most memory to take beside the vectors.
        seed: Of cluster starts, of the draw and of slots.
        n_bytes: int64, shape (M,), of each record's text in UTF-8; without it lengths are as they
            fall.

    Raises:
        ParamError: The memory is too little; says how much is needed.
    """
    n = len(vectors)
    size = params.candidates_per_prompt
    n_clusters = -(-n // size) if params.mode is Mode.WITHIN else min(size, n)
    partition = _partition(vectors, n_clusters, params, seed)
    by_cluster = np.concatenate(partition.clusters)
    lengths = None if n_bytes is None else n_bytes[by_cluster]
    prompts = compose(partition.labels[by_cluster], size, params.mode, seed, lengths)
    return Clustered([by_cluster[prompt] for prompt in prompts], partition)


def work(stage: Stage) -> None:
    """Read vectors, write prompts and what is to be known of the clusters."""
    params, seed = check(stage.values), load_seed(stage.values)
    unique = read_table(stage.dep("dedupe/unique.parquet"), UNIQUE)
    ids = [str(id_) for id_ in unique["id"].to_pylist()]
    vectors = read_vectors(stage.dep("embed/vectors.npy"), ids)
    n_bytes = text_lengths(stage.dep("ingest/pool.parquet"), unique["id"])
    clustered = cluster(vectors, params, seed, n_bytes)
    write_table(stage.out("cluster/prompts.parquet"), _table(ids, clustered), PROMPTS)
    summary = _summary(clustered, params, seed)
    stage.out("cluster/clusters.json").write_text(
        json.dumps(summary, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )
    log.info(
        "cluster: %(n_records)d records in %(n_prompts)d prompts, %(mode)s %(n_clusters)d clusters "
        "of equal size (%(solver)s, inertia %(inertia)g)",
        summary,
    )


def _partition(vectors: Vectors, n_clusters: int, params: Cluster, seed: int) -> Partition:
    if params.mode is Mode.PAPER:
        from tasks.grouping.round_robin import round_robin  # noqa: PLC0415  scikit-learn

        return round_robin(vectors, n_clusters, seed)
    from tasks.grouping.balanced import (  # noqa: PLC0415  scikit-learn
        equal_size_kmeans,
        memory_mb,
    )

    needed = memory_mb(len(vectors), n_clusters, vectors.shape[1])
    if needed > params.max_memory_mb:
        raise ParamError(
            f"{len(vectors)} records in {n_clusters} clusters need {needed} MB, "
            f"not {params.max_memory_mb}",
            where=f"{PARAMS_FILE}: cluster.max_memory_mb",
            fix=f"Set it to {needed} or more.",
        )
    return equal_size_kmeans(vectors, n_clusters, seed)


def _table(ids: Sequence[str], clustered: Clustered) -> pa.Table:
    """Rows of PROMPTS; prompts, slots and clusters count from 1."""
    rows = np.concatenate(clustered.prompts)
    sizes = [len(prompt) for prompt in clustered.prompts]
    slots = np.concatenate([np.arange(size) for size in sizes])
    return pa.table(
        {
            "prompt": pa.array(np.repeat(np.arange(len(sizes)), sizes) + 1),
            "slot": pa.array(slots + 1),
            "id": pa.array([ids[row] for row in rows]),
            "cluster": pa.array(clustered.partition.labels[rows] + 1),
        }
    )


def _summary(clustered: Clustered, params: Cluster, seed: int) -> dict[str, Any]:
    """What clusters.json says; inertia to 6 digits, since its last ones tell the machine."""
    cluster_sizes = [len(rows) for rows in clustered.partition.clusters]
    return {
        "mode": params.mode.value,
        "solver": clustered.partition.solver.value,
        "seed": seed,
        "n_records": sum(cluster_sizes),
        "n_prompts": len(clustered.prompts),
        "n_clusters": len(cluster_sizes),
        "candidates_per_prompt": params.candidates_per_prompt,
        "inertia": float(f"{clustered.partition.inertia:.6g}"),
        "cluster_sizes": cluster_sizes,
    }


if __name__ == "__main__":
    run_step("cluster", work)
