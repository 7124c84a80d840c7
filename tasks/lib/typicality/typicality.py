"""Judge the texts of a prompt by typicality: deterministic, without a key or a language model.

It does not know what a text means. A text that shares its words with the prompt's other texts
represents many of them, so its answer teaches more than the answer to an unusual text. Junk is
ranked last.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from tasks.lib.similarity.words import Words, words
from tasks.lib.typicality.soundness import completeness, soundness

SOUND = 0.5  # texts below it come after all others, ranked by soundness
DIGITS = 6  # of a cosine; the last bits of a logarithm differ between processors


def choose(texts: Sequence[str], n: int) -> list[int]:
    """Return the slots (1 = ``texts[0]``) of the `n` most typical texts, the most typical first.

    Each sound text becomes a vector of its words' inverse document frequencies among the sound
    texts. Its typicality is its cosine to the mean of these vectors, slightly reduced if the text
    ends with a letter or a digit, since it may be cut off. Texts that are not sound come last. A
    smaller choice is a prefix of a larger one. Ties go to the text that is first in code point
    order, regardless of its slot.
    """
    terms = [words(text) for text in texts]
    rated = [soundness(text, of_text) for text, of_text in zip(texts, terms, strict=True)]
    sound = [i for i, soundness_ in enumerate(rated) if soundness_ >= SOUND]
    cosines = _typicality([terms[i] for i in sound])
    typical = {i: cosine * completeness(texts[i]) for i, cosine in zip(sound, cosines, strict=True)}

    def worse(i: int) -> tuple[bool, float, str]:
        return i not in typical, -round(typical.get(i, rated[i]), DIGITS), texts[i]

    return [i + 1 for i in sorted(range(len(texts)), key=worse)[:n]]


def _typicality(texts: Sequence[Words]) -> list[float]:
    """Return the cosine of each text to the centre of all texts."""
    distinct = [dict.fromkeys(terms) for terms in texts]  # in order: a sum's last bits depend on it
    n_texts = Counter(word for terms in distinct for word in terms)
    idf = {word: 1 + math.log((1 + len(texts)) / (1 + n)) for word, n in n_texts.items()}
    norms = [_norm([idf[word] for word in terms]) for terms in distinct]
    centre = dict.fromkeys(idf, 0.0)
    for terms, norm in zip(distinct, norms, strict=True):
        for word in terms:
            centre[word] += idf[word] / norm
    far = _norm(centre.values())
    return [
        sum(idf[word] * centre[word] for word in terms) / norm / far
        for terms, norm in zip(distinct, norms, strict=True)
    ]


def _norm(values: Iterable[float]) -> float:
    return math.sqrt(sum(value * value for value in values)) or 1.0
