"""Where a report comes from: the parameters behind it, and the bytes of its files."""

from collections.abc import Mapping
from hashlib import file_digest, md5
from pathlib import Path
from typing import Any

from tasks.report.labels import flat

PRIVATE = ("api_key", "api_base")  # a report is shown around


def params(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters by dotted key, as text; how to reach a model is left out."""
    return flat(_shareable(values))


def digest(path: Path) -> str:
    """The MD5 of a file, as DVC has it in dvc.lock."""
    with path.open("rb") as file:
        return file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()


def _shareable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shareable(each) for key, each in value.items() if key not in PRIVATE}
    return [_shareable(each) for each in value] if isinstance(value, list) else value
