"""JSON documents that another step of ours has written."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tasks.lib.core.errors import REMAKE, DataError


def read_document(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Read the JSON object of a file, which has at least these keys.

    Raises:
        DataError: It is not.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"not readable as JSON: {error}", where=str(path), fix=REMAKE) from None
    if not isinstance(found, dict):
        raise DataError("expected a JSON object", where=str(path), fix=REMAKE)
    absent = sorted(set(keys) - found.keys())
    if absent:
        raise DataError(f"lacks {', '.join(absent)}", where=str(path), fix=REMAKE)
    return found
