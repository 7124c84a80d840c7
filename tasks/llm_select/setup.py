"""The questions for the judge, as the workspace and params.yaml define them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tasks.lib.core.params import load_section, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.coverage.parse_quotas import KEY, check_quotas, load_quotas, make_quotas
from tasks.lib.documents.clusters import Clusters
from tasks.lib.gateway.ollama_context import with_contexts
from tasks.lib.gateway.routes import Route, load_chain
from tasks.lib.pool_columns import read_columns, read_weights
from tasks.lib.prompts.prompt_size import Mode, check_budgets
from tasks.lib.prompts.share_budget import Take
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.attention_checks import plan_checks
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.judge_all import judge_prompts
from tasks.llm_select.params import LlmSelect, check_answer_room, check_letters, read_settings
from tasks.llm_select.verdicts import AskJudge, Receive


class Setup(NamedTuple):
    """The prompts, how they are judged, and by whom."""

    params: LlmSelect
    routes: list[Route]  # in the order in which they are tried
    settings: JudgeSettings
    candidates: Candidates
    mode: Mode
    n_ranked: int  # slots to rank in each prompt, or all if it has fewer

    @classmethod
    def read(cls, stage: Stage, values: Mapping[str, Any], root: Path = Path()) -> Self:
        """Read the prompts that the stage depends on, with the settings in `values`.

        The prompt file is relative to `root`. Needs neither a key nor a network.

        Raises:
            ParamError: A parameter is wrong, or asks for more than the candidates allow.
            DataError: The prompts are missing or not in the format that the cluster step writes.
        """
        candidates = Candidates.read(
            stage.dep("cluster/prompts.parquet"),
            stage.dep("ingest/pool.parquet"),
            stage.dep("dedupe/known.parquet"),
        )
        mode = Mode(Clusters.read(stage.dep("cluster/clusters.json")).mode)
        return cls.of(values, candidates, mode, root)

    @classmethod
    def of(cls, values: Mapping[str, Any], candidates: Candidates, mode: Mode, root: Path) -> Self:
        """Return the setup for these candidates, with the settings in `values`.

        In each prompt, a model ranks the shortlist, or the prompt's share of the largest budget if
        that is larger. The offline judge ranks a shortlist for each record of that share, since its
        ranks cost nothing.

        Raises:
            ParamError: As for `read`.
        """
        params = load_section(values, "llm_select", LlmSelect)
        routes = load_chain(values, params.route, params.fallback_routes)
        n_prompts = len(candidates.prompts)
        n_known = int(candidates.is_known.sum())
        check_budgets(params.budget, mode, len(candidates.rows), n_prompts, n_known)
        _check_wishes(values, candidates, params.budget[-1])
        share = -(-params.budget[-1] // n_prompts)
        is_free = routes[0].is_offline and params.take is Take.FIRST
        n_ranked = params.shortlist * share if is_free else max(params.shortlist, share)
        settings = read_settings(params, load_seed(values), root)
        n_slots = max(map(len, candidates.prompts))
        check_answer_room(settings, routes, n_slots, n_ranked)
        check_letters(settings, routes, n_slots, mode)
        frame = settings.prompt.messages([""] * n_slots, n_ranked, rationale=settings.rationale)
        n_chars = sum(len(m["content"]) for m in frame) + n_slots * settings.max_candidate_chars
        routes = with_contexts(routes, n_chars, settings.calls.max_answer_tokens)
        return cls(params, routes, settings, candidates, mode, n_ranked)

    @property
    def n_questions(self) -> int:
        """The number of prompts and attention checks."""
        return len(self.candidates.prompts) + self.params.attention_checks

    async def judge(self, judge: AskJudge, receive: Receive) -> None:
        """Have every prompt judged by `judge`, and then the attention checks."""
        prompts, seed = self.candidates.prompts, self.settings.calls.seed
        checks = plan_checks(len(prompts), self.params.attention_checks, seed)
        await judge_prompts(prompts, self.n_ranked, checks, judge, receive)


def _check_wishes(values: Mapping[str, Any], candidates: Candidates, n: int) -> None:
    """Check the quotas and weights of the choose section before any call is paid for.

    They are not declared as parameters of this stage, because they do not change its outputs.

    Raises:
        ParamError: The pool lacks a column, a weight is wrong, or the quotas cannot be met.
    """
    quotas = load_quotas(values)
    names = {column: f"{KEY}.{column}" for column in quotas}
    columns = read_columns(candidates.pool.path, names, candidates.rows)
    weight_column = values["choose"]["weight_column"]
    if weight_column is not None:
        read_weights(candidates.pool.path, weight_column, candidates.rows, "choose.weight_column")
    if quotas:
        choosable = np.flatnonzero(~candidates.is_known)
        check_quotas(make_quotas(quotas, columns, choosable, [n]), n)
