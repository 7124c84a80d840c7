"""Parse the picks and their reasons in a model's reply.

The model is asked for ``{"picks": [3, 5]}``. Some models fence it as code, add text before or
after it, omit the object or write ``[3], [5]``. These forms are accepted if they are unambiguous.
"""

import re
from typing import Any

from tasks.lib.gateway.reply import (
    ReplyProblem,
    UnusableReply,
    json_values,
    without_thoughts,
)

MAX_REASON = 300  # characters of the sentence about a pick
MAX_DIGITS = 9  # of a slot; int() rejects a number with thousands of digits, or is slow

PICKS, REASONS = "picks", "reasons"


_NUMBERS = r"['\"]?\d+['\"]?(?:\s*+,\s*+['\"]?\d+['\"]?)*+"
_LIST = rf"\[\s*+{_NUMBERS}\s*+(?:,\s*+)?\]"
_LISTS = re.compile(rf"{_LIST}(?:(?:\s|,|;|>|\band\b)*+{_LIST})*+")  # [3, 5] or [3], [5]
_BARE = re.compile(  # 3, 5 or Candidate 3 > Candidate 5
    r"(?:\w+\s*:)?(?:[\s\d,;>#]|slot|candidate)+\.?", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+")
_SLOT = re.compile(r"(?:slot|candidate|option|item)?[\s#]*(\d+)", re.IGNORECASE)
SLOT_KEYS = ("slot", "candidate", "pick", "number")


def answer_schema(n_candidates: int, n_picks: int, *, rationale: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a reply: an object, since providers refuse a list at the top."""
    slot = {"type": "integer", "minimum": 1, "maximum": n_candidates}
    picks = {"type": "array", "items": slot, "minItems": n_picks, "maxItems": n_picks}
    properties: dict[str, Any] = {PICKS: picks}
    if rationale:
        reason = {"type": "string", "maxLength": MAX_REASON}
        bounds = {"minItems": n_picks, "maxItems": n_picks}
        properties[REASONS] = {"type": "array", "items": reason, **bounds}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse_picks(text: str, n_candidates: int, n_picks: int) -> list[int] | UnusableReply:
    """Return the slots that a reply picks, the best first, or what is wrong with it.

    The list has `n_picks` different slots from 1 to `n_candidates`. Only the first `n_picks` of a
    longer list are used, since the best come first. If there are several lists, the last one
    counts, but an object with picks takes precedence over other lists. Never raises.
    """
    text = without_thoughts(text)
    if not text:
        return UnusableReply(ReplyProblem.EMPTY, "it has no text")
    values = _find_list(text)
    if values is None:
        return UnusableReply(ReplyProblem.NO_LIST, f"no list of slots in {text[:80]!r}")
    slots = [_slot(value) for value in values[:n_picks]]
    return _first_problem(slots, n_candidates, n_picks) or [slot for slot in slots if slot]


def parse_reasons(text: str, n_picks: int) -> list[str | None]:
    """Return the reason for each pick in a reply; None if it gives none. Never raises."""
    objects = list(json_values(without_thoughts(text)))
    given = next((o[REASONS] for o in reversed(objects) if REASONS in o), None)
    given = given if isinstance(given, list) else []
    reasons = [" ".join(r.split())[:MAX_REASON] if isinstance(r, str) else None for r in given]
    return (reasons + [None] * n_picks)[:n_picks]


def _first_problem(
    slots: list[int | None], n_candidates: int, n_picks: int
) -> UnusableReply | None:
    for i, slot in enumerate(slots):
        if slot is None:
            return UnusableReply(
                ReplyProblem.NOT_A_SLOT, f"number {i + 1} of the list is not a slot"
            )
        if not 1 <= slot <= n_candidates:
            return UnusableReply(
                ReplyProblem.OUT_OF_RANGE, f"a slot is not among 1 to {n_candidates}"
            )
        if slot in slots[:i]:
            return UnusableReply(ReplyProblem.REPEATED, f"slot {slot} is picked twice")
    if len(slots) < n_picks:
        return UnusableReply(ReplyProblem.TOO_FEW, f"{len(slots)} picked, {n_picks} expected")
    return None


def _find_list(text: str) -> list[Any] | None:
    """Return the last list in the text that is clearly the picks, or None."""
    for value in reversed(list(json_values(text))):
        picks = value.get(PICKS)
        if isinstance(picks, list):
            return picks
        if isinstance(picks, str):
            return _find_list(picks)
        if isinstance(picks, int | float):
            return [picks]
    return _list_without_object(text)


def _list_without_object(text: str) -> list[Any] | None:
    """Return the last list in a text that has no object with picks, or None."""
    for values in reversed(list(json_values(text, "["))):
        is_named = any(isinstance(value, dict | str) for value in values)
        if is_named and all(_slot(value) is not None for value in values):
            return list(values)
    lists = _LISTS.findall(text)
    if lists:
        return _NUMBER.findall(lists[-1])
    if _BARE.fullmatch(text):
        return _NUMBER.findall(text) or None
    return None


def _slot(value: Any) -> int | None:
    """Return the slot that a JSON value names, or None.

    It is an integer, a text that names only one, such as "Candidate 3", or an object with one of
    these, such as {"slot": 3}.
    """
    if isinstance(value, dict):
        named = [value[key] for key in SLOT_KEYS if key in value]
        return None if not named or isinstance(named[0], dict) else _slot(named[0])
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    match = _SLOT.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) if match and len(match[1]) <= MAX_DIGITS else None
