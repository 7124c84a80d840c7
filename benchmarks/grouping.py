"""Measure the time, inertia and peak memory of balanced k-means and of other solvers.

    python benchmarks/grouping.py generate BIG.npy 1000000 --like data/embed/vectors.npy
    python benchmarks/grouping.py exact VECTORS.npy 51      (and k-means-constrained)
    python benchmarks/grouping.py plain BIG.npy 50          (and plain k-means, 10 iterations)
    python benchmarks/grouping.py within VECTORS.npy 14     (and plain k-means, same clusters)
    python benchmarks/grouping.py growth BIG.npy            (from 62,500 vectors, doubling)
    python benchmarks/grouping.py solvers VECTORS.npy 20000 (both solvers on 20,000 pairs)

Each solver runs in its own process. The solvers that are compared start from the same centres.
scikit-learn runs on one core and on all cores, since one core may be faster on a busy machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from tasks.lib.kmeans import balanced as ours
from tasks.lib.kmeans.assign_rows import Bounds
from tasks.lib.kmeans.balanced import equal_size_kmeans
from tasks.lib.kmeans.lloyd import lloyd
from tasks.lib.kmeans.partition import Vectors, inertia, rows_of

ITERATIONS = 10  # of each solver in `plain`
CLUSTERS = [2, 4, 7, 9, 14, 32, 60, 100]  # in `solvers`
NOISE = 0.6  # length of the noise added to a vector of unit length
BLOCK = 50_000  # vectors generated at a time
HEAD = "| vectors | clusters | solver | seconds | CPU s | iterations | inertia | sizes | peak MB |"
Solve = Callable[[Vectors, Vectors, int], tuple[Any, int]]


def exact(vectors: Vectors, start: Vectors, k: int) -> tuple[Any, int]:
    """Run k-means-constrained until it converges."""
    from k_means_constrained import KMeansConstrained  # noqa: PLC0415  OR-Tools

    n = len(vectors)
    solver = KMeansConstrained(
        k, size_min=n // k, size_max=-(-n // k), init=start, n_init=1, random_state=0
    )
    solver.fit(np.array(vectors))
    return solver.labels_, solver.n_iter_


def balanced(vectors: Vectors, start: Vectors, k: int) -> tuple[Any, int]:
    """Run our balanced k-means until it converges."""
    return _balanced(vectors, start, k, max_iter=300, tol=1e-5)


def balanced_10(vectors: Vectors, start: Vectors, k: int) -> tuple[Any, int]:
    """Run our balanced k-means for 10 iterations."""
    return _balanced(vectors, start, k, max_iter=ITERATIONS, tol=0)


def _balanced(
    vectors: Vectors, start: Vectors, k: int, *, max_iter: int, tol: float
) -> tuple[Any, int]:
    bounds = Bounds(np.full(k, len(vectors) // k), np.full(k, -(-len(vectors) // k)))
    with threadpool_limits(1):
        result = lloyd(vectors, start, bounds, max_iter=max_iter, tol=tol)
    return result.labels, result.n_iter


def plain_10(vectors: Vectors, start: Vectors, k: int) -> tuple[Any, int]:
    """Run plain k-means for 10 iterations."""
    solver = KMeans(k, init=start, n_init=1, max_iter=ITERATIONS, tol=0).fit(vectors)
    return solver.labels_, solver.n_iter_


def plain(vectors: Vectors, _: Vectors, k: int) -> tuple[Any, int]:
    """Run plain k-means with its default settings."""
    solver = KMeans(k, n_init=1, random_state=0).fit(vectors)
    return solver.labels_, solver.n_iter_


def tree(vectors: Vectors, _: Vectors, k: int) -> tuple[Any, int]:
    """Run our solver for any number of clusters."""
    return equal_size_kmeans(vectors, k, 0).labels, 0


SOLVERS: dict[str, Solve] = {
    "k-means-constrained": exact,
    "balanced": balanced,
    "balanced, 10": balanced_10,
    "scikit-learn, 10": plain_10,
    "scikit-learn": plain,
    "balanced tree": tree,
}
COMPARED = {
    "exact": [("k-means-constrained", None), ("balanced", None)],
    "plain": [("scikit-learn, 10", 1), ("scikit-learn, 10", None), ("balanced, 10", None)],
    "within": [("scikit-learn", 1), ("scikit-learn", None), ("balanced tree", None)],
}


def main() -> None:
    """Measure, and print a table in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("what", choices=["generate", "growth", "one", "solvers", *COMPARED])
    arguments.add_argument("vectors", type=Path)
    arguments.add_argument("number", type=int, nargs="?", default=20)
    arguments.add_argument(
        "--like", type=Path, help="vectors that the generated ones should resemble"
    )
    arguments.add_argument(
        "--first", type=int, help="use only this many vectors, from the first one"
    )
    arguments.add_argument("--clusters", type=int, nargs="+", default=CLUSTERS)
    arguments.add_argument("--solver", choices=SOLVERS)
    arguments.add_argument("--without", action="append", default=[], help="a solver to leave out")
    given = arguments.parse_args()
    if given.what == "generate":
        generate(given.vectors, given.number, np.load(given.like, mmap_mode="r"))
    elif given.what == "one":
        print(json.dumps(solve(given.vectors, given.first, given.number, given.solver)))
    elif given.what == "growth":
        growth(given.vectors)
    elif given.what == "solvers":
        solvers(np.load(given.vectors), given.number, given.clusters)
    else:
        n = given.first or len(np.load(given.vectors, mmap_mode="r"))
        k = -(-n // given.number) if given.what == "within" else given.number
        print(f"{HEAD}\n|{'---|' * 9}")
        for name, n_cores in COMPARED[given.what]:
            if name not in given.without:
                row(given.vectors, n, k, name, n_cores)


def generate(path: Path, n: int, like: Vectors) -> None:
    """Write unit vectors that cluster like those in `like`: a random sample of them, plus noise."""
    rng, d = np.random.default_rng(0), like.shape[1]
    made = open_memmap(path, "w+", np.float32, (n, d))
    for start in range(0, n, BLOCK):
        drawn = like[rng.integers(len(like), size=min(BLOCK, n - start))]
        drawn = drawn + rng.standard_normal(drawn.shape, np.float32) * (NOISE / d**0.5)
        made[start : start + BLOCK] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def growth(path: Path) -> None:
    """Measure how CPU time grows with the number of vectors, in both modes."""
    print(f"{HEAD}\n|{'---|' * 9}")
    counts = [62_500 * 2**i for i in range(5)]
    for name, clusters in (("balanced, 10", lambda n: 50), ("balanced tree", lambda n: n // 20)):
        cpu_s = [row(path, n, clusters(n), name, None) for n in counts]
        slope = np.polyfit(np.log(counts), np.log(cpu_s), 1)[0]
        print(f"{name}: CPU time grows as n^{slope:.2f}", flush=True)


def solvers(vectors: Vectors, n_pairs: int, clusters: list[int]) -> None:
    """Compare both solvers of the cluster step for `n_pairs` pairs; print the maxima of 3 seeds."""
    from tasks.lib.kmeans import constrained  # noqa: PLC0415  OR-Tools

    in_flow_s = []

    class Timed(constrained.KMeansConstrained):  # type: ignore[misc]  # untyped
        def fit(self, *words: Any) -> Any:
            began = time.process_time()
            try:
                return super().fit(*words)
            finally:
                in_flow_s.append(time.process_time() - began)

    constrained.KMeansConstrained = Timed
    print("| records | clusters | k-means-constrained, CPU s | alone | balanced | inertia |")
    print("|---|---|---|---|---|---|")
    for k in clusters:
        n = n_pairs // k
        if not k < n <= len(vectors):
            continue
        cpu_s: dict[Any, list[float]] = {constrained: [], ours: []}
        in_flow, ratios = [], []
        for seed in range(3):
            in_flow_s.clear()
            tightness = []
            for solver, spent in cpu_s.items():
                began = time.process_time()
                tightness.append(solver.equal_size_kmeans(vectors[:n], k, seed).inertia)
                spent.append(time.process_time() - began)
            in_flow.append(sum(in_flow_s))
            ratios.append(100 * (tightness[0] / tightness[1] - 1))
        print(
            f"| {n:,} | {k} | {max(cpu_s[constrained]):.2f} | {max(in_flow):.2f} | "
            f"{max(cpu_s[ours]):.2f} | {min(ratios):+.2f} to {max(ratios):+.2f} % |",
            flush=True,
        )


def row(path: Path, n: int, k: int, name: str, n_cores: int | None) -> float:
    """Print one measurement; return its CPU seconds."""
    env = os.environ | ({"OMP_NUM_THREADS": str(n_cores)} if n_cores else {})
    command = [sys.executable, __file__, "one", path, str(k), "--first", str(n), "--solver", name]
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    output = child.stdout.read() if child.stdout else ""
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{name} ended with exit status {status}")
    result = json.loads(output)
    cores = f" ({n_cores} core)" if n_cores else ""
    sizes = f"{result['least']} to {result['most']}"
    print(
        f"| {n} | {k} | {name}{cores} | {result['seconds']:.1f} | "
        f"{result['cpu_s']:.1f} | {result['n_iter'] or ''} | {result['inertia']:.0f} | {sizes} | "
        f"{usage.ru_maxrss / 1024:.0f} |",
        flush=True,
    )
    return float(result["cpu_s"])


def solve(path: Path, n: int | None, k: int, name: str) -> dict[str, Any]:
    """Run one solver on the first `n` vectors; return the measurements."""
    vectors = np.asarray(np.load(path, mmap_mode="r")[:n])
    sample = vectors[:: max(len(vectors) // (200 * k), 1)]
    start, _ = kmeans_plusplus(sample, k, random_state=0) if k <= 200 else (vectors[:1], 0)
    warnings.simplefilter("ignore", ConvergenceWarning)
    began, cpu_began = time.perf_counter(), time.process_time()
    labels, n_iter = SOLVERS[name](vectors, start, k)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    sizes = np.bincount(labels, minlength=k)
    clusters = [rows for rows in rows_of(labels, k) if len(rows)]
    return {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "n_iter": int(n_iter),
        "inertia": inertia(vectors, clusters),
        "least": int(sizes.min()),
        "most": int(sizes.max()),
    }


if __name__ == "__main__":
    main()
