"""The prompts of an earlier run, which the records that are still in the pool keep."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.schemas import PROMPTS
from tasks.lib.core.tables import read_table
from tasks.lib.kmeans.partition import Rows
from tasks.lib.prompts.geometry import GeometryParams, Mode

KEY = "cluster.earlier_prompts"
NOTHING = "data/none.jsonl"  # a committed file without rows


class Grouped(NamedTuple):
    """Prompts, and the clusters of their candidates.

    Attributes:
        prompts: The rows of the candidates of each prompt, in slot order.
        clusters: int32, the cluster of each candidate, from 0, prompt by prompt.
    """

    prompts: list[Rows]
    clusters: NDArray[np.int32]

    @property
    def n_clusters(self) -> int:
        """Return the number of clusters."""
        return int(self.clusters.max(initial=-1)) + 1

    @property
    def rows(self) -> Rows:
        """Return the rows of all candidates, prompt by prompt: intp."""
        return np.concatenate([np.empty(0, np.intp), *self.prompts])

    def followed_by(self, other: "Grouped") -> "Grouped":
        """Return these prompts, then those of another, whose clusters get the next numbers."""
        later = other.clusters + np.int32(self.n_clusters)
        return Grouped(
            [*self.prompts, *other.prompts], np.concatenate([self.clusters, later]).astype(np.int32)
        )


def geometry_metadata(params: GeometryParams) -> dict[str, str]:
    """Return what the footer of prompts.parquet says of how prompts were made."""
    return {
        "mode": params.mode.value,
        "candidates_per_prompt": str(params.candidates_per_prompt),
    }


def check_growth(path: str, params: GeometryParams) -> None:
    """Check that prompts of an earlier run can be kept; do not read them.

    Raises:
        ParamError: The file is missing, or the parameters cannot keep prompts.
    """
    file = Path(path)
    if not file.is_file():
        raise _refuse(f"there is no file {path}", f"Set {KEY} to the file, or to {NOTHING}.")
    if not file.stat().st_size:
        return
    if params.mode is Mode.PAPER:
        raise _refuse("in mode paper every prompt depends on the whole pool", _no_growth())
    if params.candidates_per_prompt is None:
        raise _refuse(
            "prompts are kept only if their size is set, not their number",
            "Set cluster.candidates_per_prompt to that of the earlier run, and cluster.n_prompts "
            "to null.",
        )


def read_earlier(path: Path, ids: Sequence[str], params: GeometryParams) -> Grouped:
    """Return the earlier prompts of the records that are still there; none if the file is empty.

    Records keep their prompt and their order in it. Prompts without a record are left out.

    Raises:
        ParamError: They were made with another mode or size of prompts, or for another pool.
        DataError: The file is not a table of prompts.
    """
    check_growth(str(path), params)
    if not path.stat().st_size:
        return Grouped([], np.empty(0, np.int32))
    table = read_table(path, PROMPTS)
    _check_geometry(path, params)
    places = pc.index_in(table["id"], value_set=pa.array(ids, pa.string()))
    left = table.filter(places.is_valid())
    if not len(left):
        raise _refuse(
            f"none of the {len(table):,} records of {path} is among the {len(ids):,} unique "
            "records: the prompts are those of another pool",
            _no_growth(),
        )
    rows = places.drop_null().to_numpy().astype(np.intp)
    numbers = left["prompt"].to_numpy()
    starts = np.flatnonzero(np.diff(numbers)) + 1
    clusters = np.unique(left["cluster"].to_numpy(), return_inverse=True)[1]
    return Grouped(np.split(rows, starts), clusters.astype(np.int32))


def _check_geometry(path: Path, params: GeometryParams) -> None:
    footer = pq.read_metadata(path).metadata or {}
    for name, value in geometry_metadata(params).items():
        earlier = footer.get(name.encode(), b"").decode()
        if earlier != value:
            raise _refuse(
                f"{path} was made with cluster.{name} {earlier or '(not recorded)'}, and it is "
                f"{value} now",
                f"Set cluster.{name} to the earlier value. {_no_growth()}"
                if earlier
                else _no_growth(),
            )


def _no_growth() -> str:
    return f"To group all records again, set {KEY} to {NOTHING}."


def _refuse(what: str, fix: str) -> ParamError:
    return ParamError(f"{KEY}: {what}", where=PARAMS_FILE, fix=fix)
