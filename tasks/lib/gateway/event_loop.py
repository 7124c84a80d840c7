"""The event loop of a step that talks to models."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_loop(talk: Coroutine[Any, Any, T]) -> T:
    """What `talk` returns, from the one event loop of this process.

    SIGTERM ends it as Ctrl-C does. The handler that the loop replaces is put back.
    """
    handler = signal.getsignal(signal.SIGTERM)
    found: list[T] = []

    async def find() -> None:  # what it returned, `signal` would write out to the last pick
        # An exception of a signal's would come up amid some call; Ctrl-C already cancels instead.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        found.append(await talk)

    try:
        asyncio.run(find())
    finally:
        signal.signal(signal.SIGTERM, handler)
    return found[0]
