"""Where a step's shards are worked on: in this process, or by the workers of a Ray cluster.

Ray Core, not Ray Data: the shards of a step come out of one ordered stream and their results go,
in that order, into one file, so there is no data set for Ray to partition, store or shuffle.
"""

import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.stage import QUIET

TASKS = Path(__file__).parents[1]
SHARDS_PER_CPU = 2  # at work or waiting for it; more would only hold memory
QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Engine(StrEnum):
    """Who works on the shards. The results are the same, to the byte."""

    LOCAL = "local"
    RAY = "ray"

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """`function` of each shard, in the order of the shards, which are taken as they come.

        A few shards a processor are held at once. On Ray a shard whose worker or node is lost is
        done again by another.

        Args:
            function: A module's own, or a partial of one: it goes to other processes. It must give
                the same for the same shard.
            shards: Each a second of work or more, lest sending it costs more than doing it.
        """
        return map(function, shards) if self is Engine.LOCAL else _on_ray(function, shards)


def load_engine(values: Mapping[str, Any]) -> Engine:
    """The top-level engine of params.yaml.

    Raises:
        ParamError: It is absent or unknown, or needs a package that is not installed.
    """
    name = values.get("engine")
    if name not in list(Engine):
        raise ParamError(
            f"engine: expected {' or '.join(Engine)}, not {name!r}",
            where=PARAMS_FILE,
            fix=f"Set it in {PARAMS_FILE}, or with -S engine={Engine.LOCAL}.",
        )
    if name == Engine.RAY and importlib.util.find_spec("ray") is None:
        raise ParamError(
            "engine: ray is not installed",
            where=PARAMS_FILE,
            fix=f"`pip install 'selectllm[ray]'`, or -S engine={Engine.LOCAL}.",
        )
    return Engine(name)


def _on_ray(function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
    shards = iter(shards)
    first = list(islice(shards, 1))
    if not first:  # not worth a cluster
        return
    ray = _connected()
    # -1: as often as workers are lost; an error of the function's own is not tried again.
    work = ray.remote(max_retries=-1)(_applied)
    window = SHARDS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    for shard in chain(first, shards):
        waiting.append(work.remote(function, shard))
        if len(waiting) >= window:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _applied(function: Callable[[Shard], Result], shard: Shard) -> Result:
    return function(shard)  # Ray takes functions alone, and ours are often partial


def _result(promise: Any) -> Any:
    """The result of one shard, or the function's own error, as if it had been called here."""
    import ray  # noqa: PLC0415

    try:
        return ray.get(promise)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _connected() -> Any:
    """Ray, connected to the cluster that RAY_ADDRESS names, or to one of our own on this machine.

    The connection stays until the process ends, since a cluster takes seconds to start.
    """
    for variable, value in QUIET_RAY.items():
        os.environ.setdefault(variable, value)
    import ray  # noqa: PLC0415

    if not ray.is_initialized():
        ray.init(
            # Libraries the workers must have themselves.
            runtime_env={"py_modules": [str(TASKS)], "env_vars": QUIET},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    return ray
