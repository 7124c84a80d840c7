"""Group the records by their vectors, and compose the prompts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.cluster.earlier_prompts import Grouped, check_growth, geometry_metadata, read_earlier
from tasks.cluster.inputs import finite_vectors, text_lengths
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_section, load_seed
from tasks.lib.core.schemas import PROMPTS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.documents.clusters import Clusters
from tasks.lib.kmeans.partition import Solver, Vectors
from tasks.lib.kmeans.solver import CPU_S_PER_PAIR, SolverParam, choose, is_quick, load
from tasks.lib.prompts.group import Clustered, group
from tasks.lib.prompts.prompt_size import GeometryParams, Mode


class Cluster(GeometryParams):
    """The cluster section of params.yaml."""

    solver: Annotated[SolverParam, Field(strict=False)]
    max_memory_mb: int = Field(ge=1)
    earlier_prompts: str = Field(min_length=1)


def check(values: Mapping[str, Any]) -> Cluster:
    """Check the cluster section and the seed, and return the section.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range; or
            candidates_per_prompt and n_prompts are both set, or both null; or earlier prompts
            cannot be kept.
    """
    load_seed(values)
    params = load_section(values, "cluster", Cluster)
    check_growth(params.earlier_prompts, params)
    return params


def cluster(
    vectors: Vectors, params: Cluster, seed: int, n_bytes: NDArray[np.int64] | None = None
) -> Clustered:
    """Group the records with `tasks.lib.prompts.group.group`, after checking the memory it needs.

    Raises:
        ParamError: The solver needs more memory than allowed (the message says how much), or
            n_prompts does not fit the records.
    """
    if params.mode is not Mode.PAPER:
        _require_memory(vectors, params)
    geometry = params.geometry(len(vectors))
    return group(vectors, params.mode, geometry, seed, n_bytes, solver=params.solver)


def work(stage: Stage) -> None:
    """Read the vectors, and write the prompts and a summary of the clusters."""
    params, seed = check(stage.values), load_seed(stage.values)
    unique_file = stage.dep("dedupe/unique.parquet")
    unique_ids = read_table(unique_file, UNIQUE)["id"]
    n_bytes = text_lengths(stage.dep("ingest/pool.parquet"), unique_file, unique_ids)
    ids = [str(id_) for id_ in unique_ids.to_pylist()]
    vectors = finite_vectors(stage.dep("embed/vectors.npy"), ids)
    earlier = read_earlier(Path(params.earlier_prompts), ids, params)
    is_new = np.ones(len(ids), np.bool_)
    is_new[earlier.rows] = False
    new = np.flatnonzero(is_new)
    clustered = cluster(vectors[new], params, seed, n_bytes[new]) if len(new) else None
    grouped = earlier
    if clustered:
        labels = clustered.partition.labels[np.concatenate(clustered.prompts)]
        own = Grouped([new[prompt] for prompt in clustered.prompts], labels)
        grouped = earlier.followed_by(own)
    schema = PROMPTS.with_metadata(geometry_metadata(params))
    write_table(stage.out("cluster/prompts.parquet"), _table(ids, grouped), schema)
    summary = _summary(grouped, len(earlier.prompts), clustered, params, seed)
    Clusters.model_validate(summary).write(stage.out("cluster/clusters.json"))
    log.info(
        "cluster: %(n_records)d records in %(n_prompts)d prompts (%(mode)s mode); %(n_clusters)d "
        "clusters with inertia %(inertia)g from %(solver)s: %(solver_reason)s",
        summary,
    )
    if earlier.prompts:
        log.info(
            "cluster: %s records keep their %s earlier prompts; %s new ones form %s prompts",
            *(f"{n:,}" for n in (len(ids) - len(new), len(earlier.prompts), len(new))),
            f"{len(grouped.prompts) - len(earlier.prompts):,}",
        )


def _require_memory(vectors: Vectors, params: Cluster) -> None:
    """Check that the solver needs at most cluster.max_memory_mb; warn if it will be slow."""
    n, d = vectors.shape
    n_clusters = params.geometry(n).n_clusters(params.mode, n)
    chosen = choose(params.solver, n, n_clusters).solver
    needed = load(chosen).memory_mb(n, n_clusters, d)
    if needed > params.max_memory_mb:
        ours = load(Solver.BALANCED).memory_mb(n, n_clusters, d)
        other = f", or set cluster.solver to balanced, which needs {ours}" if ours < needed else ""
        raise ParamError(
            f"{n} records in {n_clusters} clusters need {needed} MB, but the limit is "
            f"{params.max_memory_mb} MB",
            where=f"{PARAMS_FILE}: cluster.max_memory_mb",
            fix=f"Set it to {needed} or more{other}.",
        )
    if chosen is Solver.K_MEANS_CONSTRAINED and not is_quick(n, n_clusters):
        _warn_of_cost(n, n_clusters, needed)


def _warn_of_cost(n: int, n_clusters: int, needed_mb: int) -> None:
    cpu_s = n * n_clusters * CPU_S_PER_PAIR
    log.warning(
        "cluster: k-means-constrained may take %s s of processor time and %s MB for %s records in "
        "%s clusters; with cluster.solver set to balanced, it takes far less",
        *(f"{number:,.0f}" for number in (cpu_s, needed_mb, n, n_clusters)),
    )


def _table(ids: Sequence[str], grouped: Grouped) -> pa.Table:
    """Return the rows of PROMPTS; prompts, slots and clusters are numbered from 1."""
    sizes = [len(prompt) for prompt in grouped.prompts]
    slots = np.concatenate([np.arange(size) for size in sizes])
    return pa.table(
        {
            "prompt": pa.array(np.repeat(np.arange(len(sizes)), sizes) + 1),
            "slot": pa.array(slots + 1),
            "id": pa.array([ids[row] for row in grouped.rows]),
            "cluster": pa.array(grouped.clusters + 1),
        }
    )


def _summary(
    grouped: Grouped, n_earlier: int, new: Clustered | None, params: Cluster, seed: int
) -> dict[str, Any]:
    """Return the content of clusters.json; more digits of inertia would differ between machines."""
    partition = new.partition if new else None
    n_records = len(grouped.clusters)
    return {
        "mode": params.mode.value,
        "solver": partition.solver.value if partition else params.solver.value,
        "solver_reason": partition.reason if partition else "every record keeps its prompt",
        "seed": seed,
        "n_records": n_records,
        "n_prompts": len(grouped.prompts),
        "n_earlier_prompts": n_earlier,
        "n_clusters": grouped.n_clusters,
        "candidates_per_prompt": params.geometry(n_records).candidates_per_prompt,
        "inertia": float(f"{partition.inertia:.6g}") if partition else 0.0,
        "cluster_sizes": np.bincount(grouped.clusters).tolist(),
    }
