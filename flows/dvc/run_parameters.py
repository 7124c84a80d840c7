"""Apply parameters to a single run, which works in its own workspace.

The parameters are never written to the user's params.yaml. If the run were killed before the old
values were restored, the next scheduled run would use them as if the user had set them. So the run
works like a variant of `selectllm compare`, in a copy of the workspace that shares DVC's cache and
the state folder. The copy is named after the parameters, so a repeated run continues there.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flows.dvc import command as dvc
from flows.dvc import overrides
from flows.dvc.overrides import Change
from flows.dvc.variants import make_workspace
from tasks.lib.core.stage import STATE_DIR

FOLDER = "runs"
MAX_WORDS = 40  # characters of a folder's name


class OwnWorkspace(NamedTuple):
    """The workspace of a run, and how its params.yaml differs from the user's."""

    path: Path
    changes: list[Change]


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """Return each value as ``key=value``, except those that are None."""
    return [
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]


def own_workspace(user_workspace: Path, sets: Sequence[str]) -> OwnWorkspace:
    """Make the workspace of a run with these overrides, or update it from the user's workspace.

    Args:
        user_workspace: The user's workspace; only its state folder is written to.
        sets: Overrides, each as key=value.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse the new values. No
            workspace is made in that case.
        GraphError: DVC failed to report its cache.
    """
    params, changes = overrides.checked(user_workspace, sets)
    folder = user_workspace / STATE_DIR / FOLDER / folder_name(sets)
    cache = dvc.cache_dir(user_workspace)
    return OwnWorkspace(make_workspace(user_workspace, folder, params, cache), changes)


def folder_name(sets: Sequence[str]) -> str:
    """Return a name that shows the overrides; the same overrides always give the same name."""
    values = dict(text.split("=", 1) for text in sets)
    words = "-".join(f"{key.rpartition('.')[2]}-{value}" for key, value in values.items())
    readable = re.sub(r"[^\w.]+", "-", words, flags=re.ASCII)[:MAX_WORDS].strip("-")
    digest = hashlib.blake2b(json.dumps(values).encode(), digest_size=4)
    return f"{readable}-{digest.hexdigest()}"
