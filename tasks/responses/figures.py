"""How sure a model is of its response, and in how many ways it responds."""

import math
from collections.abc import Sequence
from itertools import pairwise

from tasks.likeness.words import words
from tasks.responses.store import Response


def perplexity(likeliest: Sequence[Response]) -> float:
    """exp(-mean log p) of the tokens of a response, each given instruction and what precedes it.

    1 where the model was sure of every token, and more the less it was; NaN where it said nothing.
    Of several responses the first counts.
    """
    text, mean_logprob = likeliest[0]
    return math.nan if mean_logprob is None or not text.strip() else math.exp(-mean_logprob)


def openness(drawn: Sequence[Response]) -> float:
    """Distinct pairs of neighbouring words in all responses, over the sum of those in each.

    1/n where all n responses say the same, 1 where no two of them share a pair; NaN where one has
    fewer than two words.
    """
    pairs = [set(pairwise(words(response.text))) for response in drawn]
    return len(set().union(*pairs)) / sum(map(len, pairs)) if all(pairs) else math.nan
