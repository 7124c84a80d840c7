"""Spell English words the American way."""

import re

_AMERICAN = [
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        (r"(?<=\w{3})our(?=(?:s|ed|ing|ite|ites|ful|able|er|ers|less|hood|ly)?$)", "or"),
        (r"(?<=\w\w[bt])re(?=s?$)", "er"),
        (r"(?<=\w{3})is(?=(?:e|es|ed|er|ers|ing|ation|ations)$)", "iz"),
        (r"(?<=al)ys(?=(?:e|es|ed|er|ers|ing)$)", "yz"),
        (r"([aeiou]\w*[^aeiou][ae])ll(?=(?:ed|ing|er|ers|or|ors)$)", r"\1l"),
        (r"(?<=[fct]e)nce(?=s?$)", "nse"),
        (r"(?<=og)ue(?=s?$)", ""),
        (r"[ao]e(?=\w{3})", "e"),
        (r"^grey", "gray"),
        (r"^aluminium$", "aluminum"),
        (r"^programme", "program"),
        (r"^scept", "skept"),
        (r"(?<=dg)ement", "ment"),
    )
]


def american(word: str) -> str:
    """Return the American spelling of an English word in lower case."""
    for pattern, spelling in _AMERICAN:
        word = pattern.sub(spelling, word)
    return word
