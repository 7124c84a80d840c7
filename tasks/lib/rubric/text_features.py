"""What can be seen of a text in any language, without knowing what it means."""

import math
import re
import unicodedata
from collections import Counter
from enum import StrEnum, auto
from functools import cache
from typing import NamedTuple

DENSE_UNIT = 0.6  # of a word, for a character of a script whose characters are syllables or words
LONG_WORD = 7  # letters to a word where no spaces stand between words, as in Thai

_CUT_OUT = re.compile(r"(?:https?://|www\.)\S+|(\S)\1{5,}")  # addresses, and long runs of one sign
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
# Known in nine languages; the only mark here that goes by words, besides lorem ipsum. It is also
# true of 4 of Alpaca's 52,002 instructions, and of 1 of Dolly's 15,011.
_TO_THE_READER = re.compile(
    r"""<\|\w+\|>|\[/?inst\]|</?sys>|</?(?:candidates?|instructions?|system)>  # marks of a chat
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


class Kind(StrEnum):
    """What a character is to a reader."""

    LETTER = auto()
    DENSE = auto()  # a letter that counts as a word
    DIGIT = auto()
    SPACE = auto()
    OPENING = auto()
    CLOSING = auto()
    SIGN = auto()  # of mathematics, money and code
    BROKEN = auto()  # what no text should hold
    OTHER = auto()


class Marks(NamedTuple):
    """The marks of one text, addresses and long runs of one character left out."""

    n_units: float  # words, or what comes to as much in scripts without spaces
    words: frozenset[str]
    variety: float  # log of distinct words to log of words; about 0.9 in any language
    legible: float  # letters and digits in all characters but spaces
    unsayable: float  # small letters in runs of four consonants in all letters
    placeholder: float  # words of lorem ipsum in all words
    broken: float  # characters that were lost in some conversion
    n_ends: int  # of sentences
    n_breaks: int  # ends, commas, lines
    n_figures: int
    n_quotes: int
    n_signs: int
    n_asides: int  # brackets
    is_ended: bool
    is_to_the_reader: bool  # it orders about whoever reads it, or poses as a chat or an answer
    is_torn: bool  # it breaks off: at a comma, at a colon with nothing after it, inside a bracket


def read_marks(text: str) -> Marks:
    """The marks of a text. Time grows with its length, about 0.1 ms for a thousand characters."""
    text = _CUT_OUT.sub(" ", text).strip()
    chars = Counter(text)
    kinds: Counter[Kind] = Counter()
    for char, n in chars.items():
        kinds[kind_of(char)] += n
    words = _words(text, chars)
    said = text.lower() if text.isupper() else text  # elsewhere HTTP and HDFS are no noise
    last = text[-1] if text else " "
    distinct = frozenset(words)
    n_letters = kinds[Kind.LETTER]
    n_visible = max(1, len(text) - kinds[Kind.SPACE])
    n_spaced = len(words) - kinds[Kind.DENSE]
    return Marks(
        n_units=kinds[Kind.DENSE] * DENSE_UNIT + max(n_spaced, n_letters / LONG_WORD),
        words=distinct,
        variety=math.log(len(distinct)) / math.log(len(words)) if len(words) > 1 else 1.0,
        legible=(n_letters + kinds[Kind.DENSE] + kinds[Kind.DIGIT]) / n_visible,
        unsayable=sum(map(len, _HARD_TO_SAY.findall(said))) / max(1, n_letters),
        placeholder=sum(word in _LOREM for word in words) / max(1, len(words)),
        broken=(kinds[Kind.BROKEN] + len(_MOJIBAKE.findall(text))) / n_visible,
        n_ends=_count(chars, _ENDS),
        n_breaks=_count(chars, _BREAKS),
        n_figures=len(_NUMBER.findall(text)),
        n_quotes=_count(chars, _QUOTES) // 2,
        n_signs=kinds[Kind.SIGN],
        n_asides=min(kinds[Kind.OPENING], kinds[Kind.CLOSING]),
        is_ended=last in _ENDS + _QUOTES or kind_of(last) is Kind.CLOSING,
        is_to_the_reader=_TO_THE_READER.search(text) is not None,
        is_torn=last in _OPEN_ENDS
        or kind_of(last) is Kind.OPENING
        or kinds[Kind.OPENING] > kinds[Kind.CLOSING],
    )


@cache
def kind_of(char: str) -> Kind:
    """What a character is to a reader, by its Unicode category."""
    if char in "\t\n\r":
        return Kind.SPACE
    category = unicodedata.category(char)
    if char == "\ufffd" or category in ("Cc", "Cn", "Co", "Cs"):
        return Kind.BROKEN
    if category == "Lo" and unicodedata.east_asian_width(char) == "W":
        return Kind.DENSE
    if category in ("Sm", "Sc") or char in "\\|#@%^_*~":
        return Kind.SIGN
    by_category = {"Ps": Kind.OPENING, "Pi": Kind.OPENING, "Pe": Kind.CLOSING, "Pf": Kind.CLOSING}
    by_class = {"L": Kind.LETTER, "M": Kind.LETTER, "N": Kind.DIGIT, "Z": Kind.SPACE}
    return by_category.get(category) or by_class.get(category[0], Kind.OTHER)


def _words(text: str, chars: Counter[str]) -> list[str]:
    """Casefolded runs of letters and digits; in dense scripts, single characters."""
    spacing = {ord(char): _SPACING[kind_of(char)].format(char) for char in chars if char != "'"}
    return text.translate(spacing).casefold().split()


_SPACING = dict.fromkeys(Kind, " ") | {
    Kind.LETTER: "{}",
    Kind.DIGIT: "{}",
    Kind.DENSE: " {} ",
}


def _count(chars: Counter[str], wanted: str) -> int:
    return sum(chars[char] for char in wanted)
