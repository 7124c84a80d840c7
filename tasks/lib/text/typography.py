"""One spelling for what typography spells in several ways, and for nothing else."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

SAME_SIGN = {
    "'": "\u2018\u2019\u201a\u201b\u02bc\u2039\u203a",
    '"': "\u201c\u201d\u201e\u201f\u00ab\u00bb",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    "...": "\u2026",
    "": "\u00ad\u0640\u200b\u200c\u200e\u200f\u061c\u2060\ufeff\u202a-\u202e\u2066-\u2069\ufe0f",
}
"""What to write instead of the characters of each group: quotes, dashes, an ellipsis, and nothing
for invisible ones and for the line that stretches an Arabic word."""

# <compat> has more than these, such as Roman numerals; superscripts and fractions have other tags.
SAME_FORM = {"<wide>", "<narrow>", "<noBreak>", "<initial>", "<medial>", "<final>", "<isolated>"}
LIGATURES = range(0xFB00, 0xFB07)

NO_INPUT = re.compile(r"[<\[(]?(?:no[ _-]?input|n/a)[>\])]?\.?", re.IGNORECASE)

_INSIDE_GUILLEMETS = re.compile(r"(?<=«)\s+|\s+(?=»)")

# Where a line ends in a colon, as in Python and YAML, the indentation of the next has a meaning.
_BLOCK = re.compile(
    r"^[ \t]*(?:(?:async|case|class|def|elif|else|except|finally|for|if|match|try|while|with)\b"
    r".*|[\w.-]+):[ \t]*\n+[ \t]+\S",
    re.MULTILINE,
)


def normalise(text: str) -> str:
    """Return the text with one spelling of quotes, dashes, ellipses, widths and white space.

    The result is in NFC, and invisible characters are removed. Everything else is kept, also case,
    superscripts and fractions. White space becomes a single space; but in code with indented
    blocks, each line stays a line, indented by one tab for each level.
    """
    if not text.isascii():
        text = _INSIDE_GUILLEMETS.sub("", text) if "«" in text else text
        text = _variants().sub(lambda match: _replacements()[match[0]], text)
        text = unicodedata.normalize("NFC", text)
    if "\n" in text and _BLOCK.search(text):
        return "\n".join(_indented(text))
    return " ".join(text.split())


def comparable(instruction: str, input_: str) -> tuple[str, str]:
    """Return both normalised; an input that only says that there is none is empty."""
    text = normalise(input_)
    return normalise(instruction), "" if NO_INPUT.fullmatch(text) else text


def _indented(text: str) -> Iterator[str]:
    """Yield the lines that are not blank, indented by their levels instead of their widths."""
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
    """Return for each character that is a variant what to write instead."""
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
