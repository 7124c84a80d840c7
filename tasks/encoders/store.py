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

from tasks.core.events import log

VERSION = 1
CHECKED_AT_ONCE = 4_096  # slots

Keys = NDArray[np.bytes_]
Slots = NDArray[np.int64]


def text_key(text: str) -> bytes:
    """16 bytes that stand for exactly this text.

    Not the record's id, which is the same for texts that differ in their Unicode form only.
    """
    return blake2b(text.encode("utf-8"), digest_size=16).digest()


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
        self._keys: Keys = np.empty(0, "S16")
        self._free: list[int] = []

    def find(self, keys: Keys) -> Slots:
        """The slot of each key, -1 where it has none; ``S16`` and int64, shape (n,)."""
        usable = np.setdiff1d(np.arange(len(self._keys)), self._free)
        slots = np.full(len(keys), -1)
        if usable.size:
            known = usable[np.argsort(self._keys[usable], kind="stable")]
            at = np.searchsorted(self._keys[known], keys)
            likely = known[np.minimum(at, known.size - 1)]
            slots = np.where(self._keys[likely] == keys, likely, slots)
        return slots

    def read(self, slots: Slots) -> NDArray[np.float32]:
        """The vectors in `slots`: float32, shape (n, dim)."""
        stored = np.memmap(self._path, self._slot, "r", shape=(len(self._keys),))
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
        n_slots = len(self._keys)
        new = range(n_slots, n_slots + len(keys) - n_reused)
        slots = np.array([*self._free[:n_reused], *new], dtype=np.int64)
        try:
            with self._path.open("r+b") as file:
                for slot, row in zip(slots.tolist(), block, strict=True):
                    file.seek(slot * self._slot.itemsize)
                    file.write(row.tobytes())
        except OSError as error:  # of a write, it does not say to which file
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._keys = np.concatenate([self._keys, np.empty(len(new), "S16")])
        self._keys[slots] = keys
        del self._free[:n_reused]
        return slots

    def clear(self) -> None:
        """Forget all vectors."""
        self._path.write_bytes(b"")
        self._keys, self._free = np.empty(0, "S16"), []

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

    def _load(self) -> None:
        """Read the keys, and find the slots that nothing whole is in."""
        n_slots, n_torn = divmod(self._path.stat().st_size, self._slot.itemsize)
        self._keys, faulty = np.empty(n_slots, "S16"), []
        with self._path.open("rb") as file:
            for start in range(0, n_slots, CHECKED_AT_ONCE):
                block = np.fromfile(file, self._slot, min(CHECKED_AT_ONCE, n_slots - start))
                self._keys[start : start + len(block)] = block["key"]
                faulty.append(start + np.flatnonzero(block["crc"] != _checksums(block)))
        self._free = np.concatenate(faulty).tolist() if faulty else []
        if self._free or n_torn:
            log.warning(
                "embed: %s of the %s vectors in %s are damaged or half written, and are made anew",
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
