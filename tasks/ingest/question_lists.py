"""Read cells that belong together: questions and their answers, a question and its choices."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from tasks.ingest.parse_turns import ASSISTANT, USER, Turn, parse_text

CHOICES = ("choices", "options", "answer_choices")
_TEXT_KEYS = ("input_text", "texts", "text", "answer", "value", "content")
_LABEL_KEYS = ("label", "labels", "key")
_HAS_LABEL = re.compile(r"\(?\w[.):]")  # such as "A)" or "1."


def join_questions(questions: object, answers: object) -> list[Turn]:
    """Return the turns of questions and their answers; empty if the lists differ in length.

    A row of CoQA or QuAC contains one list of each. An item is a text, or an object or list that
    contains one.
    """
    asked, answered = _texts(questions), _texts(answers)
    if len(asked) != len(answered):
        return []
    pairs = zip(asked, answered, strict=True)
    return [turn for ask, answer in pairs for turn in (Turn(USER, ask), Turn(ASSISTANT, answer))]


def with_choices(material: object, choices: object, question: object) -> object:
    """Return an input followed by a question's choices, unless the question already lists them."""
    parsed = parse_text(choices) if isinstance(choices, str) else choices
    labels: Sequence[str] = ascii_uppercase
    if isinstance(parsed, Mapping) and isinstance(_first(parsed, _TEXT_KEYS), list):
        labels = _texts(_first(parsed, _LABEL_KEYS)) or labels
        texts = _texts(parsed)
    elif isinstance(parsed, Mapping):
        labels, texts = list(map(str, parsed)), _texts(list(parsed.values()))
    else:
        texts = _texts(parsed)
    if len(texts) < 2 or not (material is None or isinstance(material, str)):
        return material
    if isinstance(question, str) and all(text in question for text in texts):
        return material
    if len(labels) >= len(texts) and not all(map(_HAS_LABEL.match, texts)):
        texts = [f"{label}. {text}" for label, text in zip(labels, texts, strict=False)]
    return "\n".join([*filter(None, [material and f"{material}\n"]), *texts])


def _texts(value: object) -> list[str]:
    """Return the text of each item; empty if the value is not a list or an item has no text."""
    if isinstance(value, str):
        value = parse_text(value)
    if isinstance(value, Mapping):
        value = _first(value, _TEXT_KEYS)
    if not isinstance(value, list):
        return []
    texts = [_text(item) for item in value]
    return [text for text in texts if text is not None] if None not in texts else []


def _text(item: object) -> str | None:
    if isinstance(item, Mapping):
        item = _first(item, _TEXT_KEYS)
    while isinstance(item, list) and item:
        item = item[0]
    return str(item) if isinstance(item, str | int | float) else None


def _first(cells: Mapping[str, object], names: Sequence[str]) -> object:
    return next((cells[name] for name in names if cells.get(name) is not None), None)
