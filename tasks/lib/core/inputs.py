"""Detect inputs that change while a step runs.

DVC hashes the inputs again after the step ends. Without this check, dvc.lock would record the hash
of a version that the step did not read, and `dvc status` would report that all is up to date.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE, flatten, lookup, read_params

CACHES = "__pycache__"  # Python writes to it when it imports a module


class Version(NamedTuple):
    """The attributes of a file that change when it is edited or replaced.

    The time of the last status change is not among them, since DVC changes it by making links.
    """

    n_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Version | None":
        """Return the version of a file; None if it does not exist."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class DeclaredInputs:
    """The versions of a step's declared inputs when this object was created."""

    def __init__(self, root: Path, deps: Sequence[str], params: Mapping[str, Any]) -> None:
        self._root, self._deps, self._params = root, deps, params
        self._versions = dict(self._find())

    def check_unchanged(self) -> None:
        """Check that no input has changed.

        Raises:
            DataError: A file has changed, appeared or disappeared.
            ParamError: A declared parameter has changed.
        """
        now = dict(self._find())
        before = self._versions
        for path in [*before, *now]:
            if before.get(path) != now.get(path):
                raise changed(path, _change(before.get(path), now.get(path)))
        values = read_params(self._root / PARAMS_FILE)
        old = dict(flatten(self._params))
        new = dict(flatten({key: lookup(values, key) for key in self._params}))
        for key in [*old, *new]:
            if old.get(key) != new.get(key):
                raise ParamError(
                    f"{key} was changed from {old.get(key)!r} to {new.get(key)!r} "
                    "while the step ran with the old value",
                    where=PARAMS_FILE,
                    fix="Run this again to use the new value.",
                )

    def _find(self) -> Iterator[tuple[Path, Version | None]]:
        """Yield every file of every dependency, with its version."""
        for dep in self._deps:
            path = self._root / dep
            for file in _files(path) if path.is_dir() else [path]:
                yield file, Version.of(file)


def changed(path: Path, how: str = "changed") -> DataError:
    """Return the error for a file that changed while a step read it."""
    return DataError(
        f"the file {how} while it was being read",
        where=str(path),
        fix="Wait until nothing writes to it, then run this again.",
    )


def _change(before: Version | None, after: Version | None) -> str:
    if before is None:
        return "appeared"
    return "changed" if after else "disappeared"


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, except hidden ones and Python caches."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != CACHES and not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))
