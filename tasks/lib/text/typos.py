"""Decide whether a word is a misspelling of another."""

import gzip
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from rapidfuzz.distance import OSA

from tasks.lib.text.american import american
from tasks.lib.text.language import DICTIONARIES, language_of

MIN_LETTERS = 5
MIN_SHARE = 0.5  # of the words in a text; below it, the text may be in another language
_LIGATURES = str.maketrans({"ß": "ss", "œ": "oe", "æ": "ae"})


def is_misspelling(a: str, b: str, words: Iterable[str]) -> bool:
    """Return whether one of two words, in lower case, is a misspelling of the other.

    A misspelling differs in repeated letters, in one letter, or in two letters that are swapped.
    The first and the last letter must be the same, since changing them makes another word (legal
    and illegal, employer and employee). Two words in the dictionary of the text's language are
    different words (trail and trial), except for the British and the American spelling of one word.
    Two unknown words may differ only in repeated letters, since they may be names. The `words` of
    the text determine the language; if it has no dictionary here, no word is a misspelling.
    """
    is_american = a[0] == b[0] and american(a) == american(b)
    is_ligature = a.translate(_LIGATURES) == b.translate(_LIGATURES)
    repeats = _single(a) == _single(b)
    if not (is_american or is_ligature):
        if min(len(a), len(b)) < MIN_LETTERS or a[0] != b[0] or a[-1] != b[-1]:
            return False
        if not repeats and OSA.distance(a, b, score_cutoff=1) > 1:
            return False
    alphabetic = frozenset(word for word in words if word.isalpha())
    language = language_of(alphabetic | {a, b}, a[0])
    if language not in DICTIONARIES:
        return False
    if is_american and language == "en":
        return True
    dictionary = _dictionary(language)
    n_known = (a in dictionary) + (b in dictionary)
    if repeats or n_known != 1:
        return repeats and n_known < 2
    others = alphabetic - {a, b}
    return len(others & dictionary.keys()) >= MIN_SHARE * len(others)


def _single(word: str) -> str:
    """Return the word with each run of the same letter reduced to one letter."""
    return "".join(c for c, before in zip(word, " " + word, strict=False) if c != before)


@cache
def _dictionary(code: str) -> dict[str, int]:
    """Return the words of a language, with their frequencies.

    They are read from the package's file, since its `SpellChecker` takes three times as long.
    """
    packed = files("spellchecker").joinpath("resources", f"{code}.json.gz").read_bytes()
    words: dict[str, int] = json.loads(gzip.decompress(packed))
    return words
