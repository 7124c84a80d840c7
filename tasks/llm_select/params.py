"""The llm_select section of params.yaml: what to send, which routes to call, and the cap."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.batches.api import require_batches
from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import PARAMS_FILE, Budgets, Params, load_section, load_seed
from tasks.lib.core.shown_text import NOTE_CHARS
from tasks.lib.gateway.request import CallSettings
from tasks.lib.gateway.routes import Route, load_chain, load_route, require_usable
from tasks.lib.journal.models import SelectionName, answer_key
from tasks.lib.prompts.prompt_size import MAX_CANDIDATES, Mode
from tasks.lib.prompts.share_budget import Take
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.prompt import Prompt, read_prompt

FRAME_TOKENS, PICK_TOKENS, REASON_TOKENS = 16, 4, 40  # of an answer; a sentence has 25 words


class BatchRest(StrEnum):
    """What happens to requests that a batch leaves without a reply."""

    ONE_BY_ONE = "one_by_one"
    """They are sent one by one, at the standard price."""
    STOP = "stop"
    """The run ends with an error; the next run sends them in a new batch."""


class LlmSelect(Params):
    """The llm_select section: the budgets, the judge and its cap."""

    budget: Budgets
    shortlist: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)]
    take: Annotated[Take, Field(strict=False)]  # a string in YAML
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
    batch: bool
    batch_rest: Annotated[BatchRest, Field(strict=False)]
    journal: str | None


def check(values: Mapping[str, Any]) -> LlmSelect:
    """Check the llm_select section and what it names: routes, their keys and the prompt file.

    Raises:
        ParamError: One of them is wrong.
    """
    params = load_section(values, "llm_select", LlmSelect)
    load_seed(values)
    for route in load_chain(values, params.route, params.fallback_routes):
        require_usable(route)
    if params.batch:
        require_batches(load_route(values, params.route))
    read_prompt(Path(params.prompt))
    return params


def read_settings(params: LlmSelect, seed: int, root: Path = Path()) -> JudgeSettings:
    """Return the settings of the judge; the prompt file is relative to `root`.

    Raises:
        ParamError: The prompt file cannot be used.
    """
    prompt = read_prompt(root / params.prompt)
    calls = CallSettings(seed=seed, **params.model_dump(include={*CallSettings._fields}))
    judged = params.model_dump(include={*JudgeSettings._fields} - {"prompt"})
    return JudgeSettings(prompt=prompt, calls=calls, **judged)


def check_answer_room(
    settings: JudgeSettings, routes: Sequence[Route], n_slots: int, n_ranked: int
) -> None:
    """Check that an answer has room for all ranks, so that no money is spent on truncated ones.

    Args:
        settings: The settings of the judge.
        routes: The routes, which may have their own room.
        n_slots: The size of the largest prompt.
        n_ranked: The number of slots that are ranked in a prompt.

    Raises:
        ParamError: max_answer_tokens is too small for an answer.
    """
    n_ranks = settings.n_asked(n_slots, n_ranked)
    needed = FRAME_TOKENS + n_ranks * (PICK_TOKENS + REASON_TOKENS * settings.rationale)
    routes = [route for route in routes if not route.logprobs]
    own = {f"models.{route.alias}": route.max_answer_tokens for route in routes}
    for section, room in {"llm_select": settings.calls.max_answer_tokens, **own}.items():
        if room is not None and room < needed:
            raise ParamError(
                f"{section}.max_answer_tokens is {room}, but an answer names {n_ranks} slots"
                f"{' with a sentence on each' if settings.rationale else ''} and would be cut off",
                where=PARAMS_FILE,
                fix=f"Set it to {needed} or more.",
            )


def check_letters(
    settings: JudgeSettings, routes: Sequence[Route], n_slots: int, mode: Mode
) -> None:
    """Check that each route with logprobs can answer with one letter.

    Args:
        settings: The settings of the judge.
        routes: The routes.
        n_slots: The size of the largest prompt.
        mode: How prompts are composed.

    Raises:
        ParamError: There are more slots than letters, or the prompt requires more than a letter.
    """
    name = next((f"models.{route.alias}.logprobs" for route in routes if route.logprobs), "")
    if not name:
        return
    if n_slots > (n_letters := len(ascii_uppercase)):
        what = f"is true, but a prompt has {n_slots} candidates, and there are {n_letters} letters"
        fix = f"Set cluster.candidates_per_prompt to {n_letters} or lower, or remove logprobs."
    elif mode is Mode.PAPER:  # subtracting a letter's mean would cancel what a cluster is worth
        what = "is true, but cluster.mode is paper, in which every letter is a cluster"
        fix = "Set cluster.mode to within or across, or remove logprobs."
    elif settings.rationale:
        what = "is true, but llm_select.rationale asks for sentences"
        fix = "Set llm_select.rationale: false, or remove logprobs."
    elif settings.take is not Take.FIRST:
        what = f"is true, but llm_select.take is {settings.take}, which requires a whole ranking"
        fix = "Set llm_select.take: first, or remove logprobs."
    elif settings.prompt.is_whole:
        what = "is true, but llm_select.prompt is a whole prompt, which asks for a list of slots"
        fix = "Name a file with criteria alone, or remove logprobs."
    else:
        return
    raise ParamError(f"{name} {what}", where=PARAMS_FILE, fix=fix)


def selection_name(
    params: LlmSelect, settings: JudgeSettings, routes: Sequence[Route], prompts_file: Path
) -> SelectionName:
    """Return the name that all runs with the same questions share, and with it one cap.

    The old name did not depend on temperatures and schemas.
    """
    how = {"max_usd", "max_attempts", "timeout_s", "concurrency", "batch", "batch_rest", "journal"}
    by_content = {"prompt", "route", "fallback_routes"}  # by words and models: names may change
    asked = params.model_dump(exclude=how | by_content)
    with prompts_file.open("rb") as file:
        prompts = file_digest(file, "sha256").hexdigest()
    shared = {
        "prompts": prompts,
        "models": [route.model for route in routes],
        "seed": settings.calls.seed,
    }
    options = [route.own_settings for route in routes]
    former = dict(asked) | {"canaries": asked["attention_checks"]}
    del former["attention_checks"], former["shortlist"]
    return SelectionName(
        answer_key(
            words=_words(settings.prompt),
            temperatures=[route.temperature for route in routes],
            schemas=[route.schema_use for route in routes],
            **({"options": options} if any(options) else {}),  # older names stay the same
            **shared,
            **asked,
        ),
        answer_key(words=_words(settings.prompt.former or settings.prompt), **shared, **former),
    )


def _words(prompt: Prompt) -> list[str]:
    return [prompt.system.template, prompt.user.template]
