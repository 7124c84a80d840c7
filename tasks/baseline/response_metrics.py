"""How sure a model is of its response, and in how many ways it responds."""

import math
from collections.abc import Sequence

from tasks.baseline.response_cache import Response
from tasks.lib.similarity.words import distinct_2, words


def perplexity(likeliest: Sequence[Response]) -> float:
    """exp(-mean log p) of the tokens of a response, each given instruction and what precedes it.

    1 where the model was sure of every token, and more the less it was; NaN where it said nothing.
    Of several responses the first counts.
    """
    text, mean_logprob = likeliest[0]
    return math.nan if mean_logprob is None or not text.strip() else math.exp(-mean_logprob)


def openness(drawn: Sequence[Response]) -> float:
    """Distinct pairs of neighbouring words over all such pairs in the responses: 0 to 1.

    1 where no pair comes twice; NaN where a response has fewer than two words.
    """
    texts = [response.text for response in drawn]
    return distinct_2(texts) if all(len(words(text)) > 1 for text in texts) else math.nan
