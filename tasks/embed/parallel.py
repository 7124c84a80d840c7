"""Threads that work side by side on the items of a stream."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def as_done(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with what `function` makes of it, as soon as it is made, so in any order.

    No more items are taken from the stream than threads can work on, and one each to go on with.
    An error of `function` comes out here, and what has not begun by then is left undone.
    """
    under_way: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                under_way[pool.submit(function, item)] = item
                if len(under_way) >= 2 * n_threads:
                    yield from _finished(under_way)
            while under_way:
                yield from _finished(under_way)
        finally:
            for future in under_way:
                future.cancel()


def _finished(under_way: dict[Future[Result], Item]) -> Iterator[tuple[Item, Result]]:
    """Wait for at least one, and take out all that are done."""
    for future in wait(under_way, return_when=FIRST_COMPLETED).done:
        yield under_way.pop(future), future.result()
