"""Estimate the cost of a workspace's selection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.cluster.inputs import text_lengths
from tasks.estimate.estimate import Estimate, estimate
from tasks.estimate.journal_admin import latencies
from tasks.lib.core.params import load_section, load_seed
from tasks.lib.core.schemas import UNIQUE
from tasks.lib.core.stage import JOURNAL, Stage
from tasks.lib.core.tables import read_table
from tasks.lib.gateway.routes import load_routes
from tasks.lib.prompts.geometry import load_geometry
from tasks.lib.prompts.plan import TournamentPlan
from tasks.lib.unique import find_rows
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.params import LlmSelect
from tasks.llm_select.pool_texts import PoolFile
from tasks.llm_select.setup import Setup


def quote(root: Path, values: Mapping[str, Any], *, is_grouped: bool) -> Estimate:
    """Return the cost of the selection on every route, for the records in `root`.

    The route in use comes first. This needs no key and no network, and makes no call.

    Args:
        root: The workspace.
        values: The whole content of params.yaml.
        is_grouped: Whether `root` has the prompts for `values`. If not, the same number of prompts
            of the same sizes is priced. The first round costs the same for any grouping, except
            for rounding, but the bounds of later rounds and checks are approximate.

    Raises:
        ParamError: A parameter is invalid.
        DataError: A file is missing or does not match its schema.
    """
    stage = Stage("llm_select", root)
    setup = Setup.read(stage, values, root) if is_grouped else _ungrouped(values, root)
    others = [route for route in load_routes(values).values() if route not in setup.routes]
    known = latencies(stage.state / JOURNAL)
    routes = [*setup.routes, *others]
    return estimate(setup.candidates, setup.plan, setup.settings, routes, known)


def _ungrouped(values: Mapping[str, Any], root: Path) -> Setup:
    """Return a setup whose prompts take turns at the records, ordered by text length.

    So each prompt has one of the longest and one of the shortest texts, which bounds later rounds.
    """
    stage = Stage("cluster", root)
    pool_path = stage.dep("ingest/pool.parquet")
    unique_path = stage.dep("dedupe/unique.parquet")
    ids = read_table(unique_path, UNIQUE)["id"]
    by_length = np.argsort(text_lengths(pool_path, unique_path, ids), kind="stable")
    mode, geometry = load_geometry(values, len(ids))
    params = load_section(values, "llm_select", LlmSelect)
    plan = TournamentPlan(
        params.budget,
        geometry.candidates_per_prompt,
        mode,
        load_seed(values),
        params.attention_checks,
    )
    pool = PoolFile(pool_path)
    rows = find_rows(ids, pool.ids, unique_path)[by_length]
    places = np.arange(len(ids))
    prompts = [places[start :: geometry.n_prompts] for start in range(geometry.n_prompts)]
    candidates = Candidates(pool, rows, np.zeros(len(ids), np.int32), prompts)
    return Setup.of(values, candidates, plan, root)
