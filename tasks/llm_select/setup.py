"""A selection as the workspace and params.yaml set it up, before anybody is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tasks.lib.core.params import load_section, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.gateway.routes import Route, load_chain
from tasks.lib.prompts.geometry import check_budgets
from tasks.lib.prompts.plan import Round, Rules, plan_rounds, read_rules
from tasks.llm_select.candidates import Shown
from tasks.llm_select.cascade import Terms
from tasks.llm_select.params import LlmSelect, check_answer_room, read_terms


class Setup(NamedTuple):
    """What is asked, of whom, about which candidates, and in which rounds."""

    params: LlmSelect
    routes: list[Route]  # in the order in which they are asked
    terms: Terms
    shown: Shown
    rules: Rules
    plan: list[Round]

    @classmethod
    def read(cls, stage: Stage, values: Mapping[str, Any], root: Path = Path()) -> Self:
        """The selection that `values` ask for, with the prompts that the stage depends on.

        The prompt file is looked for from `root`. Needs no key and no network.

        Raises:
            ParamError: A parameter is not as it should be, or asks for what the candidates do not
                allow.
            DataError: The prompts are missing or not as the step cluster writes them.
        """
        params, seed = load_section(values, "llm_select", LlmSelect), load_seed(values)
        shown = Shown.read(stage.dep("cluster/prompts.parquet"), stage.dep("ingest/pool.parquet"))
        rules = read_rules(
            stage.dep("cluster/clusters.json"),
            params.budget,
            seed,
            n_attention_checks=params.attention_checks,
        )
        return cls.of(values, shown, rules, root)

    @classmethod
    def of(cls, values: Mapping[str, Any], shown: Shown, rules: Rules, root: Path) -> Self:
        """Return the selection that `values` ask for, out of these prompts and by these rules.

        Raises:
            ParamError: As for `read`.
        """
        params = load_section(values, "llm_select", LlmSelect)
        routes = load_chain(values, params.route, params.fallback_routes)
        check_budgets(rules.budgets, rules.mode, len(shown.rows), len(shown.prompts))
        plan = plan_rounds(len(shown.rows), len(shown.prompts), rules)
        terms = read_terms(params, rules.seed, root)
        check_answer_room(terms, plan)
        return cls(params, routes, terms, shown, rules, plan)
