"""Limit the total size of the copies."""

from tasks.lib.core.errors import DataError

MB = 1_000_000


class SizeLimit:
    """Counts bytes, and raises an error when they exceed ``fetch.max_mb``."""

    def __init__(self, max_mb: int) -> None:
        self._max_mb = max_mb
        self.n_bytes = 0

    def add(self, n_bytes: int, where: str) -> None:
        """Count more bytes.

        Raises:
            DataError: The limit is exceeded.
        """
        self.n_bytes += n_bytes
        if self.n_bytes > self._max_mb * MB:
            raise DataError(
                f"the copies exceed {self._max_mb:,} MB, the limit set by fetch.max_mb",
                where=where,
                fix="Raise it with -S fetch.max_mb=NUMBER, or choose fewer files.",
            )
