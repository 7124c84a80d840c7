"""How texts and numbers are put on a page: shortened, rounded, named in plain words."""

import json
from collections.abc import Mapping
from typing import Any

METHODS = {"llm_select": "this selection", "random": "random"}
MEASURES = {
    "coverage_mean": "Distance to the nearest selected record, mean",
    "coverage_p95": "Distance that 95\u00a0% of the pool keep to",
    "coverage_max": "Distance of the farthest record",
    "facility_location": "Facility location: likeness to the nearest selected record",
    "redundancy": "Redundancy: likeness of selected records to each other",
    "vendi": "Vendi score: as many wholly unlike records",
    "distinct_2": "Distinct pairs of words",
    "student_rouge_l": "Student's ROUGE\u2011L",
    "student_cosine": "Student's cosine",
}
SOLVERS = {
    "k_means_constrained": "k-means-constrained",
    "balanced": "our balanced k-means",
    "balanced_tree": "a tree of our balanced k-means",
    "round_robin": "taking turns",
}
SPACES = {"words": "words", "text": "texts", "vectors": "vectors"}
DIGITS = 4  # significant ones of a figure


def method_name(method: str) -> str:
    """A method in plain words."""
    return METHODS.get(method, method.replace("_", " "))


def solver_name(solver: str) -> str:
    """A solver of clusters in plain words."""
    return SOLVERS.get(solver, solver.replace("_", " "))


def measure_name(measure: str) -> str:
    """A measure in plain words; one in a space may be named SPACE.MEASURE."""
    space, _, name = measure.rpartition(".")
    words = MEASURES.get(name, name.replace("_", " "))
    return f"{words} (in {SPACES.get(space, space)})" if space else words


def measure_rank(measure: str) -> tuple[int, int, str]:
    """Where a measure stands among others, as SPACES and MEASURES are ordered."""
    space, _, name = measure.rpartition(".")
    return _place(space, SPACES), _place(name, MEASURES), measure


def number(value: float) -> str:
    """A figure at four significant digits, without an exponent."""
    if isinstance(value, int) or abs(value) >= 10**DIGITS:
        return f"{value:,.0f}"
    text = f"{value:#.{DIGITS}g}"
    return f"{value:.{DIGITS}f}" if "e" in text else text.rstrip(".")


def usd(value: float | None) -> str:
    """An amount of US dollars."""
    if value is None:
        return "price unknown"
    return "free" if not value else f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def shorten(text: str, max_chars: int) -> str:
    """A text of at most so many characters, and behind it how many are left out."""
    if len(text) <= max_chars:
        return text
    return f"{text[:max_chars].rstrip()} … ({len(text) - max_chars:,} more characters)"


def fit(text: str, max_bytes: int) -> str:
    """The start of a text that takes at most so many bytes in a page's data, and an ellipsis."""
    size = len(script_json(text).encode())
    if size <= max_bytes:
        return text
    kept = text[:max_bytes]
    while size > max_bytes:
        kept = kept[: min(len(kept) - 1, len(kept) * max_bytes // size)]
        size = len(script_json(kept + "…").encode())
    return kept + "…"


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end that element."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys, with each value as JSON has it."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found[f"{prefix}{key}"] = text
    return found


def _place(name: str, known: Mapping[str, str]) -> int:
    return [*known, name].index(name)
