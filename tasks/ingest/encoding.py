"""Accept only UTF-8: detect other encodings, and handle stray bytes and lone surrogates."""

import codecs
import io
import re

from tasks.lib.core.errors import DataError

HEAD_BYTES = 65_536  # enough lines to distinguish a stray byte from a file in another encoding
# A few words are equally plausible in many rare encodings.
COMMON = (
    *("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "cp1250", "cp1251"),
    *("cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "mac_roman", "gb18030", "big5"),
    *("shift_jis", "cp932", "euc_jp", "euc_kr", "cp949"),
)
MAX_NUL_SHARE = 0.2  # ASCII in UTF-16 is half NULs; text in UTF-8 has none


def skip_bom(stream: io.BufferedReader, where: str) -> None:
    """Check the first lines of `stream`, and skip a UTF-8 byte order mark.

    Raises:
        DataError: Most of the first lines are not UTF-8. The message names the likely encoding.
    """
    head = stream.peek()
    if not _is_mostly_utf8(head):
        name = _guess_encoding(head)
        raise DataError(
            f"the text is not UTF-8 but probably {name}" if name else "the text is not UTF-8",
            where=where,
            fix=_convert(name),
        )
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))


def how_to_convert(text: str) -> str:
    """Return advice on converting a file to UTF-8, given part of its text from `as_text`."""
    return _convert(_guess_encoding(text.encode("utf-8", "surrogateescape")))


def as_text(stream: io.BufferedReader) -> io.TextIOWrapper:
    """Return `stream` as text; keep line ends, and decode invalid bytes as surrogates."""
    return io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")


def is_utf8(text: str) -> bool:
    """Return whether `text` can be written as UTF-8.

    Lone surrogates cannot; `as_text` uses them to mark bytes that are not UTF-8.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape_surrogates(text: str) -> str:
    """Return `text` with lone surrogates escaped as in JSON and Python."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_mostly_utf8(head: bytes) -> bool:
    if head.count(0) > len(head) * MAX_NUL_SHARE:
        return False
    # Incremental, since the head may end inside a character.
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(head)
    # A row ends with its line or, if an array is on one line, with a brace.
    rows = [row for row in re.split(r"[\n}]", text) if row.strip()]
    return sum(map(is_utf8, rows)) >= len(rows) / 2


def _convert(name: str) -> str:
    return (
        "Convert it (after unpacking it, if it is compressed): "
        f"`iconv -f {name or 'ENCODING'} -t UTF-8 OLD > NEW`."
    )


def _guess_encoding(head: bytes) -> str:
    """Return iconv's name for the most plausible encoding; empty if there is none."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  needed only to report an error

    if b"\0" not in head:  # with NULs, a newline may be half a character
        head = head[: head.rfind(b"\n") + 1] or head  # or it may end inside a character
    matches = from_bytes(head, cp_isolation=[*COMMON])
    best = matches.best()
    if best is None:
        return ""
    # French text in Windows-1252 is equally plausible as 1250, which sorts first.
    equal = (match for match in matches if match.chaos == best.chaos)
    likely = {name for match in equal for name in match.could_be_from_charset}
    name = "cp1252" if "cp1252" in likely else best.encoding
    return re.sub(r"-([BL]E)$", r"\1", name.upper().replace("_", "-"))
