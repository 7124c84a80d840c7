"""Keep finished models and answers, so that an interrupted evaluation continues where it was."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.train import ADAPTER_FILE
from tasks.lib.core.tables import read_table, write_table


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

    def adapter_hash(self, key: str) -> str:
        """Return the hash of an adapter's weights."""
        weights = (self.adapter(key) / ADAPTER_FILE).read_bytes()
        return hashlib.blake2b(weights, digest_size=16).hexdigest()

    def answers(self, key: str) -> pa.Table | None:
        """Return the answers of a model, or None if they are not complete."""
        path = self._answers / f"{key}.parquet"
        return read_table(path, ANSWERS) if path.exists() else None

    def put_answers(self, key: str, rows: list[dict[str, Any]]) -> None:
        """Store the answers of a model."""
        part = self._answers / f"{key}.part"
        write_table(part, rows, ANSWERS)
        os.replace(part, self._answers / f"{key}.parquet")
