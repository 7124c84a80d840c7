"""Score records by a small model's responses to them."""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from typing import NamedTuple

import numpy as np

from tasks.baseline.by_score import Score, Scores
from tasks.baseline.response_model import LIKELIEST, Response, ResponseModel
from tasks.lib.core.events import log
from tasks.lib.core.stage import STATE_DIR, Stage
from tasks.lib.similarity.words import distinct_2, words
from tasks.lib.sqlite_store import SqliteStore

STORE = "responses.sqlite"
TOKENS_PER_S = 27  # on one core, including reading the instruction; docs/explanation/performance.md

Key = str


def perplexity(likeliest: Sequence[Response]) -> float:
    """Return exp(-mean log p) over the tokens of the first response.

    The result is 1 if the model was sure of every token, higher if it was less sure, and NaN if
    there is no response.
    """
    text, mean_logprob = likeliest[0]
    return math.nan if mean_logprob is None or not text.strip() else math.exp(-mean_logprob)


def openness(drawn: Sequence[Response]) -> float:
    """Return the share of distinct pairs among neighbouring words in the responses, from 0 to 1.

    The result is 1 if no pair occurs twice, and NaN if a response has fewer than two words.
    """
    texts = [response.text for response in drawn]
    return distinct_2(texts) if all(len(words(text)) > 1 for text in texts) else math.nan


class ScoreRule(NamedTuple):
    """The numbers of the responses that a score depends on, and the function that computes it."""

    numbers: Sequence[int]
    score: Callable[[Sequence[Response]], float]


RULES = {
    Score.PERPLEXITY: ScoreRule((LIKELIEST,), perplexity),
    Score.OPENNESS: ScoreRule((1, 2, 3), openness),  # three, as in the paper
}


class ResponseStore(SqliteStore):
    """The responses from earlier runs, by key."""

    def __init__(self, stage: Stage) -> None:
        columns = "key TEXT, text TEXT NOT NULL, mean_logprob REAL"
        super().__init__(stage.state / STORE, "responses", columns)

    def __getitem__(self, key: Key) -> Response:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return Response(*row)


def response_scores(
    needed: Set[Score], texts: Sequence[str], max_tokens: int, stage: Stage
) -> dict[Score, Scores]:
    """Return the needed scores of each text, from responses of at most `max_tokens` tokens.

    Each response is stored in the state folder as soon as it arrives; only missing ones are
    requested.

    Raises:
        LLMError: The model does not start, or gives no response.
        DataError: The stored responses cannot be read or written.
    """
    scores: dict[Score, Scores] = {}
    with closing(ResponseStore(stage)) as store, closing(ResponseModel(max_tokens)) as model:
        for score in (score for score in RULES if score in needed):
            numbers, compute = RULES[score]
            requests = {model.key(text, n): (text, n) for text in texts for n in numbers}
            new = {key: requests[key] for key in sorted(requests) if store.get(key) is None}
            log.info("baseline: %s", _announcement(score, len(requests), len(new), max_tokens))
            _respond(new, model, store, stage)
            responses = ([store[model.key(text, n)] for n in numbers] for text in texts)
            scores[score] = np.fromiter(map(compute, responses), np.float64, len(texts))
    return scores


def _respond(
    new: Mapping[Key, tuple[str, int]], model: ResponseModel, store: ResponseStore, stage: Stage
) -> None:
    """Store a response for each key, in order.

    Sorted keys put the requests in random order, so the remaining time can be estimated.
    """
    if new:
        model.start()
    progress = stage.progress(len(new), "responses")
    for key, (text, number) in new.items():
        store.put([(key, *model.respond(text, number))])
        progress.advance()


def _announcement(score: Score, n: int, n_new: int, max_tokens: int) -> str:
    message = f"{score} takes {n:,} responses, {n_new:,} of them new"
    if not n_new:
        return message
    minutes = n_new * max_tokens / TOKENS_PER_S / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    return f"{message}: about {time} on one core; {STATE_DIR}/{STORE} stores them"
