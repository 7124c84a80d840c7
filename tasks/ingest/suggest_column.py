"""Guess which column holds the instructions, for the error message if no column is recognised."""

import re
from collections.abc import Sequence

from tasks.ingest.classify_cells import is_plain_text, most
from tasks.ingest.detect_columns import find_messages
from tasks.ingest.first_cells import cells_of
from tasks.ingest.rows import Row

# Words in column names.
QUESTION_PARTS = {"ask", "prompt", "question", "query", "instruction", "problem", "request", "user"}
ANSWER_PARTS = {
    *("answer", "response", "reply", "output", "completion", "solution", "target", "model"),
    *("assistant", "bot", "gpt", "ref", "reference", "patch", "rationale", "explanation", "label"),
}
DIGITS = "0123456789"


def guess(rows: Sequence[Row]) -> str | None:
    """Return the column that most likely holds instructions, whatever its name, or None.

    The first column of messages is chosen. If there is none, it is the text column with the most
    words among those named like a question or, if there are none, among those not named like an
    answer. If names differ only in a number, only the first of them counts.
    """
    cells = cells_of(rows)
    texts: dict[str, str] = {}  # name without its number -> column
    for name, column in cells.items():
        if most(column, _is_text) and not name.casefold().endswith("id"):
            texts.setdefault(name.rstrip(DIGITS), name)

    def rank(column: str) -> tuple[bool, bool, int]:
        parts = set(re.findall("[a-z]+", column.casefold()))
        n_words = sum(len(str(cell).split()) for cell in cells[column])
        return not parts & ANSWER_PARTS, bool(parts & QUESTION_PARTS), n_words

    return find_messages(cells) or max(texts.values(), key=rank, default=None)


def _is_text(cell: object) -> bool:
    """Return whether a cell is text with letters; the numbers in a text table have none."""
    return is_plain_text(cell) and any(map(str.isalpha, str(cell)))
