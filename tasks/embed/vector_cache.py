"""Keep the vectors from earlier runs outside DVC's outputs, so that only new texts are embedded.

Each combination of model and machine has its own folder under ``.selectllm/vectors``:

    about.json       everything that the vectors depend on, in readable form
    vectors.sqlite   a text's key, its vector, and the CRC-32 of both
    lock             locked while a process embeds
"""

import json
import zlib
from collections.abc import Mapping
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tasks.lib.core.events import log
from tasks.lib.sqlite_store import SqliteStore

VERSION = 1
KEY_BYTES = 16
IMPORTED_AT_ONCE = 4_096  # vectors

Keys = NDArray[np.bytes_]
"""``S16``, shape (n,)."""


def text_key(text: str) -> bytes:
    """Return 16 bytes that identify exactly this text.

    A record's id is not enough: it is the same for texts that differ only in their Unicode form.
    """
    return blake2b(text.encode("utf-8"), digest_size=KEY_BYTES).digest()


class VectorCache:
    """The stored vectors of one model. Only one process at a time can open the cache (``with``).

    Attributes:
        folder: The folder with the vectors. If it is deleted, they are recomputed.
    """

    def __init__(self, parent: Path, identity: Mapping[str, Any], dim: int) -> None:
        """Choose the folder from `identity`, which must contain everything vectors depend on."""
        about = json.dumps({"version": VERSION, "dim": dim, **identity}, indent=2, sort_keys=True)
        self.folder = parent / blake2b(about.encode(), digest_size=8).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "about.json").write_text(about + "\n", encoding="utf-8")
        self._dim = dim

    def find(self, keys: Keys) -> NDArray[np.bool_]:
        """Return, for each key, whether it has an undamaged vector: bool, shape (n,)."""
        is_sound, n_damaged = np.zeros(len(keys), np.bool_), 0
        for i, key in enumerate(keys.tolist()):
            if row := self._store.get(key):
                is_sound[i] = row[1] == _checksum(key, row[0])
                n_damaged += not is_sound[i]
        if n_damaged:
            log.warning("embed: recomputing %d damaged vectors in %s", n_damaged, self.folder)
        return is_sound

    def read(self, keys: Keys) -> NDArray[np.float32]:
        """Return the vectors of the keys, which must all be stored: float32, shape (n, dim)."""
        rows = (self._store.get(key) for key in keys.tolist())
        data = b"".join(row[0] for row in rows if row)
        return np.frombuffer(data, "<f4").reshape(len(keys), self._dim)

    def put(self, keys: Keys, vectors: NDArray[np.float32]) -> None:
        """Store ``vectors[i]`` under ``keys[i]``, so that they survive the end of the process.

        Raises:
            DataError: The vectors cannot be written; vectors stored earlier stay intact.
        """
        data = [vector.astype("<f4", copy=False).tobytes() for vector in vectors]
        self._store.put((k, v, _checksum(k, v)) for k, v in zip(keys.tolist(), data, strict=True))

    def clear(self) -> None:
        """Delete all vectors."""
        self._store.clear()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            lock = FileLock(self.folder / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("embed: waiting for another run that is using the same model")
                lock.acquire()
            stack.callback(lock.release)
            columns = "key BLOB, vector BLOB NOT NULL, crc INTEGER NOT NULL"
            store = SqliteStore(self.folder / "vectors.sqlite", "vectors", columns)
            self._store = stack.enter_context(closing(store))
            self._import_slots(self.folder / "vectors")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _import_slots(self, path: Path) -> None:
        """Import the vectors from an earlier version's file: slots of key, vector and CRC-32."""
        if not path.exists():
            return
        slot = np.dtype([("key", "S16"), ("vector", "<f4", (self._dim,)), ("crc", "<u4")])
        with path.open("rb") as file:
            while data := file.read(slot.itemsize * IMPORTED_AT_ONCE):
                slots = np.frombuffer(data, slot, len(data) // slot.itemsize)
                self._store.put((s["key"], s["vector"].tobytes(), int(s["crc"])) for s in slots)
        path.unlink()


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(key.ljust(KEY_BYTES, b"\0") + vector)
