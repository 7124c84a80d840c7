"""Estimate the cost of a workspace's selection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from tasks.cluster.inputs import text_lengths
from tasks.estimate.estimate import Estimate, estimate
from tasks.estimate.journal_admin import latencies
from tasks.lib.core.schemas import KNOWN, POOL, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.gateway.routes import load_routes
from tasks.lib.journal.location import journal_place
from tasks.lib.prompts.prompt_size import load_geometry
from tasks.lib.unique import find_rows
from tasks.llm_select.candidate_texts import CandidateTexts
from tasks.llm_select.candidates import Candidates, Prompts
from tasks.llm_select.setup import Setup


def quote(root: Path, values: Mapping[str, Any], *, is_grouped: bool) -> Estimate:
    """Return the cost of the selection on every route, for the records in `root`.

    The route in use comes first. This needs no key and no network, and makes no call.

    Args:
        root: The workspace.
        values: All of params.yaml.
        is_grouped: Whether the prompts in `root` match `values`. If not, the same number of prompts
            of the same sizes is priced. They cost the same for any grouping, apart from rounding;
            the bounds of attention checks are then approximate.

    Raises:
        ParamError: A parameter is wrong.
        DataError: A file is missing or not in the format that its step writes.
    """
    setup = read_setup(root, values, is_grouped=is_grouped)
    used = {route.alias for route in setup.routes}
    others = [route for alias, route in load_routes(values).items() if alias not in used]
    known = latencies(journal_place(Stage("llm_select", root).state, values))
    return estimate(setup, [*setup.routes, *others], known)


def read_setup(root: Path, values: Mapping[str, Any], *, is_grouped: bool) -> Setup:
    """Return the prompts of a workspace, or the same number of prompts of the same sizes.

    Args:
        root: The workspace.
        values: All of params.yaml.
        is_grouped: Whether the prompts in `root` match `values`.

    Raises:
        ParamError: A parameter is wrong.
        DataError: A file is missing or not in the format that its step writes.
    """
    if is_grouped:
        return Setup.read(Stage("llm_select", root), values, root)
    return _ungrouped(values, root)


def _ungrouped(values: Mapping[str, Any], root: Path) -> Setup:
    """Return prompts built by dealing out the records in turn, in order of length."""
    stage = Stage("cluster", root)
    pool_path = stage.dep("ingest/pool.parquet")
    unique_path = stage.dep("dedupe/unique.parquet")
    ids = read_table(unique_path, UNIQUE)["id"]
    by_length = np.argsort(text_lengths(pool_path, unique_path, ids), kind="stable")
    mode, geometry = load_geometry(values, len(ids))
    numbers = np.arange(len(ids), dtype=np.int32) % geometry.n_prompts
    by_prompt = np.argsort(numbers, kind="stable")
    dealt = by_length[by_prompt]
    pool_ids = read_table(pool_path, POOL, ["id"])["id"]
    rows = find_rows(ids, pool_ids, unique_path)[dealt].astype(np.int32)
    known = read_table(Stage("llm_select", root).dep("dedupe/known.parquet"), KNOWN)["id"]
    is_known = pc.is_in(ids, value_set=known).to_numpy()[dealt]
    prompts = Prompts(numbers[by_prompt])
    return Setup.of(
        values, Candidates(CandidateTexts(pool_path, rows), rows, prompts, is_known), mode, root
    )
