"""Read the judged records, and find their rows in the vectors and in the pool."""

from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.choose.order import JudgedRecords
from tasks.lib.core.errors import REMAKE, DataError
from tasks.lib.core.schemas import BALLOTS, KNOWN, POOL, PROMPTS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.similarity.cosine import Rows
from tasks.lib.unique import find_rows, read_vectors


class Inputs(NamedTuple):
    """The outputs of the earlier stages that the selection depends on.

    Attributes:
        judged: The ballots of the records that can be selected, with a ``cluster`` column. These
            records were not set aside and repeat no annotated record.
        candidates: The same records as arrays.
        pool_file: The pool.
        pool_rows: intp, shape (m,), each unique record's row in the pool.
        is_known: bool, shape (m,), whether each unique record repeats an annotated one.
        n_set_aside: The number of records that could not be judged.
        is_partial: Whether the spending limit left some prompts unjudged.
    """

    judged: pa.Table
    candidates: JudgedRecords
    pool_file: Path
    pool_rows: Rows
    is_known: NDArray[np.bool_]
    n_set_aside: int
    is_partial: bool

    @classmethod
    def read(cls, stage: Stage) -> Self:
        """Read the inputs of a stage.

        Raises:
            DataError: A file is missing or does not match its schema, or a record in one file is
                missing from another.
        """
        ballots_file = stage.dep("llm_select/ballots.parquet")
        ballots = read_table(ballots_file, BALLOTS)
        known = read_table(stage.dep("dedupe/known.parquet"), KNOWN, ["id"])["id"]
        could_judge = ballots.filter(pc.is_null(ballots["set_aside"]))
        judged = could_judge.filter(pc.invert(pc.is_in(could_judge["id"], value_set=known)))
        prompts_file = stage.dep("cluster/prompts.parquet")
        prompts = read_table(prompts_file, PROMPTS)
        shown = _places(judged["id"], prompts["id"], ballots_file)
        pool_file, unique_file = (
            stage.dep("ingest/pool.parquet"),
            stage.dep("dedupe/unique.parquet"),
        )
        ids = read_table(unique_file, UNIQUE)["id"]
        pool_ids = read_table(pool_file, POOL, ["id"])["id"]
        vectors = read_vectors(stage.dep("embed/vectors.npy"), len(ids))
        annotated = read_vectors(stage.dep("embed/annotated.npy"))
        return cls(
            judged=judged.append_column("cluster", prompts["cluster"].take(shown)),
            candidates=JudgedRecords(
                rows=_places(judged["id"], ids, ballots_file),
                prompts=judged["prompt"].to_numpy(),
                ranks=np.nan_to_num(judged["rank"].cast(pa.float64()).to_numpy(), nan=np.inf),
                scores=judged["score"].to_numpy(),
                sizes=np.unique(prompts["prompt"].to_numpy(), return_counts=True)[1],
                vectors=np.concatenate([vectors, annotated]) if len(annotated) else vectors,
                weights=np.repeat([1.0, 0.0], [len(ids), len(annotated)]),
                annotated=np.arange(len(ids), len(ids) + len(annotated)),
            ),
            pool_file=pool_file,
            pool_rows=find_rows(ids, pool_ids, unique_file).astype(np.intp),
            is_known=pc.is_in(ids, value_set=known).to_numpy(),
            n_set_aside=len(ballots) - len(could_judge),
            is_partial=len(ballots) < len(prompts),
        )


def _places(ids: "pa.ChunkedArray[Any]", among: "pa.ChunkedArray[Any]", ids_file: Path) -> Rows:
    """Return the index of each id in a list of ids.

    Raises:
        DataError: An id is not in the list.
    """
    places = pc.index_in(ids, value_set=among)
    if places.null_count:
        unknown = ids.filter(places.is_null())[0].as_py()
        raise DataError(
            f"record {unknown} does not appear in any prompt of this run",
            where=str(ids_file),
            fix=REMAKE,
        )
    return places.to_numpy().astype(np.intp)
