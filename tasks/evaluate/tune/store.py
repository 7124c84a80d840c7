"""Store finished models and answers, so that an interrupted evaluation can be resumed."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.train import ADAPTER_FILE
from tasks.lib.core.errors import DataError
from tasks.lib.core.tables import read_table, write_table

CHECKPOINT_ADAPTERS = 6  # an adapter and two moments of its gradient, for two checkpoints


def result_key(**parts: Any) -> str:
    """Return a hash of everything that determines a result: 32 hex digits."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class EvaluationStore:
    """Adapters and answers by key. Deleting any of them costs only time."""

    def __init__(self, folder: Path) -> None:
        self._adapters, self._answers = folder / "adapters", folder / "answers"
        for part in (self._adapters, self._answers):
            part.mkdir(parents=True, exist_ok=True)

    def adapter(self, key: str) -> Path:
        """Return the folder of an adapter, which exists only if the adapter is complete."""
        return self._adapters / key

    def checkpoints(self, key: str) -> Path:
        """Return the folder of an adapter's checkpoints, which exists only during its training."""
        return self._adapters / f"{key}.training"

    def adapter_hash(self, key: str) -> str:
        """Return the hash of an adapter's weights."""
        weights = (self.adapter(key) / ADAPTER_FILE).read_bytes()
        return hashlib.blake2b(weights, digest_size=16).hexdigest()

    def require_space(self, n_adapters: int, n_bytes: int) -> None:
        """Check that the disk has room for more adapters of this size, and for one checkpoint.

        Raises:
            DataError: There is not enough room.
        """
        needed = n_bytes * (n_adapters + CHECKPOINT_ADAPTERS)
        free = shutil.disk_usage(self._adapters).free
        if n_adapters and needed > free:
            raise DataError(
                f"the disk has {free / 1e6:,.0f} MB left, but the adapters need "
                f"{needed / 1e6:,.0f} MB",
                where=str(self._adapters),
                fix="Free some space there, or lower evaluate.lora_rank or evaluate.n_seeds.",
            )

    def answers(self, key: str) -> pa.Table | None:
        """Return the answers of a model, or None if they are not complete."""
        path = self._answers / f"{key}.parquet"
        return read_table(path, ANSWERS) if path.exists() else None

    def put_answers(self, key: str, rows: list[dict[str, Any]]) -> None:
        """Store the answers of a model."""
        part = self._answers / f"{key}.part"
        write_table(part, rows, ANSWERS)
        os.replace(part, self._answers / f"{key}.parquet")
