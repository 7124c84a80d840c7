"""Recognise the language of a short text by the common words in it."""

from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

DICTIONARIES = ("en", "es", "fr", "de", "pt", "it", "nl", "ru", "ar", "fa")
SCRIPTS = {
    "latin": ("a", "\u024f"),
    "cyrillic": ("\u0400", "\u04ff"),
    "arabic": ("\u0600", "\u06ff"),
}
MIN_SHARE = 0.08  # of the words in a text; below it, the text may be in another language


def language_of(words: frozenset[str], letter: str) -> str | None:
    """Return the language with the most common words among `words`, or None if none is recognised.

    Args:
        words: The distinct words of a text, in lower case.
        letter: Only the languages in the script of this letter are considered.
    """
    script = next((name for name, (a, z) in SCRIPTS.items() if a <= letter <= z), None)
    if script is None:
        return None
    n_common = {code: len(words & common) for code, common in _common_words()[script].items()}
    best = max(n_common, key=lambda code: n_common[code])
    return best if n_common[best] >= max(1, MIN_SHARE * len(words)) else None


@cache
def _common_words() -> dict[str, dict[str, frozenset[str]]]:
    """Return the most common words of each language, by script."""
    texts = YAML(typ="safe").load(Path(__file__).with_name("languages.yaml"))
    return {
        script: {code: frozenset(text.split()) for code, text in by_code.items()}
        for script, by_code in texts.items()
    }
