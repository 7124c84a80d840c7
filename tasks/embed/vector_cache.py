"""Vectors computed before, which outlive DVC's outputs: only new texts are embedded.

A folder for each model as it computes, under ``.selectllm/vectors``; in it

    about.json   what computed these vectors, for people to read
    vectors      slots of equal size: a text's key, its vector, and the CRC-32 of both
    lock         held while a process embeds

A slot counts only if its checksum is right. One that was being written when the power, the disk or
the process ended is therefore as good as empty, and is the first to be written again.
"""

import json
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tasks.lib.core.events import log

VERSION = 1
KEY_BYTES = 16
CHECKED_AT_ONCE = 4_096  # slots

Keys = NDArray[np.bytes_]
Slots = NDArray[np.int64]


def text_key(text: str) -> bytes:
    """16 bytes that stand for exactly this text.

    Not the record's id, which is the same for texts that differ in their Unicode form only.
    """
    return blake2b(text.encode("utf-8"), digest_size=KEY_BYTES).digest()


class VectorStore:
    """The stored vectors of one model; open (``with``) in one process at a time.

    Attributes:
        folder: Where they are; it may be deleted, which costs embedding anew.
    """

    def __init__(self, parent: Path, identity: Mapping[str, Any], dim: int) -> None:
        """Of the model that `identity`, which names all that its vectors depend on, tells apart."""
        about = json.dumps({"version": VERSION, "dim": dim, **identity}, indent=2, sort_keys=True)
        self.folder = parent / blake2b(about.encode(), digest_size=8).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "about.json").write_text(about + "\n", encoding="utf-8")
        self._path = self.folder / "vectors"
        self._slot = np.dtype([("key", "S16"), ("vector", "<f4", (dim,)), ("crc", "<u4")])
        self._lock = FileLock(self.folder / "lock")
        self._keys = bytearray()  # of all slots; grows by a batch at a time without being copied
        self._free: list[int] = []

    def find(self, keys: Keys) -> Slots:
        """The slot of each key, -1 where it has none; ``S16`` and int64, shape (n,)."""
        stored = np.frombuffer(bytes(self._keys), "S16")
        usable = np.setdiff1d(np.arange(len(stored)), self._free)
        if not usable.size:
            return np.full(len(keys), -1)
        known = usable[np.argsort(stored[usable], kind="stable")]
        at = np.searchsorted(stored[known], keys)
        likely = known[np.minimum(at, known.size - 1)]
        return np.where(stored[likely] == keys, likely, -1)

    def read(self, slots: Slots) -> NDArray[np.float32]:
        """The vectors in `slots`: float32, shape (n, dim)."""
        stored = np.memmap(self._path, self._slot, "r", shape=(self._n_slots(),))
        vectors: NDArray[np.float32] = stored[slots]["vector"]
        return vectors

    def put(self, keys: Keys, vectors: NDArray[np.float32]) -> Slots:
        """Keep ``vectors[i]`` under ``keys[i]``; the slots they are in, on disk on return.

        Raises:
            OSError: They cannot be written; what is stored already stays good.
        """
        block = np.empty(len(keys), self._slot)
        block["key"], block["vector"] = keys, vectors
        block["crc"] = _checksums(block)
        n_reused = min(len(self._free), len(keys))
        new = range(self._n_slots(), self._n_slots() + len(keys) - n_reused)
        slots = [*self._free[:n_reused], *new]
        rows = [row.tobytes() for row in block]
        try:
            with self._path.open("r+b") as file:
                for slot, row in zip(slots, rows, strict=True):
                    file.seek(slot * self._slot.itemsize)
                    file.write(row)
        except OSError as error:  # of a write, it does not say to which file
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        for slot, row in zip(slots, rows, strict=True):
            self._keys[slot * KEY_BYTES : (slot + 1) * KEY_BYTES] = row[:KEY_BYTES]
        del self._free[:n_reused]
        return np.array(slots, dtype=np.int64)

    def clear(self) -> None:
        """Forget all vectors."""
        self._path.write_bytes(b"")
        self._keys, self._free = bytearray(), []

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            log.info("embed: waiting for another run that embeds with the same model")
            self._lock.acquire()
        self._path.touch()
        self._load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def _n_slots(self) -> int:
        return len(self._keys) // KEY_BYTES

    def _load(self) -> None:
        """Read the keys, and find the slots that nothing whole is in."""
        n_slots, n_torn = divmod(self._path.stat().st_size, self._slot.itemsize)
        self._keys, faulty = bytearray(), []
        with self._path.open("rb") as file:
            for start in range(0, n_slots, CHECKED_AT_ONCE):
                block = np.fromfile(file, self._slot, min(CHECKED_AT_ONCE, n_slots - start))
                self._keys += block["key"].tobytes()
                faulty.append(start + np.flatnonzero(block["crc"] != _checksums(block)))
        self._free = np.concatenate(faulty).tolist() if faulty else []
        if self._free or n_torn:
            log.warning(
                "embed: %s of the %s vectors in %s are damaged or half written; they are not used",
                f"{len(self._free) + (n_torn > 0):,}",
                f"{n_slots + (n_torn > 0):,}",
                self._path,
            )


def _checksums(block: NDArray[np.void]) -> NDArray[np.uint32]:
    """The CRC-32 of each slot's key and vector."""
    size = block.dtype.itemsize
    data = memoryview(block.tobytes())
    ends = range(size, len(data) + 1, size)
    return np.array([zlib.crc32(data[end - size : end - 4]) for end in ends], dtype=np.uint32)
