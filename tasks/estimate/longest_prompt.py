"""Compare the longest prompt with the number of tokens that a model can read at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.lib.core.params import load_section
from tasks.lib.gateway.ollama_context import CHARS_PER_TOKEN
from tasks.lib.gateway.request import Messages
from tasks.lib.gateway.token_count import FEWEST_SHARE, fewest_tokens
from tasks.lib.prompts.prompt_size import GeometryParams
from tasks.llm_select.params import LlmSelect
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.setup import Setup


class Sizes(NamedTuple):
    """The number of tokens in the longest prompt, excluding the answer."""

    longest: int
    frame: int  # in a prompt, excluding the candidates
    n_slots: int  # in the longest prompt
    is_exact: bool  # counted from the texts; otherwise the worst case that params.yaml allows

    def n_fitting(self, room: int) -> int:
        """Return how many candidates of this length fit into `room` tokens."""
        per_candidate = max(1, self.longest - self.frame) / self.n_slots
        return min(self.n_slots, max(0, int((room - self.frame) / per_candidate)))


def exact_sizes(setup: Setup, prompts: NDArray[np.int64]) -> Sizes:
    """Return the sizes of the prompts.

    Args:
        setup: The prompts, and how they are judged.
        prompts: int64, shape (K, 2), the range of tokens in each prompt, from `prompt_tokens`.
    """
    fewest = prompts[:, 0]
    n_slots = len(setup.candidates.prompts[int(fewest.argmax())])
    messages = setup.settings.prompt.messages([""] * n_slots, setup.n_ranked)
    return Sizes(int(fewest.max() / FEWEST_SHARE), _count(messages), n_slots, is_exact=True)


def worst_sizes(values: Mapping[str, Any], root: Path) -> Sizes | None:
    """Return the sizes if every candidate has the maximum length, before any text is read.

    The result is None if `cluster.n_prompts` is set, since the size of a prompt then depends on
    the number of records.

    Raises:
        ParamError: A parameter or the prompt file is wrong.
    """
    n_slots = load_section(values, "cluster", _Cluster).candidates_per_prompt
    if n_slots is None:
        return None
    params = load_section(values, "llm_select", LlmSelect)
    messages = read_prompt(root / params.prompt).messages([""] * n_slots, params.shortlist)
    frame = _count(messages)
    texts = n_slots * params.max_candidate_chars / CHARS_PER_TOKEN
    return Sizes(int(frame + texts), frame, n_slots, is_exact=False)


class _Cluster(GeometryParams, extra="ignore"):
    pass


def _count(messages: Messages) -> int:
    return int(sum(fewest_tokens(message["content"]) for message in messages) / FEWEST_SHARE)
