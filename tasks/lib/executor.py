"""Process the shards of a step in this process or on the workers of a Ray cluster.

Ray Core, not Ray Data: the shards of a step come from one ordered stream, and their results go
into one file in the same order, so there is no data set for Ray to partition, store or shuffle.
"""

import importlib.util
import logging
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
SHARDS_PER_CPU = 2  # running or waiting; more would only use memory
QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Executor(StrEnum):
    """Where shards are processed; the results are byte-identical everywhere."""

    LOCAL = "local"
    RAY = "ray"

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """Yield the result of `function` for each shard, in order; read shards only as needed.

        Only a few shards per processor are in memory at a time. If Ray loses a worker or a node,
        another worker processes the lost shards again.

        Args:
            function: A deterministic module-level function, or a partial of one, so that it can
                be pickled.
            shards: The inputs. Each should take at least a second to process; otherwise sending
                it to a worker is not worth it.
        """
        return map(function, shards) if self is Executor.LOCAL else _map_on_ray(function, shards)


def load_executor(values: Mapping[str, Any]) -> Executor:
    """Return the executor that ``engine`` in params.yaml names.

    Raises:
        ParamError: ``engine`` is missing or unknown, or its package is not installed.
    """
    name = values.get("engine")
    if name not in list(Executor):
        raise ParamError(
            f"engine: expected {' or '.join(Executor)}, not {name!r}",
            where=PARAMS_FILE,
            fix=f"Set it in {PARAMS_FILE}, or with -S engine={Executor.LOCAL}.",
        )
    if name == Executor.RAY and importlib.util.find_spec("ray") is None:
        raise ParamError(
            "engine: ray is not installed",
            where=PARAMS_FILE,
            fix=f"Run `pip install 'selectllm[ray]'`, or set -S engine={Executor.LOCAL}.",
        )
    return Executor(name)


def _map_on_ray(function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
    shards = iter(shards)
    first = list(islice(shards, 1))
    if not first:  # not worth starting a cluster
        return
    ray = _connect()
    # -1: retry after every lost worker. Errors of the function itself are not retried.
    work = ray.remote(max_retries=-1)(_apply)
    window = SHARDS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    pending: deque[Any] = deque()
    for shard in chain(first, shards):
        pending.append(work.remote(function, shard))
        if len(pending) >= window:
            yield _result(pending.popleft())
    while pending:
        yield _result(pending.popleft())


def _apply(function: Callable[[Shard], Result], shard: Shard) -> Result:
    return function(shard)  # Ray accepts only functions, but ours are often partials


def _result(reference: Any) -> Any:
    """Return the result of one shard, or raise the function's own error, as a local call would."""
    import ray  # noqa: PLC0415

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _connect() -> Any:
    """Return Ray, connected to the cluster at RAY_ADDRESS or to a new one on this machine.

    The connection stays open until the process ends, since a cluster takes seconds to start.
    """
    for variable, value in QUIET_RAY.items():
        os.environ.setdefault(variable, value)
    import ray  # noqa: PLC0415

    if not ray.is_initialized():
        ray.init(
            # The libraries must be installed on the workers.
            runtime_env={"py_modules": [str(TASKS)], "env_vars": QUIET},
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    return ray
