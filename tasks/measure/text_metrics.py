"""What kinds of texts a selection holds, beside what the pool holds."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.lib.similarity.cosine import Rows
from tasks.lib.similarity.words import distinct_2
from tasks.measure.intervals import Figure, Values, Whole

N_BANDS = 10  # of length


def text_figures(
    texts: Sequence[str], labels: Mapping[str, NDArray[np.intp]], selected: Rows
) -> dict[str, Figure]:
    """Distinct-2, and for each kind of label how far the selection's shares are from the pool's."""
    figures: dict[str, Figure] = {"distinct_2": Whole(distinct_2([texts[row] for row in selected]))}
    for name, codes in labels.items():
        n = int(codes.max()) + 1
        ours, pool = np.bincount(codes[selected], minlength=n), np.bincount(codes, minlength=n)
        figures[f"{name}_shift"] = Whole(jensen_shannon(ours / ours.sum(), pool / pool.sum()))
    return figures


def jensen_shannon(p: Values, q: Values) -> float:
    """The Jensen-Shannon divergence in bits: 0 for equal shares, 1 where nothing is in both."""
    return max(0.0, _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def length_bands(texts: Sequence[str]) -> NDArray[np.intp]:
    """Which tenth of the pool each text is in by its characters; equal lengths share a tenth."""
    lengths = np.array([len(text) for text in texts])
    inner = np.quantile(lengths, np.arange(1, N_BANDS) / N_BANDS, method="inverted_cdf")
    return np.searchsorted(np.unique(inner), lengths)


def codes_of(labels: Sequence[str | None]) -> NDArray[np.intp]:
    """Labels as numbers from 0; None is one of them."""
    return np.unique([label or "" for label in labels], return_inverse=True)[1]


def script(text: str) -> str:
    """The script of most letters of a text, such as LATIN or CJK; empty where it has none."""
    counts: Counter[str] = Counter()
    for char, n in Counter(text).items():
        counts[_script_of(char)] += n
    del counts[""]
    return min(counts, key=lambda name: (-counts[name], name), default="")


@cache
def _script_of(char: str) -> str:
    """The first word of a letter's Unicode name; kana counts as CJK, which it stands among."""
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "").partition(" ")[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA") else name


def _entropy(shares: Values) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
