"""Keep databases private: they contain texts of the pool and replies of providers."""

import os
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
OTHERS = 0o007
SIDE_FILES = ("", "-wal", "-shm")  # SQLite gives new ones the mode of the database


def make_private(path: Path) -> None:
    """Create an empty file for its owner only, or hide an existing database from other users.

    A file that a group shares, but others cannot use, keeps its mode. The file is never opened:
    closing it would release the locks of SQLite's other connections in this process.
    """
    if not path.exists():
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    for suffix in SIDE_FILES:
        file = path.with_name(f"{path.name}{suffix}")
        with suppress(FileNotFoundError, PermissionError):
            if file.stat().st_mode & OTHERS:
                file.chmod(PRIVATE)
