"""receipt.jsonl of llm_select: why each record was selected, one JSON object a line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from tasks.lib.documents.document import Document, Part


class AnswerReceipt(Part):
    """An answer that a selection rests on.

    Attributes:
        key: The answer's key in the journal.
        digest: The hash of everything that the journal has about the answer.
        route: The alias of the route that was asked.
        model: The model's name at the provider.
        usd: The price of the whole call, which may have picked several records.
        is_upper_bound: Whether tokens and price are upper bounds, since the provider reported no
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
        rank: The rank in the prompt; 1 is the best of those that are taken.
        votes: The number of votes for the record; 0 for a fallback.
        route: The alias of the route that picked it; of its first answer if it had several.
        reason: A sentence by the model, if it was asked for one.
        rivals: The other candidates of the prompt, in the order of their slots.
        set_aside: Candidates that could not be shown to a model, and why.
        ballots: The slots that each vote ranks, the best first.
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
        """Return the line of the file."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False) + "\n"


def read_receipts(path: Path) -> Iterator[Receipt]:
    """Yield the receipts of a file in their order.

    Raises:
        DataError: A line is not a receipt; the error says where.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield Receipt.parse(line, f"{path}:{number}")
