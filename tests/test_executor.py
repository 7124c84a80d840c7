"""The results do not depend on where the shards are processed."""

import importlib.util
import json
import os
import pickle
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.records import Plan, write
from tasks.dedupe import step as dedupe
from tasks.embed import step as embed
from tasks.embed.encoder import encode_all
from tasks.embed.encoder_settings import EncoderSpec, Precision
from tasks.embed.pool_texts import PoolText
from tasks.ingest import step as ingest
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.schemas import UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.lib.executor import Executor, load_executor

PROJECT = Path(__file__).parents[1]
NICENESS = "RAY_worker_niceness"
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = [
    pytest.mark.ray,
    pytest.mark.skipif(not HAS_RAY, reason="needs `pip install 'selectllm[ray]'`"),
]
on_ray = pytest.param(Executor.RAY, marks=needs_ray)

NICENESS = "RAY_worker_niceness"  # Ray's own spelling


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise DataError("three", where="here", fix="None.")
    return number


def die_once(number: int, traces: Path) -> int:
    """Kill the process that gets 3 or 7 for the first time."""
    trace = traces / str(number)
    if number in (3, 7) and not trace.exists():
        trace.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def cluster():
    """Start two nodes of one processor each, on this machine."""
    if not HAS_RAY:
        yield None
        return
    import ray  # noqa: PLC0415
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    os.environ[NICENESS] = "0"  # with Ray's 15, a busy machine starves its workers
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = nodes.address
    yield nodes
    del os.environ["RAY_ADDRESS"], os.environ[NICENESS]
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.parametrize("executor", [Executor.LOCAL, on_ray])
def test_results_come_in_the_order_of_the_shards(executor, cluster):
    assert list(executor.map(square, range(20))) == [n * n for n in range(20)]
    assert list(executor.map(square, [])) == []


@pytest.mark.parametrize("executor", [Executor.LOCAL, on_ray])
def test_shards_are_read_only_as_needed(executor, cluster):
    assert list(islice(executor.map(square, count()), 3)) == [0, 1, 4]


@pytest.mark.parametrize("executor", [Executor.LOCAL, on_ray])
def test_an_error_in_a_shard_is_raised_as_in_a_local_call(executor, cluster):
    with pytest.raises(DataError, match="three") as caught:
        list(executor.map(refuse, range(5)))
    assert (caught.value.where, caught.value.fix) == ("here", "None.")


def test_an_error_survives_pickling():
    sent = ParamError("what", where="here", fix="this")
    came = pickle.loads(pickle.dumps(sent))
    assert (type(came), str(came), came.exit_code) == (ParamError, str(sent), 2)


@pytest.mark.parametrize("name", [None, "spark", "Ray", 1])
def test_an_unknown_engine_is_refused(name):
    with pytest.raises(ParamError, match="engine: expected local or ray"):
        load_executor({} if name is None else {"engine": name})


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
@pytest.mark.parametrize("step", [dedupe, embed])
def test_without_ray_the_check_says_what_to_install(step):
    with pytest.raises(ParamError, match=r"pip install 'selectllm\[ray\]'"):
        step.check({"engine": "ray"})


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    write(path, 20_000, Plan(seed=3), path.with_suffix(".csv"))
    return path


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(embed, "SHARD_TEXTS", 30)


def outputs(root, pool, executor):
    """Return the bytes that ingest and dedupe write, and the bytes of embed for some records."""
    root.mkdir()
    shutil.copy(PROJECT / "dvc.yaml", root)
    params = load_yaml(PROJECT / "params.yaml") | {"engine": executor}
    params["ingest"] |= {"source": str(pool), "exclude": {"lang": "th"}}
    (root / "params.yaml").write_text(json.dumps(params))
    for step in (ingest, dedupe):
        Stage(step.__name__.split(".")[1], root).run(step.work)
    made = {path.name: path.read_bytes() for path in sorted(root.glob("data/*/*"))}
    unique = root / "data/dedupe/unique.parquet"
    write_table(unique, read_table(unique, UNIQUE).slice(0, 200), UNIQUE)
    Stage("embed", root).run(embed.work)
    return made | {"vectors": (root / "data/embed/vectors.npy").read_bytes()}


@pytest.mark.parametrize("executor", [on_ray])
def test_a_cluster_writes_the_bytes_that_one_process_writes(
    executor, cluster, pool, tmp_path, small_shards
):
    made = outputs(tmp_path / "ray", pool, executor)
    assert sum(map(len, made.values())) > 1_000_000
    assert len(made["vectors"]) > 200 * 384 * 4
    assert made == outputs(tmp_path / "local", pool, Executor.LOCAL)


@pytest.mark.parametrize("executor", [on_ray])
def test_a_killed_worker_loses_nothing(executor, cluster, tmp_path):
    work = partial(die_once, traces=tmp_path)
    assert list(executor.map(work, range(10))) == list(range(10))
    assert {trace.name for trace in tmp_path.iterdir()} == {"3", "7"}


@pytest.mark.parametrize("executor", [on_ray])
def test_a_lost_node_loses_nothing(executor, cluster):
    results = executor.map(square, range(40))
    first = list(islice(results, 5))
    node = cluster.add_node(num_cpus=1)
    more = list(islice(results, 10))
    cluster.remove_node(node, allow_graceful=False)
    assert [*first, *more, *results] == [n * n for n in range(40)]


def kill_one():
    """Kill a worker of Ray that is processing a shard; return whether there was one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith("ray::_apply"):
                process.kill()
                return True
    return False


def with_a_worker_killed(entries, n):
    """Yield the entries unchanged; after the first `n`, kill a worker as soon as one is busy."""
    is_killed = False
    for row, entry in enumerate(entries):
        until_s = time.monotonic() + 0.3  # the previous shard may not have begun, or have ended
        while row >= n and not is_killed and time.monotonic() < until_s:
            is_killed = kill_one()
        yield entry
    assert is_killed


@pytest.mark.parametrize("executor", [on_ray])
def test_a_killed_worker_loses_no_vector(executor, cluster, small_shards):
    spec = EncoderSpec("all-MiniLM-L6-v2", Precision.FLOAT32, 256, 256)
    encoder = spec.load()
    entries = [PoolText(f"r{i}", f"Say {i} " + "and again " * (i % 40)) for i in range(300)]
    vectors = np.zeros((300, encoder.dim), np.float32)
    expected = np.copy(vectors)
    for batch in encode_all(entries, encoder):
        expected[batch.rows] = batch.vectors
    for batch in embed.embed(with_a_worker_killed(entries, 200), encoder, spec, executor):
        vectors[batch.rows] = batch.vectors
    assert vectors.tobytes() == expected.tobytes()
