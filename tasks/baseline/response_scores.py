"""Scores of records that come of a small model's responses to them."""

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from typing import NamedTuple

import numpy as np

from tasks.baseline.by_score import Score, Scores
from tasks.baseline.response_cache import Response, ResponseStore
from tasks.baseline.response_metrics import openness, perplexity
from tasks.baseline.response_model import LIKELIEST, ResponseModel
from tasks.lib.core.events import log
from tasks.lib.core.stage import STATE_DIR, Stage

STORE = "responses.sqlite"
TOKENS_PER_S = 27  # of one core, reading the instruction included; docs/explanation/performance.md

Key = str


class Way(NamedTuple):
    """How a score is come by: the numbers of a record's responses, and what is made of them."""

    numbers: Sequence[int]
    figure: Callable[[Sequence[Response]], float]


WAYS = {
    Score.PERPLEXITY: Way((LIKELIEST,), perplexity),
    Score.OPENNESS: Way((1, 2, 3), openness),  # three, as in the paper
}


def response_scores(
    wanted: Set[Score], texts: Sequence[str], max_tokens: int, stage: Stage
) -> dict[Score, Scores]:
    """The scores that are wanted, of each text, by responses of at most `max_tokens` tokens.

    Responses are kept in the state folder as they come, and asked for only if they are not there.

    Raises:
        LLMError: The model does not start, or gives no response.
        DataError: The kept responses cannot be read or written.
    """
    scores: dict[Score, Scores] = {}
    with (
        closing(ResponseStore(stage.state / STORE)) as store,
        closing(ResponseModel(max_tokens)) as model,
    ):
        for score in (one for one in WAYS if one in wanted):
            numbers, figure = WAYS[score]
            asked = {model.key(text, n): (text, n) for text in texts for n in numbers}
            new = {key: asked[key] for key in sorted(asked) if key not in store}
            log.info("baseline: %s", _told(score, len(asked), len(new), max_tokens))
            _respond(new, model, store, stage)
            responses = ([store[model.key(text, n)] for n in numbers] for text in texts)
            scores[score] = np.fromiter(map(figure, responses), np.float64, len(texts))
    return scores


def _respond(
    new: Mapping[Key, tuple[str, int]], model: ResponseModel, store: ResponseStore, stage: Stage
) -> None:
    """Keep a response for each key, in their order.

    That of the keys is as good as shuffled, so that the time that is left can be told.
    """
    if new:
        model.start()
    progress = stage.progress(len(new), "responses")
    for key, (text, number) in new.items():
        store.put(key, model.respond(text, number))
        progress.advance()


def _told(score: Score, n: int, n_new: int, max_tokens: int) -> str:
    told = f"{score} takes {n:,} responses, {n_new:,} of them new"
    if not n_new:
        return told
    minutes = n_new * max_tokens / TOKENS_PER_S / 60
    about = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    return f"{told}: about {about} of a core; they are kept in {STATE_DIR}/{STORE}"
