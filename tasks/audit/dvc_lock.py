"""Read dvc.lock, which records hashes of the files that each stage last read and wrote."""

import json
from collections.abc import Iterator, Mapping
from hashlib import file_digest, md5
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.lib.core.errors import DataError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.tables import read_table

LOCK_FILE = "dvc.lock"


class LockedFile(NamedTuple):
    """A file or folder that a stage read or wrote."""

    stage: str
    path: str  # as in dvc.lock: relative, unless it is outside the workspace
    md5: str
    is_out: bool

    @property
    def is_code(self) -> bool:
        """Whether this is one of our modules, or a folder of modules."""
        is_folder = self.md5.endswith(".dir") and self.path.startswith("tasks/")
        return not self.is_out and (self.path.endswith(".py") or is_folder)


class _Entry(BaseModel):
    path: str
    md5: str | None = None


class _LockedStage(BaseModel):
    deps: list[_Entry] = []
    outs: list[_Entry] = []
    params: dict[str, dict[str, Any]] = {}


class _LockFile(BaseModel):
    stages: dict[str, _LockedStage]


class Lock:
    """The dvc.lock of a workspace.

    Attributes:
        root: The workspace.
        files: Every file and folder of every stage, in stage order.
    """

    def __init__(self, root: Path) -> None:
        """Read dvc.lock.

        Raises:
            DataError: The file does not exist, or is not in the format that DVC writes.
        """
        self.root, self._path = root, root / LOCK_FILE
        try:
            text = self._path.read_text(encoding="utf-8")
            self._stages = _LockFile.model_validate(YAML(typ="safe").load(text)).stages
        except FileNotFoundError:
            raise DataError(
                "nothing has been selected here yet",
                where=str(self._path),
                fix="Run `selectllm run`.",
            ) from None
        except (YAMLError, ValueError, RecursionError) as error:
            raise DataError(
                f"the file is not in the format that DVC writes: {_reason(error)}",
                where=str(self._path),
                fix=f"Restore it: `git checkout {LOCK_FILE}`.",
            ) from None
        self.files = list(self._read())

    def out(self, tail: str, *, must_exist: bool = True) -> Path:
        """Return the path of the output that ends with `tail`, such as ``ingest/pool.parquet``.

        Raises:
            DataError: No stage has written the output yet, or the output is missing.
        """
        end = PurePosixPath(tail).parts
        outs = (file.path for file in self.files if file.is_out)
        name = next((out for out in outs if PurePosixPath(out).parts[-len(end) :] == end), None)
        if name is None:
            raise DataError(
                f"no run has written {tail} yet", where=str(self._path), fix="Run `selectllm run`."
            )
        path = self.root / name
        if must_exist and not path.exists():
            raise DataError("the file is missing", where=name, fix=how_to_restore(name))
        return path

    def rows(self, tail: str, schema: pa.Schema, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of an output that have these values in these columns.

        Raises:
            DataError: The output is missing, or does not match `schema`.
        """
        table = read_table(self.out(tail), schema)
        for name, value in values.items():
            table = table.filter(pc.equal(table[name], pa.scalar(value, schema.field(name).type)))
        return table.to_pylist()

    def params(self, stage: str) -> Mapping[str, Any]:
        """Return the parameters of a stage's last run, by dotted key; empty if it never ran."""
        return self._stages[stage].params.get(PARAMS_FILE, {}) if stage in self._stages else {}

    def _read(self) -> Iterator[LockedFile]:
        for name, stage in self._stages.items():
            for entries, is_out in ((stage.deps, False), (stage.outs, True)):
                for entry in entries:
                    if entry.md5:
                        yield LockedFile(name, entry.path, entry.md5, is_out)
                    elif "://" not in entry.path:  # a data set has a revision instead of a hash
                        raise DataError(
                            f"{entry.path} has no hash, so it cannot be compared",
                            where=f"{self._path}: stages.{name}",
                            fix=f"Restore it: `git checkout {LOCK_FILE}`.",
                        )


def _reason(error: Exception) -> str:
    """Return what is wrong with the file, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return " ".join(str(error).split())


def dvc_md5(path: Path) -> str:
    """Return DVC's hash of a file or folder, excluding Python's caches.

    As in dvc-data's Tree, a folder's hash is the md5 of a JSON list of its files and their hashes.
    """
    if path.is_dir():
        files = sorted(
            file.relative_to(path).parts
            for file in path.rglob("*")
            if file.is_file() and file.suffix != ".pyc" and file.parent.name != "__pycache__"
        )
        tree = [
            {"md5": dvc_md5(path.joinpath(*parts)), "relpath": "/".join(parts)} for parts in files
        ]
        return md5(json.dumps(tree, sort_keys=True).encode()).hexdigest() + ".dir"
    with path.open("rb") as file:
        return file_digest(file, "md5").hexdigest()


def how_to_restore(path: str) -> str:
    """Return a sentence that says how to restore an output."""
    return f"Run `dvc checkout -f {path}` to restore it from DVC's cache, or `dvc pull` first."
