"""judgements.jsonl, which llm_select writes: the judge's verdict on each prompt, one per line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from tasks.lib.documents.document import Line, Part, read_lines


class AnswerReceipt(Part):
    """An answer that a judgement is based on.

    Attributes:
        key: The answer's key in the journal.
        digest: A hash of everything that the journal stores about the answer.
        route: The alias of the route that was called.
        model: The model's name at the provider.
        usd: The price of the whole call.
        is_upper_bound: Whether tokens and price are upper bounds, because the provider reported no
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


class Judgement(Line):
    """A line of judgements.jsonl.

    Attributes:
        prompt: The number of the prompt, from 1.
        route: The alias of the route that answered; if there are several answers, the first one.
        model: The model of this route, or the offline judge if no route answered.
        ids: The records of the prompt in the order of their slots.
        ballots: The slots in the order in which each vote ranks them; none for a fallback.
        answers: The answers behind the ballots; none for a fallback.
        reasons: The model's reason in one sentence, by slot; empty if it was not asked for reasons.
        set_aside: The reason why a candidate could not be judged, by slot.
    """

    renamed: ClassVar[Mapping[str, str]] = {"answers.0.is_bound": "answers.0.is_upper_bound"}

    prompt: int
    route: str
    model: str
    ids: tuple[str, ...]
    ballots: tuple[tuple[int, ...], ...]
    answers: tuple[AnswerReceipt, ...]
    reasons: dict[int, str]
    set_aside: dict[int, str]


def read_judgements(path: Path) -> Iterator[Judgement]:
    """Yield the judgements of a file in order.

    Raises:
        DataError: A line is not a judgement; the error says where.
    """
    return read_lines(path, Judgement)
