"""Decide whether a word is a misspelling of another."""

from collections.abc import Iterable
from functools import cache

from rapidfuzz.distance import OSA
from spellchecker import SpellChecker

from tasks.lib.text.variants import american

LATIN = ("en", "es", "fr", "de", "pt", "it", "nl")
BY_LETTER = (("\u0400", "\u04ff", ("ru",)), ("\u0600", "\u06ff", ("ar", "fa")))
MIN_LETTERS = 5
KNOWN_SHARE = 0.7  # of the words in a text; the first language with this share is taken
MIN_SHARE = 0.5  # of the words in a text; below it, the language may be none of these
_LIGATURES = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae"})


def is_misspelling(a: str, b: str, words: Iterable[str]) -> bool:
    """Return whether one of two words, in lower case, is a misspelling of the other.

    A misspelling differs in repeated letters, in one letter, or in two letters that are swapped.
    The first and the last letter must be the same, since changing them makes another word (legal
    and illegal, employer and employee). Two words in the dictionary of the text's language are
    different words (trail and trial), except for the British and the American spelling of one word.
    Two unknown words may differ only in repeated letters, since they may be names. The `words` of
    the text determine the language.
    """
    is_american = a[0] == b[0] and american(a) == american(b)
    is_ligature = a.translate(_LIGATURES) == b.translate(_LIGATURES)
    repeats = _single(a) == _single(b)
    if not (is_american or is_ligature):
        if min(len(a), len(b)) < MIN_LETTERS or a[0] != b[0] or a[-1] != b[-1]:
            return False
        if not repeats and OSA.distance(a, b, score_cutoff=1) > 1:
            return False
    others = frozenset(word for word in words if word.isalpha()) - {a, b}
    dictionary = _language(others, a)
    if is_american and dictionary is _dictionary("en"):
        return True
    n_known = (a in dictionary) + (b in dictionary)
    return n_known == 1 or (n_known == 0 and repeats)


def _single(word: str) -> str:
    """Return the word with each run of the same letter reduced to one letter."""
    return "".join(c for c, before in zip(word, " " + word, strict=False) if c != before)


def _language(words: frozenset[str], word: str) -> frozenset[str]:
    """Return the dictionary with most of `words`, for the languages in the script of `word`.

    It is empty if no dictionary has more than half of them.
    """
    codes = next((codes for a, z, codes in BY_LETTER if a <= word[0] <= z), LATIN)
    best: tuple[float, frozenset[str]] = (MIN_SHARE, frozenset())
    for code in codes if word[0] < "\u0900" else ():
        dictionary = _dictionary(code)
        share = len(words & dictionary) / max(len(words), 1)
        best = max(best, (share, dictionary), key=lambda item: item[0])
        if share >= KNOWN_SHARE:
            break
    return best[1]


@cache
def _dictionary(code: str) -> frozenset[str]:
    return frozenset(SpellChecker(language=code).word_frequency.words())
