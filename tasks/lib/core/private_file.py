"""Keep databases private: they contain pool texts and provider replies."""

import os
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
OTHERS = 0o007
SIDE_FILES = ("", "-wal", "-shm")  # SQLite gives new ones the database's mode


def make_private(path: Path) -> None:
    """Create an empty file that only its owner can use, or deny others access to a database.

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
