"""The section llm_select of params.yaml: what is asked, of whom, how, and for how much."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, Budgets, Params, load_section, load_seed
from tasks.lib.gateway.endpoint import Habits
from tasks.lib.gateway.fence import NOTE_CHARS
from tasks.lib.gateway.local_server import require_local
from tasks.lib.gateway.prompt import read_prompt
from tasks.lib.gateway.routes import Route, load_chain, require_key
from tasks.lib.journal.models import answer_key
from tasks.lib.prompts.plan import Round
from tasks.lib.prompts.quota import Take
from tasks.llm_select.cascade import Terms

FRAME_TOKENS, PICK_TOKENS, REASON_TOKENS = 16, 4, 40  # of an answer; a sentence has 25 words


class LlmSelect(Params):
    """How many records to select, whom to ask, how, and what it may cost."""

    budget: Budgets
    take: Annotated[Take, Field(strict=False)]  # YAML has strings only
    route: str
    fallback_routes: list[str]
    prompt: str
    rationale: bool
    votes: Annotated[int, Field(ge=1, le=15)]
    attention_checks: Annotated[int, Field(ge=0)]
    max_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_candidate_chars: Annotated[int, Field(ge=4 * NOTE_CHARS)]
    max_answer_tokens: Annotated[int, Field(ge=64)]  # whitespace of a constrained answer counts
    max_attempts: Annotated[int, Field(ge=1)]
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1)]


def check(values: Mapping[str, Any]) -> LlmSelect:
    """The section llm_select, and what it names: the routes, their keys and the prompt file.

    Raises:
        ParamError: Something of it is not as it should be.
    """
    params = load_section(values, "llm_select", LlmSelect)
    load_seed(values)
    for route in load_chain(values, params.route, params.fallback_routes):
        require_key(route)
        if route.deployments[0].is_embedded:
            require_local()
    read_prompt(Path(params.prompt))
    return params


def read_terms(params: LlmSelect, seed: int, root: Path = Path()) -> Terms:
    """What is asked, and how; the prompt file is looked for from `root`.

    Raises:
        ParamError: The prompt file is not as it should be.
    """
    habits = Habits(
        seed,
        params.max_answer_tokens,
        params.max_attempts,
        params.timeout_s,
        params.concurrency,
    )
    return Terms(
        read_prompt(root / params.prompt),
        params.rationale,
        params.votes,
        params.max_candidate_chars,
        habits,
        params.take,
    )


def check_answer_room(terms: Terms, plan: Sequence[Round]) -> None:
    """Refuse to pay for answers that would be cut off: all ranks of a prompt have to fit into one.

    Raises:
        ParamError: max_answer_tokens is too small for those of some round.
    """
    n_ranks = max(
        terms.n_ranks(-(-this.n_candidates // this.n_prompts), -(-this.n_picks // this.n_prompts))
        for this in plan
    )
    needed = FRAME_TOKENS + n_ranks * (PICK_TOKENS + (REASON_TOKENS if terms.rationale else 0))
    if terms.habits.max_answer_tokens < needed:
        raise ParamError(
            f"llm_select.max_answer_tokens is {terms.habits.max_answer_tokens}, and an answer "
            f"names {n_ranks} slots{' with a sentence on each' if terms.rationale else ''}: it "
            "would be cut off",
            where=PARAMS_FILE,
            fix=f"Set it to {needed} at least.",
        )


def selection_name(
    params: LlmSelect, terms: Terms, routes: Sequence[Route], prompts_file: Path
) -> str:
    """The same for all runs that ask the same questions: they share one cap."""
    how = ("max_usd", "max_attempts", "timeout_s", "concurrency")
    named = ("prompt", "route", "fallback_routes")  # by words and models below: names may change
    return answer_key(
        prompts=sha256(prompts_file.read_bytes()).hexdigest(),
        words=[part.template for part in (terms.prompt.system, terms.prompt.user)],
        models=[route.model for route in routes],
        seed=terms.habits.seed,
        **params.model_dump(exclude={*how, *named}),
    )
