"""Bound the calls and tokens that a selection needs, on any route."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.core.shown_text import shorten
from tasks.lib.gateway.prices import max_prompt_tokens
from tasks.lib.gateway.request import Messages, response_format
from tasks.lib.gateway.token_count import fewest_tokens
from tasks.llm_select.ask_routes import JudgeSettings
from tasks.llm_select.attention_checks import MAX_BYTES
from tasks.llm_select.picks import answer_schema
from tasks.llm_select.setup import Setup
from tasks.llm_select.votes import n_useful

PAPER_PROMPTS = 1000  # K in the paper's experiments


class Workload(NamedTuple):
    """The minimum and maximum numbers of calls and tokens."""

    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]


def work_of(setup: Setup, prompts: NDArray[np.int64]) -> Workload:
    """Return the work for all prompts, votes and attention checks.

    Args:
        setup: The prompts, and how they are judged.
        prompts: int64, shape (K, 2), the range of tokens in each prompt, from `prompt_tokens`.
    """
    settings, n_checks = setup.settings, setup.params.attention_checks
    n_slots = [len(members) for members in setup.candidates.prompts]
    calls, input_tokens, answer_tokens = _votes(n_slots, prompts, settings)
    checks = n_checks * np.array([prompts[:, 0].min(), prompts[:, 1].max() + MAX_BYTES])
    answers = np.array([n_checks, n_checks * settings.calls.max_answer_tokens])
    return Workload(
        _pair(calls + n_checks), _pair(input_tokens + checks), _pair(answer_tokens + answers)
    )


def prompt_tokens(setup: Setup) -> NDArray[np.int64]:
    """Return the minimum and maximum number of tokens in each prompt: int64, shape (K, 2).

    Every prompt is rendered.
    """
    settings, n_ranked = setup.settings, setup.n_ranked
    texts = map(setup.candidates.texts, setup.candidates.prompts)
    return np.array([_prompt_tokens(_shown(t, settings), n_ranked, settings) for t in texts])


def paper_work(setup: Setup) -> Workload:
    """Return the work in the paper's geometry: K = 1000 prompts, or the budget if that is smaller.

    Each prompt shows ceil(M / K) texts in full; if that is more than M in total, the first texts
    in the pool count twice. Each prompt is one call that ranks one record, with instructions as
    long as ours.
    """
    candidates, settings = setup.candidates, setup.settings
    n_prompts = min(PAPER_PROMPTS, setup.params.budget[-1])
    n_slots = -(-len(candidates.rows) // n_prompts)
    frame = _prompt_tokens([""] * n_slots, 1, settings)
    fewest, most = n_prompts * frame[0], n_prompts * frame[1]
    rest = n_prompts * n_slots - len(candidates.rows)
    repeated = np.flatnonzero(np.isin(candidates.rows, np.sort(candidates.rows)[:rest]))
    for members in [*candidates.prompts, repeated]:
        for text in candidates.texts(members):
            fewest += fewest_tokens(text)
            most += len(text.encode())
    n_answer = n_prompts * settings.calls.max_answer_tokens
    return Workload((n_prompts, n_prompts), (fewest, most), (n_prompts, n_answer))


def _votes(
    n_slots: Sequence[int], tokens: NDArray[np.int64], settings: JudgeSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the range of calls, of prompt tokens and of answer tokens for these prompts."""
    most = np.array([n_useful(n, settings.votes) for n in n_slots])
    votes = np.stack([most // 2 + 1, most], axis=1)
    calls = votes.sum(axis=0)
    return calls, (votes * tokens).sum(axis=0), calls * [1, settings.calls.max_answer_tokens]


def _shown(texts: Sequence[str], settings: JudgeSettings) -> list[str]:
    return [shorten(text, settings.max_candidate_chars) for text in texts]


def _prompt_tokens(texts: list[str], n_ranked: int, settings: JudgeSettings) -> tuple[int, int]:
    n_asked = settings.n_asked(len(texts), n_ranked)
    messages = settings.prompt.messages(texts, n_asked, rationale=settings.rationale)
    schema = answer_schema(len(texts), n_asked, rationale=settings.rationale)
    return question_tokens(messages, schema)


def question_tokens(messages: Messages, schema: dict[str, Any]) -> tuple[int, int]:
    """Return the minimum and maximum number of tokens in a question with its answer schema."""
    fewest = sum(fewest_tokens(message["content"]) for message in messages)
    return fewest, max_prompt_tokens(messages, len(json.dumps(response_format(schema))))


def _pair(values: NDArray[np.int64]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
