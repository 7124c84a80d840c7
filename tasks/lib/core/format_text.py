"""Format amounts of money and long texts, and make any text safe to show."""

import json
import re
import unicodedata
from collections.abc import Callable


def usd_text(value: float | None) -> str:
    """Return an amount of US dollars as text; None means that the price is unknown."""
    if value is None:
        return "price unknown"
    if not value:
        return "free"
    n_digits = 2 if value >= 1 else 4 if value >= 0.001 else 6
    return f"{value:,.{n_digits}f} USD"


def truncate(text: str, max_chars: int) -> str:
    """Cut a text to `max_chars` characters, and append the number of characters that were cut."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars].rstrip()} … ({len(text) - max_chars:,} more characters)"


class _Escapes(dict[int, str]):
    """A table for `str.translate` that contains an escape for each invisible character."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__({ord(char): char for char in "\n\t"})
        self._escape = escape

    def __missing__(self, code: int) -> str:
        char = chr(code)
        is_hidden = unicodedata.category(char) in _HIDDEN or char in _INVISIBLE
        self[code] = self._escape(char) if is_hidden else char
        return self[code]


_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, bidi controls, zero-width marks, line breaks
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks without a glyph
_JOINING = "\u0600-\u0dff\u1000-\u109f\u1780-\u18af\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
_JOINER = re.compile(rf"(?<=[{_JOINING}])([\u200c\u200d])(?=[{_JOINING}])")
"""Joiners where an Arabic or Indic script or an emoji needs them."""
_AS_TEXT = _Escapes(lambda char: char.encode("unicode_escape").decode("ascii"))
_AS_JSON = _Escapes(lambda char: json.dumps(char)[1:-1])


def visible(text: str) -> str:
    r"""Return the text with an escape such as ``\x1b`` for each invisible character.

    The result cannot move a cursor, change colours or the direction of writing, or hide a word.
    Newlines and tabs are kept.
    """
    parts = _JOINER.split(text.replace("\r\n", "\n"))
    return "".join(part if i % 2 else part.translate(_AS_TEXT) for i, part in enumerate(parts))


def visible_line(text: str) -> str:
    """Return the same as `visible`, on one line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def visible_json(text: str) -> str:
    """Return JSON text with the same values, but with JSON's escapes for these characters."""
    return text.translate(_AS_JSON)
