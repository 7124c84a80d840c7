"""Normalise characters that differ only in typography."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

from tasks.lib.core.records import says_no_input

SAME_SIGN = {
    "'": "\u2018\u2019\u201a\u201b\u02bc\u2039\u203a",
    '"': "\u201c\u201d\u201e\u201f\u00ab\u00bb",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    "...": "\u2026",
    "": "\u00ad\u0640\u200b\u200c\u200e\u200f\u061c\u2060\ufeff\u202a-\u202e\u2066-\u2069\ufe0f",
}
"""Replacements for groups of characters: quotes, dashes and an ellipsis. Invisible characters are
removed, and so is the line that stretches an Arabic word."""

# Not <compat>, which also tags Roman numerals. Superscripts and fractions have other tags.
SAME_FORM = {"<wide>", "<narrow>", "<noBreak>", "<initial>", "<medial>", "<final>", "<isolated>"}
LIGATURES = range(0xFB00, 0xFB07)


_INSIDE_GUILLEMETS = re.compile(r"(?<=«)\s+|\s+(?=»)")

# After a line that ends with a colon, as in Python and YAML, indentation is significant.
_BLOCK = re.compile(
    r"^[ \t]*(?:(?:async|case|class|def|elif|else|except|finally|for|if|match|try|while|with)\b"
    r".*|[\w.-]+):[ \t]*\n+[ \t]+\S",
    re.MULTILINE,
)


_BULLET = re.compile(r"^[ \t]*[*\u2022\u2023\u25aa] (?=[^\W\d_]{2})", re.MULTILINE)
_NUMBER = re.compile(r"^([ \t]*\d{1,2})\) (?=[^\W\d_]{2})", re.MULTILINE)
MIN_ITEMS = 2  # one marker alone may be a sign


def normalise(text: str) -> str:
    """Return the text with uniform quotes, dashes, list markers and white space.

    The result is in NFC, and invisible characters are removed. Everything else is kept, including
    case, superscripts and fractions. White space becomes a single space, except that code with
    indented blocks keeps its lines, each indented by one tab per level.
    """
    if not text.isascii():
        text = _INSIDE_GUILLEMETS.sub("", text) if "«" in text else text
        text = _variants().sub(lambda match: _replacements()[match[0]], text)
        text = unicodedata.normalize("NFC", text)
    if "\n" in text:
        text = _same_marker(_BULLET, "- ", text)
        text = _same_marker(_NUMBER, r"\1. ", text)
    if "\n" in text and _BLOCK.search(text):
        return "\n".join(_indented(text))
    return " ".join(text.split())


def _same_marker(marker: re.Pattern[str], replacement: str, text: str) -> str:
    """Return the text with the items of its lists marked by `replacement`."""
    changed, n_items = marker.subn(replacement, text)
    return changed if n_items >= MIN_ITEMS else text


def comparable(instruction: str, input_: str) -> tuple[str, str]:
    """Normalise both texts; the input becomes empty if it only says that there is no input."""
    text = normalise(input_)
    return normalise(instruction), "" if says_no_input(text) else text


def _indented(text: str) -> Iterator[str]:
    """Yield the lines that are not blank, indented by one tab per level of indentation."""
    widths = [0]
    for line in text.expandtabs().splitlines():
        if words := line.split():
            width = len(line) - len(line.lstrip())
            while width < widths[-1]:
                widths.pop()
            if width > widths[-1]:
                widths.append(width)
            yield "\t" * (len(widths) - 1) + " ".join(words)


@cache
def _replacements() -> dict[str, str]:
    """Return the replacement for each character that is a variant of another."""
    characters = "".join(map(chr, range(0x80, 0x10000)))
    table = {
        character: unicodedata.normalize("NFKC", character)
        for character in characters
        if unicodedata.decomposition(character).partition(" ")[0] in SAME_FORM
        or ord(character) in LIGATURES
    }
    for sign, variants in SAME_SIGN.items():
        table |= dict.fromkeys(re.findall(f"[{variants}]", characters), sign)
    return table


@cache
def _variants() -> re.Pattern[str]:
    return re.compile("[" + "".join(map(re.escape, _replacements())) + "]")
