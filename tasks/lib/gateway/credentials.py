"""Find API keys in the environment, and keep them out of messages."""

import os
import re
from collections.abc import Iterable
from functools import lru_cache

from tasks.lib.core.hiding import encodings, environment_secrets

KEY_FORM = re.compile(r"os\.environ/([A-Za-z_]\w*)")
NO_KEY = "none"  # the api_key of an endpoint that needs none

VARIABLES = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", "FIREWORKSAI_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
}
"""By provider, the variables in which LiteLLM looks for a key, the usual one first."""

PIECE = 8  # consecutive characters of a key that must never be shown
HIDDEN = "[key]"
_SECRET_SHAPE = re.compile(r"(?i)(?<=bearer )\S+|\bsk-[\w-]{8,}")
_SECRET_SETTING = re.compile(
    r"auth(?!or\b)|cookie|secret|password|token$|^key$|(?:^x-.*|api|access|subscription)[-_]?key$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(?i:\b(?:bearer|basic)\s+\S)|\b(?:sk|pk|gsk|hf|ghp|pplx|tgp|xox\w)[-_]\w{8,}|\bAIza\w{8,}"
    r"|\beyJ[\w-]{8,}|\b(?=\w*\d)(?=\w*[A-Za-z])\w{20,}\b"
)


def key_variable(api_key: str) -> str | None:
    """Return the environment variable in ``os.environ/NAME``, or None for any other form."""
    match = KEY_FORM.fullmatch(api_key)
    return match[1] if match else None


def missing_key(provider: str, api_key: str | None, api_base: str | None) -> str | None:
    """Return the environment variable that has to be set before any call, or None.

    LiteLLM requires a key for openai at any address, but for other providers only at their own.
    """
    names: tuple[str, ...] = ()
    if api_key is not None:
        names = () if api_key == NO_KEY else (key_variable(api_key) or api_key,)
    elif api_base is None or provider == "openai":
        names = VARIABLES.get(provider, ())
    return names[0] if names and not any(os.environ.get(name) for name in names) else None


def missing_variables(names: Iterable[str]) -> list[str]:
    """Return the environment variables that are unset or empty, in order."""
    return [name for name in names if not os.environ.get(name)]


def looks_secret(name: str, value: str) -> bool:
    """Return whether a setting with this name and value may be a key, a token or a password.

    A word of 20 or more characters, both letters and digits, counts as a key.
    """
    return bool(_SECRET_SETTING.search(name) or _SECRET_VALUE.search(value))


def redact(text: str, *secrets: str) -> str:
    """Return the text with every secret hidden, and every 8 consecutive characters of one.

    Secrets are the given strings and those in the environment, including in the encodings in which
    a server may echo them, and text that looks like a key.
    """
    if len(text) < PIECE:  # the environment is long, and most texts here are short
        return text
    pieces = _pieces((*secrets, *environment_secrets()))
    hidden = [False] * len(text)
    for start in range(len(text) - PIECE + 1):
        if text[start : start + PIECE] in pieces:
            hidden[start : start + PIECE] = [True] * PIECE
    marked = "".join("\0" if hide else char for char, hide in zip(text, hidden, strict=True))
    return _SECRET_SHAPE.sub(HIDDEN, re.sub("\0+", HIDDEN, marked))


@lru_cache(maxsize=64)  # one for each deployment
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    """Return every piece of the secrets in all of their encodings."""
    forms = {form for secret in secrets for form in encodings(secret)}
    return frozenset(form[i : i + PIECE] for form in forms for i in range(len(form) - PIECE + 1))
