"""Whether bytes are UTF-8, and what they seem to be when they are not."""

import codecs
import io
import re
from typing import BinaryIO

from tasks.lib.core.errors import DataError

HEAD_BYTES = 65_536  # enough lines to tell a stray byte from a file in another encoding
MIN_NUL_SHARE = 0.4  # of every other byte; ASCII in UTF-16 has 1.0, and text in UTF-8 has none

# UTF-32 first: its little-endian mark starts with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def skip_mark(stream: BinaryIO, where: str) -> None:
    """Leave `stream`, which is at its start, behind the byte order mark of UTF-8 if it has one.

    Raises:
        DataError: The first lines are, for the most part, not UTF-8.
    """
    head = stream.read(HEAD_BYTES)
    guess = _other_encoding(head)
    if guess:
        raise DataError(
            f"the text is not UTF-8 but, it seems, {guess}",
            where=where,
            fix=f"Convert it (and gunzip it before): `iconv -f {guess} -t UTF-8 OLD > NEW`.",
        )
    stream.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)


def peek_line(stream: BinaryIO) -> bytes:
    """The first line from here on that is not blank, or the head of it; `stream` stays here."""
    start = stream.tell()
    line = b"\n"
    while line.isspace():
        line = stream.readline(HEAD_BYTES)
    stream.seek(start)
    return line


def as_text(stream: BinaryIO) -> io.TextIOWrapper:
    """The text of `stream` with its own line ends, and bytes that are not UTF-8 as surrogates."""
    return io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")


def is_utf8(text: str) -> bool:
    """Whether `text` can be written as UTF-8.

    It cannot when it holds half a surrogate pair, which `as_text` gives for other bytes.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """`text` with JSON's escape, which is Python's too, for what is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _other_encoding(head: bytes) -> str:
    """The encoding that `head` seems to have, in iconv's words, or empty for UTF-8."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    for odd, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        half = head[odd::2]
        if half and half.count(0) / len(half) > MIN_NUL_SHARE:
            return name
    # Incremental, since the head may end inside a character.
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
    # A row ends with its line or, where an array stands on one line, with a brace.
    rows = [row for row in re.split(r"[\n}]", text) if row.strip()]
    n_bad = sum(not is_utf8(row) for row in rows)
    # Of the many 8-bit encodings this is the commonest by far.
    return "WINDOWS-1252" if n_bad > len(rows) / 2 else ""
