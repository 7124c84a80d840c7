"""Work on fixed blocks of rows, on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


def in_blocks(work: Callable[[slice], R], n: int, size: int) -> list[R]:
    """What `work` returns for each block of rows, in their order.

    Where blocks begin does not depend on the number of cores. So the results do not either, if
    each block is computed on one thread: call it under threadpool_limits(1).
    """
    blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    if len(blocks) == 1:
        return [work(blocks[0])]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, blocks))
