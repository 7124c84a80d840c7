"""Estimate how sound a text is: noise, placeholders, fragments and commands are not.

The estimate counts features that exist in any script; it does not understand the text.
"""

import math
import re
import unicodedata
from collections import Counter
from enum import StrEnum, auto
from functools import cache

from tasks.lib.similarity.words import Words

DENSE_UNIT = 0.6  # words per character in a script whose characters are syllables or words
LONG_WORD = 7  # letters per word in a script without spaces between words, such as Thai
FRAGMENT, ORDER = 0.4, 0.3  # the soundness of a text with no other fault
UNENDED = 0.95  # the completeness of a text that ends with a letter or a digit

# Addresses, and long runs of one character.
_CUT_OUT = re.compile(r"(?:https?://|www\.)\S+|(\S)\1{5,}")
_HARD_TO_SAY = re.compile(r"[bcdfghjklmnpqrstvwxzбвгджзйклмнпрстфхцчшщ]{4,}")
_FILLER = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua enim minim veniam quis nostrud exercitation ullamco laboris "
    "nisi aliquip ea commodo consequat"
)
_LOREM = frozenset(_FILLER.split())
_OPEN_ENDS = ",;:、，；：،؛-–—/&+="
# This pattern covers nine languages; apart from lorem ipsum, no other feature depends on words. It
# also matches 4 of Alpaca's 52,002 instructions, and 1 of Dolly's 15,011.
_TO_THE_READER = re.compile(
    r"""<\|\w+\|>|\[/?inst\]|</?sys>|</?(?:candidates?|instructions?|system)>  # features of a chat
    |^\W*(?:system|assistant)\s*:|^\#{2,}\s*response\b
    |["']picks["']\s*:|^-{3,}.*\b(?:slot\s*\d+|end)\b.*-{3,}$  # the words of our own questions
    |\b(?:select|choose|pick|prefer|rank)\s+(?:me|it\s+first|this\s+(?:candidate|entry|slot))\b
    |\bslot\W*\d+|\bonly\s+valid\s+answer\b
    |(?:[ck]andidat|кандидат|مرشح|उम्मीदवार)\w*\W+(?:\w+\W+)?\d+
    |\d+\s*(?:个候选|個候選|番の候補)
    |\b(?:disregard|forget)\b[^.!?\n]{0,30}\b(?:instruction|candidate|rule)
    |\bignor(?=[^.!?\n]{0,40}\b(?:all|prev|prior|above|anterior|précéd|bisherig))
        [^.!?\n]{0,40}(?:instruc|anweisung)
    |игнорир[^.!?\n]{0,40}(?:инструк|указан)
    |(?:忽略|无视|無視)\w{0,12}指[示令]|指[示令]\w{0,12}無視
    |تجاهل[^.؟\n]{0,30}تعليمات|निर्देश[^।\n]{0,20}अनदेखा""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_MOJIBAKE = re.compile("[\u00c2-\u00f4][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")


class CharKind(StrEnum):
    """The kind of a character, as a reader sees it."""

    LETTER = auto()
    DENSE = auto()  # a letter that counts as a word
    DIGIT = auto()
    SPACE = auto()
    OPENING = auto()
    CLOSING = auto()
    BROKEN = auto()  # should not be in any text
    OTHER = auto()


def soundness(text: str, terms: Words) -> float:
    """Return the soundness of a text with the words `terms`, from 0 (certainly junk) to 1.

    A thousand characters take about 0.1 ms.
    """
    text = _CUT_OUT.sub(" ", text).strip()
    kinds: Counter[CharKind] = Counter()
    for char, n in Counter(text).items():
        kinds[kind_of(char)] += n
    n_letters, n_dense = kinds[CharKind.LETTER], kinds[CharKind.DENSE]
    n_visible = max(1, len(text) - kinds[CharKind.SPACE])
    n_units = n_dense * DENSE_UNIT + max(len(terms) - n_dense, n_letters / LONG_WORD)
    # Only a text that is all upper case is lowercased: in others, HTTP and HDFS are not noise.
    cased = text.lower() if text.isupper() else text
    n_hard = sum(map(len, _HARD_TO_SAY.findall(cased)))
    n_lorem = sum(term in _LOREM for term in terms)
    n_broken = kinds[CharKind.BROKEN] + len(_MOJIBAKE.findall(text))
    return (
        _ramp(n_units, 0, 5)
        * _ramp((n_letters + n_dense + kinds[CharKind.DIGIT]) / n_visible, 0.1, 0.45)
        * _ramp(_variety(terms), 0.45, 0.75)
        * (1 - _ramp(n_hard / max(1, n_letters), 0.08, 0.3))
        * (1 - _ramp(n_lorem / max(1, len(terms)), 0.05, 0.4))
        * (1 - _ramp(n_broken / n_visible, 0.0, 0.03))
        * (FRAGMENT if _is_fragment(text, kinds) else 1.0)
        * (ORDER if gives_orders(text) else 1.0)
    )


def completeness(text: str) -> float:
    """Return 1, or less if the text ends with a letter or a digit, since it may be cut off."""
    return UNENDED if text.rstrip()[-1:].isalnum() else 1.0


def gives_orders(text: str) -> bool:
    """Return whether a text gives its reader orders, or poses as a chat or an answer."""
    return _TO_THE_READER.search(text) is not None


def _variety(terms: Words) -> float:
    """Return log(distinct words) / log(words), which is about 0.9 in any language."""
    return math.log(len(set(terms))) / math.log(len(terms)) if len(terms) > 1 else 1.0


def _is_fragment(text: str, kinds: Counter[CharKind]) -> bool:
    """Return whether a text ends at a comma or colon, or inside a bracket."""
    is_open = kinds[CharKind.OPENING] > kinds[CharKind.CLOSING]
    return is_open or text[-1:] in tuple(_OPEN_ENDS)


@cache
def kind_of(char: str) -> CharKind:
    """Return the kind of a character, based on its Unicode category."""
    if char in "\t\n\r":
        return CharKind.SPACE
    category = unicodedata.category(char)
    if char == "\ufffd" or category in ("Cc", "Cn", "Co", "Cs"):
        return CharKind.BROKEN
    if category == "Lo" and unicodedata.east_asian_width(char) == "W":
        return CharKind.DENSE
    by_category = {
        "Ps": CharKind.OPENING,
        "Pi": CharKind.OPENING,
        "Pe": CharKind.CLOSING,
        "Pf": CharKind.CLOSING,
    }
    by_class = {
        "L": CharKind.LETTER,
        "M": CharKind.LETTER,
        "N": CharKind.DIGIT,
        "Z": CharKind.SPACE,
    }
    return by_category.get(category) or by_class.get(category[0], CharKind.OTHER)


def _ramp(x: float, low: float, high: float) -> float:
    """Return 0 up to `low`, 1 from `high`, and linearly in between."""
    return min(1.0, max(0.0, (x - low) / (high - low)))
