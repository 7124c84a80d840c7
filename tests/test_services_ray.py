"""A Ray cluster of two nodes that `ray start` started, as docs/how-to/services.md says."""

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.servers import require, running
from tests.workspaces import free_port

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.ray]

WHERE = """
import time
from tasks.lib.executor import Executor

def node(_):
    import ray
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()

print(len(set(Executor.RAY.map(node, range(30)))))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start two nodes of one processor each; yield the variables of a machine that uses them."""
    require(importlib.util.find_spec("ray"), "selectllm[ray]")
    folder, port, node_port = tmp_path_factory.mktemp("ray"), free_port(), free_port()
    start = (str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1")
    head = ("--head", "--port", str(port), "--include-dashboard", "false")
    other = ("--address", f"127.0.0.1:{port}", "--node-manager-port", str(node_port))
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = secret | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    with (
        running(folder, port, *start, *head, **env),
        running(folder, node_port, *start, *other, **env),
    ):
        yield {"RAY_ADDRESS": f"127.0.0.1:{port}"} | secret


def test_both_nodes_process_shards(cluster):
    done = subprocess.run(
        [sys.executable, "-c", WHERE],
        cwd=PROJECT,
        env=os.environ | cluster,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "2\n", done.stderr


def test_a_step_on_the_cluster_writes_the_bytes_that_it_writes_here(cluster, clustered, tmp_path):
    shutil.copytree(clustered.root, tmp_path / "clone")
    space = replace(clustered, root=tmp_path / "clone", env=clustered.env | cluster)
    out = space.root / "data/dedupe"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(out)
    space.set("engine=ray")
    space.run("python", "-m", "tasks.dedupe")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_cluster_refuses_a_machine_without_its_token(cluster):
    env = os.environ | cluster | {"RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(
        [sys.executable, "-c", WHERE],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert "token" in done.stderr
