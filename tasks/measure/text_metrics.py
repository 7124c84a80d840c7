"""Measure a selection's texts, and compare the distribution of their properties with the pool's."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows
from tasks.lib.similarity.words import distinct_2
from tasks.measure.intervals import Figure, Whole

N_BANDS = 10  # of length


def text_metrics(
    texts: Sequence[str], labels: Mapping[str, NDArray[np.intp]], selected: Rows
) -> dict[str, Figure]:
    """Return distinct-2 and, for each property, how far its shares are from those in the pool."""
    figures: dict[str, Figure] = {"distinct_2": Whole(distinct_2([texts[row] for row in selected]))}
    from scipy.spatial.distance import jensenshannon  # noqa: PLC0415  half a second

    for name, codes in labels.items():
        n = int(codes.max()) + 1
        counts, pool_counts = (np.bincount(c, minlength=n) for c in (codes[selected], codes))
        distance = jensenshannon(counts, pool_counts, base=2)  # the root of the divergence
        figures[f"{name}_shift"] = Whole(float(distance**2))
    return figures


def length_bands(texts: Sequence[str]) -> NDArray[np.intp]:
    """Return each text's decile by length in characters; equal lengths share a decile."""
    lengths = np.array([len(text) for text in texts])
    inner = np.quantile(lengths, np.arange(1, N_BANDS) / N_BANDS, method="inverted_cdf")
    return np.searchsorted(np.unique(inner), lengths)


def codes_of(labels: Sequence[str | None]) -> NDArray[np.intp]:
    """Return the number of each element's label, from 0; None counts as a label."""
    return np.unique([label or "" for label in labels], return_inverse=True)[1]


def script(text: str) -> str:
    """Return the most frequent script among the letters, such as LATIN or CJK; empty if none."""
    counts: Counter[str] = Counter()
    for char, n in Counter(text).items():
        counts[_script_of(char)] += n
    del counts[""]
    return min(counts, key=lambda name: (-counts[name], name), default="")


@cache
def _script_of(char: str) -> str:
    """Return the first word of a letter's Unicode name; kana counts as CJK."""
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "").partition(" ")[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA") else name
