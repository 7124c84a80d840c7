"""What identifies a record: its id, and the text that it is compared by."""

import unicodedata
from hashlib import blake2b


def record_id(instruction: str, input_text: str) -> str:
    """Return 16 hex digits that depend on the text alone, not on its file or the machine.

    They are the BLAKE2b hash of the NFC-normalised instruction and input, joined by a NUL, which
    no text contains.
    """
    text = unicodedata.normalize("NFC", f"{instruction}\0{input_text}")
    return blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


def record_text(instruction: str, input_text: str) -> str:
    """Return the text that records are compared by: instruction, then input."""
    return f"{instruction}\n\n{input_text}" if input_text else instruction
