"""Say whether DVC's default remote can be used and has the outputs of the workspace."""

from collections.abc import Iterator
from pathlib import Path

from flows.cli.diagnosis import Diagnosis, Status
from flows.dvc.remote import read_remote


def remote(workspace: Path) -> Iterator[Diagnosis]:
    """Yield what is wrong with the remote; nothing if the workspace has none."""
    found = read_remote(workspace)
    if found is None:
        return
    place = f"DVC remote {found.name}"
    if found.fault:
        fix = f"Start it, or correct its options: `dvc remote modify {found.name} ...`."
        yield Diagnosis(Status.WARNING, f"{place}: it cannot be used: {found.fault}", fix)
    elif found.n_lost:
        what = f"{place}: {found.n_lost} outputs exist neither there nor on this machine"
        fix = "Run `dvc push` on the machine that made them, or `dvc repro` here."
        yield Diagnosis(Status.WARNING, what, fix)
    elif found.n_unpushed:
        what = f"{place}: it lacks {found.n_unpushed} outputs of this workspace"
        yield Diagnosis(Status.WARNING, what, "Run `dvc push`.")
    else:
        yield Diagnosis(Status.OK, f"{place}: it has all outputs")
