"""Process the items of a stream on several threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def map_unordered(
    function: Callable[[Argument], Result], arguments: Iterable[Argument], n_threads: int
) -> Iterator[tuple[Argument, Result]]:
    """Yield each argument with its result as soon as the result is ready, in any order.

    The stream is read at most one argument per thread ahead of the work. If `function` raises an
    error, it is raised here, and calls that have not begun are cancelled.
    """
    running: dict[Future[Result], Argument] = {}
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for argument in arguments:
                running[pool.submit(function, argument)] = argument
                if len(running) >= 2 * n_threads:
                    yield from _take_finished(running)
            while running:
                yield from _take_finished(running)
        finally:
            for future in running:
                future.cancel()


def _take_finished(
    running: dict[Future[Result], Argument],
) -> Iterator[tuple[Argument, Result]]:
    """Wait for a call to finish, then remove and yield all finished calls."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()
