"""Format numbers and texts for a page: rounded, cut to size, and safe inside a script."""

import json
from typing import Any

DIGITS = 4  # significant digits of a metric


def number(value: float) -> str:
    """Return a metric as text with four significant digits and no exponent."""
    if isinstance(value, int) or abs(value) >= 10**DIGITS:
        return f"{value:,.0f}"
    text = f"{value:#.{DIGITS}g}"
    return f"{value:.{DIGITS}f}" if "e" in text else text.rstrip(".")


def fit(text: str, max_bytes: int) -> str:
    """Truncate a text to at most `max_bytes` in a page's data, including the ellipsis."""
    size = len(script_json(text).encode())
    if size <= max_bytes:
        return text
    kept = text[:max_bytes]
    while size > max_bytes:
        kept = kept[: min(len(kept) - 1, len(kept) * max_bytes // size)]
        size = len(script_json(kept + "…").encode())
    return kept + "…"


def script_json(value: Any) -> str:
    """Return JSON for a script element, escaped so that no text in it can end that element."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
