"""Show the parameters of a run without the addresses and keys of its models."""

import json
from collections.abc import Mapping
from typing import Any

from tasks.lib.core.params import flatten

PRIVATE = ("api_key", "api_base")  # readers of a report must not see them


def public_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as text by dotted key, excluding the addresses and keys of models."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in flatten(_public(values))
    }


def _public(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items() if key not in PRIVATE}
    return [_public(item) for item in value] if isinstance(value, list) else value
