"""receipt.jsonl, which choose writes: why each record was selected, one JSON object per line."""

from collections.abc import Mapping
from typing import ClassVar

from tasks.lib.documents.document import Line
from tasks.lib.documents.judgement import AnswerReceipt


class Receipt(Line):
    """A line of receipt.jsonl.

    Attributes:
        place: The place in the selection, from 1.
        rank: The rank within the prompt; 1 is the best. None if no ballot names the record.
        score: The judge score, 0 to 1.
        gain: How much the record added to the mean coverage of the pool when it was selected.
        weight: The weight of the record in this coverage: its own weight times its cosine to the
            nearest steering target; 1 if there is neither.
        counts_for: For each column with a quota, the record's value, which counts toward the quota.
        votes: The number of votes that name the record; 0 for a fallback.
        route: The alias of the route that judged the prompt; if several did, the first one.
        reason: The model's reason in one sentence; None if it was not asked for one.
        rivals: The other candidates of the prompt, in slot order.
        set_aside: The candidates of the prompt that could not be judged, and why.
        ballots: The slots in the order in which each vote ranks them, the best first.
        answers: The answers behind the ballots; none for a fallback.
    """

    renamed: ClassVar[Mapping[str, str]] = {"answers.0.is_bound": "answers.0.is_upper_bound"}

    place: int
    id: str
    prompt: int
    slot: int
    rank: int | None
    score: float
    gain: float
    weight: float
    counts_for: dict[str, str | None]
    votes: int
    method: str
    route: str
    model: str
    reason: str | None
    rivals: tuple[str, ...]
    set_aside: dict[str, str]
    ballots: tuple[tuple[int, ...], ...]
    answers: tuple[AnswerReceipt, ...]
