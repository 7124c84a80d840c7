"""The event loop of a step that calls models."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop, and return its result.

    SIGTERM ends it as Ctrl-C does. The previous signal handler is restored.
    """
    handler = signal.getsignal(signal.SIGTERM)
    results: list[T] = []

    async def run() -> None:  # returns nothing, since `signal` would print a result in full
        # A handler that raises could interrupt any call; Ctrl-C already cancels the task instead.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        results.append(await main)

    try:
        asyncio.run(run())
    finally:
        signal.signal(signal.SIGTERM, handler)
    return results[0]
