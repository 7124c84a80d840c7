"""receipt.jsonl of llm_select: why each record was selected, one JSON object per line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from tasks.lib.documents.document import Document, Part


class AnswerReceipt(Part):
    """An answer behind the picks of a prompt.

    Attributes:
        key: The answer's key in the journal.
        digest: A hash of everything that the journal stores about the answer.
        route: The alias of the route that was called.
        model: The model's name at the provider.
        usd: The price of the whole call, which may have picked several records.
        is_upper_bound: Whether tokens and price are upper bounds because the provider reported no
            usage.
    """

    key: str
    digest: str
    route: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool


class Receipt(Document):
    """A line of receipt.jsonl.

    Attributes:
        rank: The rank within the prompt; 1 is the best pick.
        votes: The number of votes for the record; 0 for a fallback.
        route: The alias of the route that picked the record; with several answers, the first's.
        reason: The model's reason in one sentence; None if it was not asked for one.
        rivals: The other candidates of the prompt, in slot order.
        set_aside: Candidates that could not be shown to a model, and why.
        ballots: The slots in the order in which each vote ranks them, the best first.
        answers: The answers behind the picks of the prompt; none for a fallback.
    """

    renamed: ClassVar[Mapping[str, str]] = {"answers.0.is_bound": "answers.0.is_upper_bound"}

    id: str
    round: int
    prompt: int
    slot: int
    rank: int
    votes: int
    method: str
    route: str
    model: str
    reason: str | None
    rivals: tuple[str, ...]
    set_aside: dict[str, str]
    ballots: tuple[tuple[int, ...], ...]
    answers: tuple[AnswerReceipt, ...]

    def to_line(self) -> str:
        """Return the receipt as a line of the file."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False) + "\n"


def read_receipts(path: Path) -> Iterator[Receipt]:
    """Yield the receipts of a file in order.

    Raises:
        DataError: A line is not a receipt; the error gives its number.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield Receipt.parse(line, f"{path}:{number}")
