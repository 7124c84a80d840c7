"""Unify contractions, units, signs and accents that can be written in several ways."""

import re
import unicodedata

CONTRACTION = re.compile(
    r"\b(?:(?P<stem>do|does|did|is|are|was|were|could|would|should|have|has|had)n'?t"
    r"|(?P<can>can't|cannot)|(?P<will>won't)"
    r"|(?P<subject>what|where|who|how|when|why|that|there|here|it|he|she)'s"
    r"|(?P<pronoun>i|you|we|they)'(?P<verb>re|m|ll|ve))\b",
    re.IGNORECASE,
)
VERBS = {"re": "are", "m": "am", "ll": "will", "ve": "have"}
QUOTED = re.compile(r"[\"`]|(?<!\w)'|'(?!\w)")
UNITS = r"[mcµ]?m|km|[mk]?g|m?l|h|min|m?s|[kMGT]B|k?W|k?V|[kMG]?Hz|mph|[ap]m"

# Most texts have nothing to expand; the other expressions take several times as long.
_MAY_BE_SHORT = re.compile(r"[\d.'][A-Za-zµ]|(?:[ds]|do|are|were|have)nt\b|(?:annot|ANNOT)\b")
_MAY_HAVE_SIGN = re.compile("[≤≥≠×÷¹²³⁰-₉]")
# "px" is not among the units, since CSS does not accept "10 px".
_BEFORE_UNIT = re.compile(rf"\b\d[\d.,]*(?=(?:{UNITS})\b)")
_INITIALS = re.compile(r"\b(?:[A-Z]\.){2,}")
_SIGN = re.compile(r"[≤≥≠](?= ?(?:\d|[A-Za-z]\b))|(?<=\d)[×÷]|(?<=\d )[×÷](?= \d)")
_SIGNS = {"≤": "<=", "≥": ">=", "≠": "!=", "×": "*", "÷": "/"}
_RAISED = re.compile(r"(?<=[\w)\]])[⁰¹²³⁴-⁹]+(?!\d)")
_LOWERED = re.compile(r"(?<=[A-Za-z)\]])[₀-₉]+(?!\d)")

# й is a separate letter; the marks of Indic scripts and of kana are vowels and consonants.
_ACCENT = re.compile("(?<![иИ])[\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670]")
_LETTERS = str.maketrans(
    {"œ": "oe", "Œ": "Oe", "æ": "ae", "Æ": "Ae", "ı": "i"}
    | {chr(zero + n): str(n) for zero in (0x660, 0x6F0, 0x966) for n in range(10)}
)


def in_full(instruction: str) -> str:
    """Expand the contractions in a normalised instruction, and spell each sign in one way.

    For example, it returns "10 km" for "10km", "US" for "U.S.", "H2O" for "H₂O", "x^2" for "x²",
    and "<= 4" for "≤ 4". A text with quotes or code between backticks is returned unchanged.
    """
    text = instruction
    is_short = _MAY_BE_SHORT.search(text)
    has_sign = not text.isascii() and _MAY_HAVE_SIGN.search(text)
    if not (is_short or has_sign) or QUOTED.search(text):
        return text
    if is_short:
        text = CONTRACTION.sub(_in_full, text)
        text = _INITIALS.sub(lambda match: match[0].replace(".", ""), text)
        text = _BEFORE_UNIT.sub(r"\g<0> ", text)
    if has_sign:
        text = _SIGN.sub(lambda match: _SIGNS[match[0]], text)
        text = _RAISED.sub(lambda match: "^" + _digits(match), text)
        text = _LOWERED.sub(_digits, text)
    return text


def bare(text: str) -> str:
    """Return a text with ASCII digits and without accents, vowel points and ligatures."""
    if text.isascii():
        return text
    letters = _ACCENT.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFC", letters).translate(_LETTERS)


def _digits(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0])


def _in_full(match: re.Match[str]) -> str:
    parts = match.groupdict()
    if parts["subject"]:
        words = parts["subject"] + " is"
    elif parts["pronoun"]:
        words = f"{parts['pronoun']} {VERBS[parts['verb'].lower()]}"
    elif parts["will"]:
        words = match[0][0] + "ill not"
    else:
        words = (parts["stem"] or parts["can"][:3]) + " not"
    return words.upper() if match[0][1:].isupper() else words
