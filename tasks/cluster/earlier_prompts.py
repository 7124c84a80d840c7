"""Keep the prompts from an earlier run for the records that are still in the pool."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import NO_RECORDS, PARAMS_FILE, has_no_records
from tasks.lib.core.schemas import PROMPTS
from tasks.lib.core.tables import read_table
from tasks.lib.kmeans.partition import Rows
from tasks.lib.prompts.prompt_size import GeometryParams, Mode

KEY = "cluster.earlier_prompts"


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
        """The number of clusters."""
        return int(self.clusters.max(initial=-1)) + 1

    @property
    def rows(self) -> Rows:
        """The rows of all candidates, prompt by prompt: intp."""
        return np.concatenate([np.empty(0, np.intp), *self.prompts])

    def followed_by(self, other: "Grouped") -> "Grouped":
        """Append the prompts of `other`; their clusters get the next free numbers."""
        later = other.clusters + np.int32(self.n_clusters)
        return Grouped(
            [*self.prompts, *other.prompts], np.concatenate([self.clusters, later]).astype(np.int32)
        )


def geometry_metadata(params: GeometryParams) -> dict[str, str]:
    """Return metadata for the footer of prompts.parquet: how the prompts were composed."""
    return {
        "mode": params.mode.value,
        "candidates_per_prompt": str(params.candidates_per_prompt),
    }


def check_growth(path: str, params: GeometryParams) -> None:
    """Check that the prompts from an earlier run can be kept, without reading them.

    Raises:
        ParamError: The file is missing, or prompts cannot be kept with these parameters.
    """
    file = Path(path)
    if not file.is_file():
        raise _refuse(f"there is no file {path}", f"Set {KEY} to the file, or to {NO_RECORDS}.")
    if has_no_records(file):
        return
    if params.mode is Mode.PAPER:
        raise _refuse("in paper mode, every prompt depends on the whole pool", _no_growth())
    if params.candidates_per_prompt is None:
        raise _refuse(
            "earlier prompts can be kept only if cluster.candidates_per_prompt is set",
            "Set it to the value of the earlier run, and cluster.n_prompts to null.",
        )


def read_earlier(path: Path, ids: Sequence[str], params: GeometryParams) -> Grouped:
    """Return the earlier prompts for the records still in the pool; none if the file is empty.

    Records keep their prompts and their order within them. Prompts that have lost all of their
    records are left out.

    Raises:
        ParamError: The prompts were composed in a different mode, with a different size or for a
            different pool.
        DataError: The file is not a table of prompts.
    """
    check_growth(str(path), params)
    if has_no_records(path):
        return Grouped([], np.empty(0, np.int32))
    table = read_table(path, PROMPTS)
    _check_geometry(path, params)
    places = pc.index_in(table["id"], value_set=pa.array(ids, pa.string()))
    left = table.filter(places.is_valid())
    if not len(left):
        raise _refuse(
            f"none of the {len(table):,} records in {path} is among the {len(ids):,} unique "
            "records, so its prompts belong to another pool",
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
                f"{path} was made with cluster.{name} {earlier or '(not recorded)'}, but the value "
                f"is now {value}",
                f"Set cluster.{name} to the earlier value. {_no_growth()}"
                if earlier
                else _no_growth(),
            )


def _no_growth() -> str:
    return f"To group all records again, set {KEY} to {NO_RECORDS}."


def _refuse(what: str, fix: str) -> ParamError:
    return ParamError(f"{KEY}: {what}", where=PARAMS_FILE, fix=fix)
