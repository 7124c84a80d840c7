"""Every message of the project, side by side: `pytest tests/test_messages.py -s` prints them all.

Messages are read from the source; values appear as their names.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from operator import itemgetter
from typing import NamedTuple

import pytest

from tasks.lib.core import errors
from tests.conftest import PROJECT

PARTS = ("what", "where", "fix")
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.CurationError)
}
LOGGED = {"debug", "info", "warning", "error"}
UNWANTED = re.compile(
    r"\b(mend(ed|s)?|anew|beside|tells?|told|by lot|lest|parted|as far as|so many|such a|of which|"
    r"held against|in place of|stands in|as it comes)\b",
    re.IGNORECASE,
)
"""The list in the style guide: words that an engineer would not say."""


class Message(NamedTuple):
    """One message, or one part of an error."""

    place: str
    part: str  # what, where or fix of an error; log; print
    text: str


def rendered(node: ast.expr | None) -> str:
    """Return the text that an expression makes, with values as <their names>."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(rendered, values))
        case ast.FormattedValue(value=value):
            return rendered(value) if isinstance(value, ast.Constant) else f"<{ast.unparse(value)}>"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return rendered(left) + rendered(right)
        case None:
            return ""
    return f"<{ast.unparse(node)}>"


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """Return every call in the product: its place, what is called, and its arguments."""
    found = [
        (path.relative_to(PROJECT), node.lineno, ast.unparse(node.func), node)
        for folder in ("tasks", "flows")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]
    found.sort(key=itemgetter(0, 1))
    return [(f"{path}:{line}", name, node) for path, line, name, node in found]


@cache
def all_messages() -> list[Message]:
    return [message for call in calls() for message in messages_of(*call)]


def messages_of(place: str, called: str, node: ast.Call) -> Iterator[Message]:
    name = called.rpartition(".")[2]
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in ERRORS and {"where", "fix"} <= set(given):
        texts = dict(zip(PARTS, [*node.args[:1], given["where"], given["fix"]], strict=True))
        yield from (Message(place, part, rendered(texts[part])) for part in PARTS)
    elif name in LOGGED and node.args:
        yield Message(place, "log", rendered(node.args[0]))
    elif called in ("out.print", "err.print") and node.args:
        yield Message(place, "print", rendered(node.args[0]))


def of(*parts: str) -> list[Message]:
    return [message for message in all_messages() if message.part in parts]


def test_all_messages_are_printed_for_a_reader():
    for message in all_messages():
        sys.stdout.write(f"{message.place:<48} {message.part:<6} {message.text}\n")
    assert len(of("what")) > 50
    assert len(of("log")) > 20


def test_every_error_says_what_where_and_how_to_fix_it():
    for place, called, node in calls():
        if called in ERRORS:
            assert {"where", "fix"} <= {keyword.arg for keyword in node.keywords}, place
    assert [message for message in of(*PARTS) if not message.text.strip()] == []


def test_a_fix_is_a_sentence():
    def is_sentence(text: str) -> bool:
        begins = text.strip()[0] in "<`-" or text.strip()[0].isupper()
        return begins and (text.strip()[-1] in ".>}`)" or "-S " in text.splitlines()[-1])

    assert [message for message in of("fix") if not is_sentence(message.text)] == []


def test_what_is_wrong_follows_a_colon_and_needs_no_full_stop():
    def follows_a_colon(text: str) -> bool:
        first = re.match(r"[A-Z][a-z]+", text)  # names of tools may begin it
        return first is None or first[0] in {"Git", "Lite"}

    faults = [m for m in of("what") if m.text.endswith(".") or not follows_a_colon(m.text)]
    assert faults == []


@pytest.mark.parametrize("part", ["what", "fix", "log", "print"])
def test_no_message_has_a_word_that_an_engineer_would_not_say(part):
    faults = [(m.place, m.text) for m in of(part) if UNWANTED.search(re.sub("<[^>]*>", "", m.text))]
    assert faults == []
