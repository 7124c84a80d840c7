"""The parameters of one run: they hold for it alone, in a workspace of its own.

They never reach the user's params.yaml. Writing them there and putting the old values back would
fail when the run is killed: the next scheduled run would take them for the user's. So the run works
as a variant of `selectllm compare` does, in a copy of the workspace that shares DVC's cache and the
state folder. The copy is named after the parameters; a run with the same ones goes on there.
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
from flows.dvc.variants import lay_out_one
from flows.dvc.workspace import STATE_DIR

FOLDER = "runs"
MAX_WORDS = 40  # of a folder's name


class OwnWorkspace(NamedTuple):
    """Where a run with parameters works, and how its params.yaml differs from the user's."""

    root: Path
    changes: list[Change]


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """Return each value that is given as ``key=value``; None is not given."""
    return [
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]


def own_workspace(root: Path, sets: Sequence[str]) -> OwnWorkspace:
    """Make the workspace of a run that sets these keys, or bring it up to date with the user's.

    Args:
        root: The user's workspace; nothing is written there but below its state folder.
        sets: Overrides, each as key=value.

    Raises:
        ParamError: An override is not ``key=value``, or the steps refuse what would come of it;
            nothing has been made.
        FlowError: DVC cannot say where its cache is.
    """
    params, changes = overrides.checked(root, sets)
    surroundings = root / STATE_DIR / FOLDER / folder_name(sets)
    return OwnWorkspace(lay_out_one(root, surroundings, params, dvc.cache_dir(root)), changes)


def folder_name(sets: Sequence[str]) -> str:
    """Return a name that says what is set, and is the same for the same overrides in one order."""
    values = dict(text.split("=", 1) for text in sets)
    words = "-".join(f"{key.rpartition('.')[2]}-{value}" for key, value in values.items())
    readable = re.sub(r"[^\w.]+", "-", words, flags=re.ASCII)[:MAX_WORDS].strip("-")
    digest = hashlib.blake2b(json.dumps(values).encode(), digest_size=4)
    return f"{readable}-{digest.hexdigest()}"
