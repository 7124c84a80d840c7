"""A selection as the workspace and params.yaml define it, before any model is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tasks.lib.core.params import load_section, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.gateway.routes import Route, load_chain
from tasks.lib.prompts.geometry import check_budgets
from tasks.lib.prompts.plan import Round, TournamentPlan, plan_rounds, read_plan
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.cascade import JudgeSettings
from tasks.llm_select.params import LlmSelect, check_answer_room, read_settings


class Setup(NamedTuple):
    """The questions of a selection: the routes, the candidates and the rounds."""

    params: LlmSelect
    routes: list[Route]  # in the order in which they are asked
    settings: JudgeSettings
    candidates: Candidates
    plan: TournamentPlan
    rounds: list[Round]

    @classmethod
    def read(cls, stage: Stage, values: Mapping[str, Any], root: Path = Path()) -> Self:
        """Read the selection that `values` ask for, about the prompts that the stage depends on.

        The prompt file is relative to `root`. Needs no key and no network.

        Raises:
            ParamError: A parameter is wrong, or asks for more than the candidates allow.
            DataError: The prompts are missing or not as the step cluster writes them.
        """
        params, seed = load_section(values, "llm_select", LlmSelect), load_seed(values)
        candidates = Candidates.read(
            stage.dep("cluster/prompts.parquet"), stage.dep("ingest/pool.parquet")
        )
        plan = read_plan(
            stage.dep("cluster/clusters.json"),
            params.budget,
            seed,
            n_attention_checks=params.attention_checks,
        )
        return cls.of(values, candidates, plan, root)

    @classmethod
    def of(
        cls, values: Mapping[str, Any], candidates: Candidates, plan: TournamentPlan, root: Path
    ) -> Self:
        """Return the selection that `values` ask for, of these candidates and by this plan.

        Raises:
            ParamError: As for `read`.
        """
        params = load_section(values, "llm_select", LlmSelect)
        routes = load_chain(values, params.route, params.fallback_routes)
        n_records, n_prompts = len(candidates.rows), len(candidates.prompts)
        check_budgets(plan.budgets, plan.mode, n_records, n_prompts)
        rounds = plan_rounds(n_records, n_prompts, plan)
        settings = read_settings(params, plan.seed, root)
        check_answer_room(settings, rounds)
        return cls(params, routes, settings, candidates, plan, rounds)
