"""Determine how long to wait before retrying a failed call."""

import random

from tasks.lib.gateway.errors import ProviderError

MAX_BACKOFF_S = 60.0


def retry_delay_s(error: ProviderError, n_failed: int, backoff_s: float) -> float:
    """Return the seconds to wait before a retry: as the provider asks, or exponential backoff.

    Args:
        error: The last error.
        n_failed: Number of failures in a row, at least 1.
        backoff_s: The longest wait after the first failure.
    """
    if error.retry_after_s is not None:
        return error.retry_after_s
    longest_s: float = min(MAX_BACKOFF_S, backoff_s * 2 ** (n_failed - 1))
    return random.uniform(longest_s / 2, longest_s)  # spreads out calls that failed together
