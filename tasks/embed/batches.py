"""Build batches with shapes that depend only on text length, so no vector depends on other texts.

Matrix products of different shapes may add numbers in a different order, which changes the last
bits. So a text's length alone decides its padded length and the number of rows in its batch. A text
therefore has the same vector in any pool, in any order and on any worker.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class TokenizedText(NamedTuple):
    """The part of a text that a model reads.

    Attributes:
        length: The number of tokens after padding; 0 for a text that must be alone in its batch.
        tokens: The tokens in the model's own format.
        is_full: Whether the tokens fill the model's window, so the rest of the text may be unread.
    """

    length: int
    tokens: Any
    is_full: bool = False


class TokenizedRecord(NamedTuple):
    """A record's row and id, and its tokenized text."""

    row: int
    id: str
    text: TokenizedText


def padded_length(n_tokens: int, max_tokens: int) -> int:
    """Round a number of tokens up to a padded length of at most `max_tokens`.

    There are 32 padded lengths up to 256, then 8 per doubling. Padding makes Dolly's texts 3 %
    longer and Alpaca's 8 %; more lengths would leave more batches partly empty.
    """
    step = max(4, (1 << (n_tokens - 1).bit_length()) // 16)
    return min(max_tokens, -(-n_tokens // step) * step)


def batches(
    records: Iterable[TokenizedRecord], batch_size: Callable[[int], int]
) -> Iterator[list[TokenizedRecord]]:
    """Yield each record once, in batches of `batch_size(length)` records of equal length.

    The last batch of a length may be smaller. Only records in incomplete batches are in memory.
    """
    waiting: defaultdict[int, list[TokenizedRecord]] = defaultdict(list)
    for record in records:
        length = record.text.length
        waiting[length].append(record)
        if len(waiting[length]) == batch_size(length):
            yield waiting.pop(length)
    yield from waiting.values()
