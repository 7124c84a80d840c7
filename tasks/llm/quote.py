"""The estimate of the selection that a workspace is set up for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core.params import load_section, load_seed
from tasks.core.stage import Stage
from tasks.llm.estimate import Estimate, estimate
from tasks.llm.journal.books import latencies
from tasks.llm.routes import load_chain, load_routes
from tasks.llm.rules import check_budget, plan_rounds, read_rules
from tasks.llm.section import JOURNAL, LlmSelect, check_answer_room, read_terms
from tasks.llm.shown import Shown


def quote(root: Path, values: Mapping[str, Any]) -> Estimate:
    """What the selection of `values` costs at every route, with the prompts that lie in `root`.

    The route in use comes first. Needs no key and no network, and calls nothing.

    Raises:
        ParamError: A parameter is not as it should be.
        DataError: The prompts are missing or not as the step cluster writes them.
    """
    params = load_section(values, "llm_select", LlmSelect)
    seed = load_seed(values)
    chain = load_chain(values, params.route, params.fallback_routes)
    others = [route for route in load_routes(values).values() if route not in chain]
    stage = Stage("llm_select", root)
    shown = Shown.read(stage.dep("cluster/prompts.parquet"), stage.dep("ingest/pool.parquet"))
    rules = read_rules(
        stage.dep("cluster/clusters.json"), params.budget, seed, n_canaries=params.canaries
    )
    check_budget(len(shown.rows), len(shown.prompts), rules)
    check_answer_room(params, plan_rounds(len(shown.rows), len(shown.prompts), rules)[-1])
    terms = read_terms(params, seed, root)
    return estimate(shown, rules, terms, [*chain, *others], latencies(stage.state / JOURNAL))
