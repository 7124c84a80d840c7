"""The two solvers of equal-size k-means: which one is chosen, and that they are equally good."""

import hashlib
import os
import subprocess
import sys

import pytest

from tasks.lib.kmeans import balanced, constrained
from tasks.lib.kmeans.partition import Solver, inertia
from tasks.lib.kmeans.solver import MAX_PAIRS, SolverParam, choose, load
from tests.pools import uneven_blobs, unit_vectors

# The choice


@pytest.mark.parametrize(
    ("wanted", "n", "n_clusters", "solver"),
    [
        ("auto", 435, 32, Solver.K_MEANS_CONSTRAINED),
        ("auto", 4000, 10, Solver.K_MEANS_CONSTRAINED),
        ("auto", 4001, 10, Solver.BALANCED),
        ("balanced", 10, 2, Solver.BALANCED),
        ("k_means_constrained", 10**6, 10**5, Solver.K_MEANS_CONSTRAINED),
    ],
)
def test_auto_depends_on_records_times_clusters_and_other_values_are_obeyed(
    wanted, n, n_clusters, solver
):
    assert choose(SolverParam(wanted), n, n_clusters).solver is solver
    assert load(solver).equal_size_kmeans(unit_vectors(20), 3, 0).solver is solver


def test_the_reason_gives_the_size_and_the_limit():
    reasons = [choose(SolverParam.AUTO, n, 50).reason for n in (800, 801)]
    assert reasons == [
        "800 records x 50 clusters = 40,000; up to 40,000, k-means-constrained is quick",
        "801 records x 50 clusters = 40,050; above 40,000, k-means-constrained is slow",
    ]


def test_if_auto_chooses_k_means_constrained_our_own_solver_needs_no_tree():
    assert (balanced.FLAT + 1) ** 2 > MAX_PAIRS


# How good they are


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vectors", "n_clusters"),
    [
        (unit_vectors(400, 1, d=384), 29),
        (unit_vectors(800, d=32), 14),
        (unit_vectors(400, d=64, n_blobs=12, noise=1), 14),
        (unit_vectors(400, d=384, n_blobs=5, noise=1), 28),
        (uneven_blobs(1000), 14),
        (uneven_blobs(5000, seed=2), 3),  # 0.8 % apart without the last steps by squared distances
    ],
    ids=["small clusters", "even", "blobs", "more clusters than blobs", "uneven", "large clusters"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_both_solvers_find_clusters_that_are_equally_tight(vectors, n_clusters, seed):
    theirs, ours = (
        solver.equal_size_kmeans(vectors, n_clusters, seed) for solver in (constrained, balanced)
    )
    assert theirs.inertia == pytest.approx(ours.inertia, rel=0.005)
    assert theirs.inertia == pytest.approx(inertia(vectors, theirs.clusters))
    assert [len(rows) for rows in theirs.clusters] == [len(rows) for rows in ours.clusters]


# That it depends on nothing else


SCRIPT = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
import numpy as np
from tasks.lib.kmeans.constrained import equal_size_kmeans
labels = [
    equal_size_kmeans(np.random.default_rng(n).standard_normal((n, 64)).astype(np.float32), 9, 3)
    .labels.tobytes()
    for n in (300, 2500)
]
sys.stdout.buffer.write(b"".join(labels))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux alone")
def test_k_means_constrained_gives_the_same_bytes_in_any_process_on_any_number_of_cores():
    n_cores = len(os.sched_getaffinity(0))
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(n)],
            env=os.environ | {"OMP_NUM_THREADS": str(n), "OPENBLAS_NUM_THREADS": str(n)},
            capture_output=True,
            check=True,
        ).stdout
        for n in (1, 1, n_cores)
    ]
    assert len(outputs[0]) == 4 * (300 + 2500)
    assert len({hashlib.sha256(labels).digest() for labels in outputs}) == 1


def in_child(code):
    """Return the output of a Python process."""
    words = [sys.executable, "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_or_tools_is_loaded_only_if_k_means_constrained_runs():
    code = """
import sys
import numpy as np
from tasks.lib.prompts.prompt_size import Geometry, Mode
from tasks.lib.prompts.group import group
from tasks.lib.kmeans.solver import SolverParam
for wanted in (SolverParam.BALANCED, SolverParam.AUTO):
    group(np.eye(20, dtype=np.float32), Mode.WITHIN, Geometry(4, 5), 0, solver=wanted)
    print("ortools" in sys.modules)
"""
    assert in_child(code).split() == ["False", "True"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_k_means_constrained_needs_no_more_memory_than_stated():
    code = """
import re
from pathlib import Path
import numpy as np
from tasks.lib.kmeans.constrained import equal_size_kmeans, memory_mb

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1000

vectors = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)
equal_size_kmeans(vectors[:99], 9, 0)
before = peak_mb()
equal_size_kmeans(vectors, 300, 0)
print(peak_mb() - before, memory_mb(2000, 300, 64))
"""
    grown, needed = map(int, in_child(code).split())
    assert 0.4 * needed < grown < needed
