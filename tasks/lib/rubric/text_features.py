"""Count features of a text that exist in any language, without knowing what the text means."""

import math
import re
import unicodedata
from collections import Counter
from enum import StrEnum, auto
from functools import cache
from typing import NamedTuple

DENSE_UNIT = 0.6  # words per character, in scripts whose characters are syllables or words
LONG_WORD = 7  # letters per word, in scripts without spaces between words, such as Thai

# Addresses, and long runs of one character.
_CUT_OUT = re.compile(r"(?:https?://|www\.)\S+|(\S)\1{5,}")
_HARD_TO_SAY = re.compile(r"[bcdfghjklmnpqrstvwxzбвгджзйклмнпрстфхцчшщ]{4,}")
_NUMBER = re.compile(r"\d+")
_FILLER = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua enim minim veniam quis nostrud exercitation ullamco laboris "
    "nisi aliquip ea commodo consequat"
)
_LOREM = frozenset(_FILLER.split())
_ENDS = ".!?。！？؟۔।॥…"
_BREAKS = f"{_ENDS}\n,;:、，；：،؛・"
_OPEN_ENDS = ",;:、，；：،؛-–—/&+="
_QUOTES = '"“”„«»「」『』`'
# Covers nine languages; apart from lorem ipsum, this is the only feature that depends on words. It
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
    SIGN = auto()  # of mathematics, money and code
    BROKEN = auto()  # should not occur in any text
    OTHER = auto()


class TextFeatures(NamedTuple):
    """The features of a text, excluding addresses and long runs of one character."""

    n_units: float  # words, or their equivalent in scripts without spaces
    words: frozenset[str]
    variety: float  # log of distinct words to log of words; about 0.9 in any language
    legible: float  # share of letters and digits in all visible characters
    hard_to_say: float  # share of letters that are in runs of four consonants
    placeholder: float  # share of lorem ipsum in all words
    broken: float  # share of characters that were lost in a conversion
    n_ends: int  # of sentences
    n_breaks: int  # ends, commas, lines
    n_figures: int
    n_quotes: int
    n_signs: int
    n_asides: int  # brackets
    is_ended: bool
    addresses_reader: bool  # it instructs the reader, or poses as a chat or an answer
    is_truncated: bool  # it ends at a comma or colon, or inside a bracket


def read_features(text: str) -> TextFeatures:
    """Return the features of a text; takes about 0.1 ms for a thousand characters."""
    text = _CUT_OUT.sub(" ", text).strip()
    chars = Counter(text)
    kinds: Counter[CharKind] = Counter()
    for char, n in chars.items():
        kinds[kind_of(char)] += n
    words = _words(text, chars)
    # Lower only a text that is all upper case: elsewhere HTTP and HDFS are not noise.
    cased = text.lower() if text.isupper() else text
    last = text[-1] if text else " "
    distinct = frozenset(words)
    n_letters = kinds[CharKind.LETTER]
    n_visible = max(1, len(text) - kinds[CharKind.SPACE])
    n_spaced = len(words) - kinds[CharKind.DENSE]
    return TextFeatures(
        n_units=kinds[CharKind.DENSE] * DENSE_UNIT + max(n_spaced, n_letters / LONG_WORD),
        words=distinct,
        variety=math.log(len(distinct)) / math.log(len(words)) if len(words) > 1 else 1.0,
        legible=(n_letters + kinds[CharKind.DENSE] + kinds[CharKind.DIGIT]) / n_visible,
        hard_to_say=sum(map(len, _HARD_TO_SAY.findall(cased))) / max(1, n_letters),
        placeholder=sum(word in _LOREM for word in words) / max(1, len(words)),
        broken=(kinds[CharKind.BROKEN] + len(_MOJIBAKE.findall(text))) / n_visible,
        n_ends=_count(chars, _ENDS),
        n_breaks=_count(chars, _BREAKS),
        n_figures=len(_NUMBER.findall(text)),
        n_quotes=_count(chars, _QUOTES) // 2,
        n_signs=kinds[CharKind.SIGN],
        n_asides=min(kinds[CharKind.OPENING], kinds[CharKind.CLOSING]),
        is_ended=last in _ENDS + _QUOTES or kind_of(last) is CharKind.CLOSING,
        addresses_reader=_TO_THE_READER.search(text) is not None,
        is_truncated=last in _OPEN_ENDS
        or kind_of(last) is CharKind.OPENING
        or kinds[CharKind.OPENING] > kinds[CharKind.CLOSING],
    )


@cache
def kind_of(char: str) -> CharKind:
    """Return the kind of a character, by its Unicode category."""
    if char in "\t\n\r":
        return CharKind.SPACE
    category = unicodedata.category(char)
    if char == "\ufffd" or category in ("Cc", "Cn", "Co", "Cs"):
        return CharKind.BROKEN
    if category == "Lo" and unicodedata.east_asian_width(char) == "W":
        return CharKind.DENSE
    if category in ("Sm", "Sc") or char in "\\|#@%^_*~":
        return CharKind.SIGN
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


def _words(text: str, chars: Counter[str]) -> list[str]:
    """Return casefolded runs of letters and digits, or single characters in dense scripts."""
    spacing = {ord(char): _SPACING[kind_of(char)].format(char) for char in chars if char != "'"}
    return text.translate(spacing).casefold().split()


_SPACING = dict.fromkeys(CharKind, " ") | {
    CharKind.LETTER: "{}",
    CharKind.DIGIT: "{}",
    CharKind.DENSE: " {} ",
}


def _count(chars: Counter[str], wanted: str) -> int:
    return sum(chars[char] for char in wanted)
