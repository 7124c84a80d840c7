"""What a report is made from: the parameters, and the hashes of its files."""

import json
from collections.abc import Mapping
from hashlib import file_digest, md5
from pathlib import Path
from typing import Any

from tasks.lib.core.params import flatten

PRIVATE = ("api_key", "api_base")  # readers of a report must not see them


def params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters by dotted key, as text, without how to reach a model."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in flatten(_public(values))
    }


def digest(path: Path) -> str:
    """Return the MD5 of a file, as DVC writes it to dvc.lock."""
    with path.open("rb") as file:
        return file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()


def _public(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items() if key not in PRIVATE}
    return [_public(item) for item in value] if isinstance(value, list) else value
