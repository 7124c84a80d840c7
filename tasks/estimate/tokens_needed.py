"""What a selection asks, whoever answers: calls and tokens, each the least and the most."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.estimate.tokenizers import fewest_tokens
from tasks.lib.gateway.fence import shorten
from tasks.lib.gateway.prices import most_prompt_tokens
from tasks.lib.gateway.prompt import Messages
from tasks.lib.gateway.reply import response_format
from tasks.lib.prompts.plan import Round, Rules
from tasks.lib.prompts.quota import quotas
from tasks.llm_select.attention_checks import MOST_BYTES
from tasks.llm_select.candidates import Shown
from tasks.llm_select.cascade import Terms
from tasks.llm_select.picks import answer_schema
from tasks.llm_select.votes import n_useful

PAPER_PROMPTS = 1000  # K, of the paper's experiments


class Work(NamedTuple):
    """What is asked, whoever answers: each the least and the most."""

    calls: tuple[int, int]
    prompt_tokens: tuple[int, int]
    completion_tokens: tuple[int, int]


def work_of(shown: Shown, rules: Rules, terms: Terms, plan: Sequence[Round]) -> Work:
    """All rounds and votes together.

    Every prompt of the first round is rendered and counted. Later rounds, whose winners are not
    known yet, are bounded by the longest and the shortest that could win.
    """
    prompts = _first_round(shown, rules, terms, plan[0])
    n_slots = np.array([len(prompt) for prompt in shown.prompts])
    calls, prompt_tokens, answer_tokens = _votes(n_slots, prompts, terms)
    lightest, heaviest = _extremes(shown, terms) if plan[1:] else ([], [])
    for this in plan[1:]:
        n, k = this.n_candidates, this.n_prompts
        frame = _frame(terms, -(-n // k), -(-this.n_picks // k))
        least = np.sort(lightest)[:n].sum() + k * frame[0]
        most = np.sort(heaviest)[::-1][:n].sum() + k * frame[1]
        tokens = np.tile([[least // k, -(-most // k)]], (k, 1))
        more = _votes(np.full(k, -(-n // k)), tokens, terms)
        calls, prompt_tokens, answer_tokens = (
            a + b for a, b in zip((calls, prompt_tokens, answer_tokens), more, strict=True)
        )
    n_extra = rules.n_attention_checks
    extra = n_extra * np.array([prompts[:, 0].min(), prompts[:, 1].max() + MOST_BYTES])
    audit = np.array([n_extra, n_extra * terms.habits.max_answer_tokens])
    return Work(_pair(calls + n_extra), _pair(prompt_tokens + extra), _pair(answer_tokens + audit))


def paper_work(shown: Shown, rules: Rules, terms: Terms) -> Work:
    """The same pool in the paper's geometry: K = 1000 prompts, or one a pick if that is fewer.

    Each shows ceil(M / K) texts whole; where that is more than there are, the first ones of the
    pool are shown twice. One call a prompt, of its own words, which are about as long as ours.
    """
    n_prompts = min(PAPER_PROMPTS, rules.budget)
    n_slots = -(-len(shown.rows) // n_prompts)
    frame = _frame(terms, n_slots)
    fewest, most = n_prompts * frame[0], n_prompts * frame[1]
    rest = n_prompts * n_slots - len(shown.rows)
    again = np.sort(shown.rows)[:rest]
    for candidates in [*shown.prompts, np.flatnonzero(np.isin(shown.rows, again))]:
        for text in shown.texts(candidates):
            fewest += fewest_tokens(text)
            most += len(text.encode())
    n_answer = n_prompts * terms.habits.max_answer_tokens
    return Work((n_prompts, n_prompts), (fewest, most), (n_prompts, n_answer))


def _votes(
    n_slots: NDArray[np.int64], tokens: NDArray[np.int64], terms: Terms
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Calls, prompt tokens and answer tokens of prompts of these sizes, the fewest and the most."""
    most = np.array([n_useful(int(n), terms.votes) for n in n_slots])
    votes = np.stack([most // 2 + 1, most], axis=1)
    calls = votes.sum(axis=0)
    return calls, (votes * tokens).sum(axis=0), calls * [1, terms.habits.max_answer_tokens]


def _first_round(shown: Shown, rules: Rules, terms: Terms, first: Round) -> NDArray[np.int64]:
    """The tokens of each prompt as it will be sent: shape (k, 2), the fewest and the most."""
    sizes = np.array([len(prompt) for prompt in shown.prompts])
    n_picks = quotas(first.n_picks, sizes, rules.seed)
    prompts = np.empty((len(sizes), 2), dtype=np.int64)
    for i, candidates in enumerate(shown.prompts):
        texts = [shorten(text, terms.max_candidate_chars) for text in shown.texts(candidates)]
        n_ranks = terms.n_ranks(len(texts), int(n_picks[i]))
        messages = terms.prompt.messages(texts, n_ranks, rationale=terms.rationale)
        schema = answer_schema(len(texts), n_ranks, rationale=terms.rationale)
        prompts[i] = question_tokens(messages, schema)
    return prompts


def _extremes(shown: Shown, terms: Terms) -> tuple[list[int], list[int]]:
    """Of each prompt the fewest tokens of its lightest candidate, the most of its heaviest."""
    lightest, heaviest = [], []
    for candidates in shown.prompts:
        texts = [shorten(text, terms.max_candidate_chars) for text in shown.texts(candidates)]
        lightest.append(min(map(fewest_tokens, texts)))
        heaviest.append(max(len(text.encode()) for text in texts))
    return lightest, heaviest


def _frame(terms: Terms, n_slots: int, n_picks: int = 1) -> tuple[int, int]:
    """The tokens of a prompt of empty texts."""
    n_ranks = terms.n_ranks(n_slots, n_picks)
    messages = terms.prompt.messages([""] * n_slots, n_ranks, rationale=terms.rationale)
    return question_tokens(messages, answer_schema(n_slots, n_ranks, rationale=terms.rationale))


def question_tokens(messages: Messages, schema: dict[str, Any]) -> tuple[int, int]:
    """The fewest and the most tokens of a question, the schema of its answer included."""
    fewest = sum(fewest_tokens(each["content"]) for each in messages)
    return fewest, most_prompt_tokens(messages, len(json.dumps(response_format(schema))))


def _pair(values: NDArray[np.int64]) -> tuple[int, int]:
    return int(values[0]), int(values[1])
