"""Copy files from URLs that fsspec opens, from the Hugging Face hub, or from this machine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import fsspec
from fsspec.core import url_to_fs

from tasks.fetch.size_limit import SizeLimit
from tasks.lib.core.errors import CurationError, DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.data_file_names import KNOWN, ZIP, check_format, check_splits, is_data_file

CHUNK_BYTES = 1 << 20
MAGIC = re.compile(r"[*?\[]")
HUB = "hf://"
REVISIONS = (
    "ETag",
    "etag",
    "blob_id",
    "version_id",
    "generation",
)  # what file systems call a version
CHANGES = ("mtime", "ino", "created", "LastModified", "last_modified", "updated")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "az": "azure"}


class RemoteFile(NamedTuple):
    """A file to copy: its path in the file system, its URL for messages, and its copy's name."""

    path: str
    url: str
    name: str


def copy_files(sources: Sequence[str], folder: Path, limit: SizeLimit) -> list[dict[str, Any]]:
    """Copy the files of all sources into `folder`; return the provenance of each.

    A source is a file, a folder or a glob pattern. The copies are in the order of `sources`, and
    sorted by name within each source.

    Raises:
        ParamError: A source contains a password.
        DataError: A source cannot be read, has no data file or has several splits, or the limit is
            exceeded.
    """
    files: list[dict[str, Any]] = []
    for number, source in enumerate(sources, start=1):
        prefix = f"{number:0{len(str(len(sources)))}}-" if len(sources) > 1 else ""
        files += list(_copy_source(source, folder, prefix, limit))
    return files


def _copy_source(
    source: str, folder: Path, prefix: str, limit: SizeLimit
) -> Iterator[dict[str, Any]]:
    check_no_password(source)
    where = public(source)
    with _remote_errors(where, source):
        source, revision = _pin(source)
        fs, path = url_to_fs(source)
        files = _list(fs, path, source)
    if not files:
        raise DataError("found no data file", where=where, fix=f"Choose data files. {KNOWN}")
    if not MAGIC.search(source):
        names = [file.name for file in files]
        check_splits(names, where, "Choose one split with a pattern, such as URL/*train*.")
    for file in files:
        target = folder / f"{prefix}{file.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        yield {**_copy(fs, file, target, limit), "name": f"{prefix}{file.name}", **revision}


def public(source: str) -> str:
    """Return a source without its URL's query, which may contain a signature."""
    return source.partition("?")[0] if "://" in source else source


def check_no_password(url: str) -> None:
    """Check that a URL contains no password.

    Raises:
        ParamError: The URL contains a password.
    """
    if "://" in url and urlsplit(url).password:
        raise ParamError(
            "the URL contains a password, which would be stored in Git",
            where=f"{PARAMS_FILE}: fetch",
            fix="Remove it from the URL, and set the environment variables listed in "
            "docs/how-to/your-pool.md.",
        )


def _pin(source: str) -> tuple[str, dict[str, str]]:
    """Pin a source on the hub to its current commit; return the source and its commit, if any."""
    if not source.startswith(HUB):
        return source, {}
    from huggingface_hub import HfApi, HfFileSystem  # noqa: PLC0415  slow to import

    resolved: Any = HfFileSystem().resolve_path(source.removeprefix(HUB))
    api = HfApi()
    sha = api.repo_info(
        resolved.repo_id, repo_type=resolved.repo_type, revision=resolved.revision
    ).sha
    pinned = f"{HUB}{resolved.repo_type}s/{resolved.repo_id}@{sha}/{resolved.path_in_repo}"
    return pinned.rstrip("/"), {"revision": str(sha)}


def _list(fs: fsspec.AbstractFileSystem, path: str, source: str) -> list[RemoteFile]:
    """Return the files at a path, sorted by name."""
    is_web = path.startswith(
        ("http://", "https://")
    )  # it has no folders, and looking for one would read a file
    if MAGIC.search(path) and not is_web:
        root = str(PurePosixPath(MAGIC.split(path)[0] + "x").parent)
        names = {p: _relative(p, root) for p in fs.glob(path) if fs.isfile(p)}
    elif not is_web and fs.isdir(path) and not fs.isfile(path):
        names = {p: _relative(p, path.rstrip("/")) for p in fs.find(path)}
    else:
        name = PurePosixPath(urlsplit(path).path if "://" in path else path).name.lstrip("._")
        if not _is_zip(name):
            check_format(name, public(source), "Set fetch.source to a data file.")
        names = {path: name}
    names = {p: name for p, name in names.items() if is_data_file(name) or _is_zip(name)}
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    urls = {
        p: public(p if "://" in p or protocol == "file" else f"{protocol}://{p}") for p in names
    }
    return [RemoteFile(p, urls[p], names[p]) for p in sorted(names, key=names.__getitem__)]


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _is_zip(name: str) -> bool:
    return name.lower().endswith(ZIP)


def _copy(
    fs: fsspec.AbstractFileSystem, file: RemoteFile, target: Path, limit: SizeLimit
) -> dict[str, Any]:
    """Copy one file, and return the URL, size and hashes that identify it.

    Raises:
        DataError: The file cannot be read, is cut off, changes while it is copied, or exceeds the
            limit.
    """
    digest, n_bytes = blake2b(digest_size=16), 0
    with _remote_errors(file.url, file.path):
        info: Mapping[str, Any] = fs.info(file.path)
        stream = fs.open(file.path, "rb")
    with stream, target.open("wb") as copy:
        while True:
            with _remote_errors(file.url, file.path):
                chunk = stream.read(CHUNK_BYTES)
            if not chunk:
                break
            limit.add(len(chunk), file.url)
            digest.update(chunk)
            copy.write(chunk)
            n_bytes += len(chunk)
    size = info.get("size")
    if isinstance(size, int) and size != n_bytes:
        raise DataError(
            f"received only {n_bytes:,} of {size:,} bytes",
            where=file.url,
            fix="Run this again.",
        )
    with _remote_errors(file.url, file.path):
        fs.invalidate_cache()
        after: Mapping[str, Any] = fs.info(file.path)
    if any(info.get(key) != after.get(key) for key in ("size", *CHANGES, *REVISIONS)):
        raise DataError(
            "the file changed while it was being copied",
            where=file.url,
            fix="Wait until nothing writes to it, then run this again.",
        )
    version = next((str(info[key]) for key in REVISIONS if info.get(key)), None)
    etag = {} if version is None else {"etag": version.strip('"')}
    return {"url": file.url, "bytes": n_bytes, "blake2b": digest.hexdigest(), **etag}


@contextmanager
def _remote_errors(where: str, source: str) -> Iterator[None]:
    """Turn any error from a file system into a DataError."""
    try:
        yield
    except CurationError:
        raise
    except ImportError as error:
        scheme = source.partition("://")[0]
        extra = EXTRAS.get(scheme)
        raise DataError(
            f"{scheme}:// needs a package that is not installed ({error})",
            where=where,
            fix=f"Run `pip install 'selectllm[{extra}]'`." if extra else "Install the package.",
        ) from None
    except Exception as error:
        what = (str(error) or type(error).__name__).replace(source, where)
        raise DataError(
            f"the source cannot be read: {what}",
            where=where,
            fix="Check the URL, the connection and the credentials, then run this again.",
        ) from error
