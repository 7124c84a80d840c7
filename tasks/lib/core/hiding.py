"""Hide passwords and keys in texts that are printed, logged or stored.

Secrets are the values of environment variables named after a key, token, secret or password, and
the logins in URLs. A server may echo a secret in another encoding, so the usual encodings of a
secret are hidden too.
"""

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, unquote

HIDDEN = "[hidden]"
MIN_CHARS = 8  # a shorter value, such as "none", may be part of any word

_ESCAPES = (r"\u%04x", r"\u%04X", "&#%d;", "&#x%x;", "&#x%X;")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD", re.IGNORECASE)
# A password may contain "/" or "@"; a port ends in "/", and only a later "@" belongs to a path.
_LOGIN = re.compile(r"""(?<=://)(?:[^\s/?#"'<>]+|[^\s/:@"'<>]*:(?!\d+/)[^\s"'<>]*)@""")


def hide(text: str) -> str:
    """Return the text, hiding the environment's secrets and the logins in URLs."""
    text = _LOGIN.sub(f"{HIDDEN}@", text)
    for form in _forms(environment_secrets()):
        text = text.replace(form, HIDDEN)
    return text


def environment_secrets() -> tuple[str, ...]:
    """Return the secrets in the environment."""
    return _secrets(tuple(os.environ.items()))


def encodings(secret: str) -> Iterator[str]:
    """Yield a secret in the encodings in which a server may echo it.

    These are plain text, percent encoding of some or all bytes, hexadecimal digits, the escapes of
    JSON and HTML, and base64. In the base64 of a longer text, a secret takes one of three forms,
    depending on where it begins.
    """
    data = secret.encode(errors="surrogateescape")
    yield from (secret, quote(data, safe=""))
    digits = data.hex()
    escaped = "".join(f"%{digits[i : i + 2]}" for i in range(0, len(digits), 2))
    yield from (digits, digits.upper(), escaped, escaped.upper())
    for escape in _ESCAPES:
        yield "".join(escape % ord(char) for char in secret)
    for offset in range(3):
        n_shared = (len(data) + offset) % 3 > 0  # the last character also encodes what follows
        encoded = b64encode(bytes(offset) + data).decode().rstrip("=")
        whole = encoded[offset + (offset > 0) : len(encoded) - n_shared]
        yield from (whole, whole.translate(str.maketrans("+/", "-_")))


@lru_cache(maxsize=1)
def _secrets(environment: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    found = {value for name, value in environment if _SECRET_NAME.search(name)}
    for _, value in environment:
        for login in _LOGIN.findall(value):
            password = login[:-1].partition(":")[2]
            found |= {password, unquote(password)}
    return tuple(sorted(value for value in found if len(value) >= MIN_CHARS))


@lru_cache(maxsize=1)
def _forms(secrets: tuple[str, ...]) -> list[str]:
    """Return the secrets in all of their encodings, the longest first."""
    forms = {form for secret in secrets for form in encodings(secret)}
    return sorted(forms, key=len, reverse=True)
