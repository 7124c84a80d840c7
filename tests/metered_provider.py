"""A provider that fails in every way a run survives, and keeps a book of all that it served.

    with MeteredProvider(faulty(FAULTS, rate=0.3, seed=1)) as provider:
        ...  # run against provider.deployment()
        assert ledger_tokens == provider.told_tokens <= provider.billed_tokens

Its book is harder than any real bill: whatever was written is billed, also where the connection
broke before the first byte.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple

from tests.fake_provider import (
    Behaviour,
    Call,
    FakeProvider,
    Response,
    fails,
    garbled,
    honest,
    late,
    picks,
    says,
)

HANG_S = 60.0  # longer than any test waits
SOON_S = 0.02


class Fault(NamedTuple):
    """A way to fail."""

    behave: Behaviour
    is_told: bool  # what it cost reaches the client: nothing, or a whole reply with its usage


def _reset(after: int) -> Behaviour:
    return lambda call: replace(honest(call), reset_after=after)


def _cut(call: Call) -> Response:
    response = honest(call)
    return replace(response, body=response.body[: len(response.body) // 2])


def _unmetered(call: Call) -> Response:
    text = json.loads(honest(call).body)["choices"][0]["message"]["content"]
    return says(text, usage=False)(call)


def _repeats(call: Call) -> Response:
    return picks(*[1] * (call.block.n_picks + 1))(call)


TOO_LONG = "This model's maximum context length is 100 tokens. Please reduce the length."
FILTERED = "The response was filtered due to the content management policy."

FAULTS: dict[str, Fault] = {
    "429": Fault(fails(429, "Rate limit reached"), True),
    "429 with Retry-After": Fault(fails(429, "Rate limit reached", retry_after=SOON_S), True),
    "500": Fault(fails(500), True),
    "502": Fault(fails(502), False),
    "503": Fault(fails(503, "overloaded"), True),
    "504": Fault(fails(504), False),
    "time-out": Fault(late(HANG_S), False),
    "reset before the reply": Fault(_reset(0), False),
    "reset amid the body": Fault(_reset(40), False),
    "body cut short": Fault(_cut, False),
    "garbled body": Fault(garbled(b"<html>gateway</html>"), False),
    "no choices": Fault(says("[1]", choices=[]), True),
    "no usage": Fault(_unmetered, False),
    "no content": Fault(says(None), True),
    "prose": Fault(says("I could not decide between them."), True),
    "slot out of range": Fault(picks(99), True),
    "a slot twice": Fault(_repeats, True),
    "no picks": Fault(picks(), True),
    "filtered reply": Fault(says("", "content_filter"), True),
    "filtered question": Fault(fails(400, FILTERED, "content_policy_violation"), True),
    "too long": Fault(fails(400, TOO_LONG, "context_length_exceeded"), True),
}


@dataclass
class Entry:
    """A call in the provider's book."""

    n: int  # from 1, in order of arrival
    question: str  # the same for the same messages
    fault: str  # "" for an answer
    tokens: tuple[int, int]  # prompt and completion, billed whether they arrived or not
    is_told: bool


Chooser = Callable[[Call], str]
"""The fault that a call meets; "" for none."""


def faulty(names: Collection[str], *, rate: float, seed: int) -> Chooser:
    """Each call meets one of these faults with a chance of `rate`."""
    sorted_names = sorted(names)

    def choose(call: Call) -> str:
        rng = random.Random(f"{seed}/{call.n}")
        return rng.choice(sorted_names) if rng.random() < rate else ""

    return choose


class MeteredProvider(FakeProvider):
    """A provider with a book.

    Args:
        choose: Which fault a call meets.
        latency_s: Least and most seconds that a reply takes.

    Attributes:
        book: All calls, in order of arrival.
        on_call: Called with the number of each call, before it is answered.
    """

    def __init__(
        self, choose: Chooser = lambda call: "", latency_s: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        self.book: list[Entry] = []
        self.on_call: Callable[[int], None] = lambda n: None
        self._choose, self._latency_s = choose, latency_s
        super().__init__(self._serve)

    @property
    def told_tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of the replies that arrived whole, with their usage."""
        return _sum(entry for entry in self.book if entry.is_told)

    @property
    def billed_tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens of everything that was written."""
        return _sum(self.book)

    @property
    def n_answers(self) -> Counter[str]:
        """How often each question was answered."""
        return Counter(entry.question for entry in self.book if not entry.fault)

    def _serve(self, call: Call) -> Response:
        name = self._choose(call)
        fault = FAULTS[name] if name else Fault(honest, True)
        response = fault.behave(call)
        question = sha256(json.dumps(call.messages[:2]).encode()).hexdigest()
        entry = Entry(call.n, question, name, response.tokens, fault.is_told)
        with self._lock:
            self.book.append(entry)
        self.on_call(call.n)
        latency_s = random.Random(call.n).uniform(*self._latency_s)
        return replace(response, delay_s=response.delay_s + latency_s)


def _sum(entries: Any) -> tuple[int, int]:
    tokens = [entry.tokens for entry in entries]
    return sum(n for n, _ in tokens), sum(n for _, n in tokens)
