"""Format amounts of money and long texts consistently."""


def usd_text(value: float | None) -> str:
    """Return an amount of US dollars as text; None means that the price is unknown."""
    if value is None:
        return "price unknown"
    if not value:
        return "free"
    n_digits = 2 if value >= 1 else 4 if value >= 0.001 else 6
    return f"{value:,.{n_digits}f} USD"


def truncate(text: str, max_chars: int) -> str:
    """Cut a text to `max_chars` characters, and append the number of characters that were cut."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars].rstrip()} … ({len(text) - max_chars:,} more characters)"
