"""One question to a model, exactly as it is sent, and why it may get no answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from tasks.lib.gateway.deployment import Schema
from tasks.lib.gateway.reply import UnusableReply
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.models import answer_key

NOT_IN_KEY = ("alias", "read", "reask_words", "former_facts")
"""The fields of a request that cannot change its answer."""
USER_MARK = "===== user ====="  # between the system and the user part of a file

Messages = list[dict[str, str]]
"""Chat messages, each with ``role`` and ``content``."""
Parsed = Sequence[int]
"""The content of a reply: slots, the best first, or the half points of a rating."""


class CallSettings(NamedTuple):
    """How calls are made; most fields have the names of params.yaml."""

    seed: int
    max_answer_tokens: int
    max_attempts: int
    timeout_s: float
    concurrency: int
    backoff_s: float = 1.0  # before the second call; doubled before each further one


class NoAnswer(StrEnum):
    """Why a route gives no answer to a question."""

    TOO_LONG = "context_too_long"
    FILTERED = "content_filter"
    USELESS = "useless"
    """Its replies could not be used, not even after a re-ask that named the problem."""
    UNREACHED = "unreached"
    """Its calls failed again and again."""

    @property
    def may_need_fewer_texts(self) -> bool:
        """Whether a question about fewer texts may get an answer."""
        return self in (NoAnswer.TOO_LONG, NoAnswer.FILTERED)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent to a model for one question, and how to read the reply.

    Attributes:
        alias: The route.
        model: As params.yaml names it.
        response_format: The JSON schema of the reply; None if the route must not send one.
        schema_use: Whether the route asks by schema; on auto, a refused schema is dropped.
        repeat: 2 for a second, independent answer to the same bytes, 3 for a third; never sent.
        read: Returns the content of a reply, or why it cannot be used.
        reask_words: The message after an unusable reply, with the placeholder ``$problem``.
        former_facts: Returns the facts that only the key of journal version 2 has, such as the
            old messages. Called only for a journal with such keys.
    """

    alias: str
    model: str
    messages: Messages
    temperature: float
    seed: int
    max_tokens: int
    response_format: dict[str, Any] | None
    schema_use: Schema
    repeat: int = 1
    read: Callable[[str], Parsed | UnusableReply]
    reask_words: str
    former_facts: Callable[[], dict[str, Any]]

    @cached_property
    def key(self) -> str:
        """The key of the answer: a hash of all fields but those in `NOT_IN_KEY`.

        `repeat` counts from 2 on, so that a first answer has the same key whether or not it is
        asked for again.
        """
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in (*NOT_IN_KEY, *(["repeat"] if self.repeat == 1 else [])):
            del facts[name]
        return answer_key(**facts)

    @cached_property
    def former_key(self) -> str:
        """The key that journal version 2 had for this question."""
        return answer_key(
            model=self.model,
            temperature=self.temperature,
            seed=self.seed,
            max_tokens=self.max_tokens,
            schema=self.schema_use,
            **self.former_facts(),
        )

    def reask(self, reply: str, problem: str) -> Messages:
        """Return the messages after an unusable `reply`: the question, the reply, the problem."""
        words = Template(self.reask_words).substitute(problem=problem)
        return [
            *self.messages,
            {"role": "assistant", "content": reply.strip() or "(nothing)"},
            {"role": "user", "content": words},
        ]


def make_request(
    route: Route,
    settings: CallSettings,
    messages: Messages,
    schema: dict[str, Any],
    **rest: Any,
) -> Request:
    """Return the request to a route for a reply by `schema`; `rest` are fields of `Request`."""
    is_schema_sent = route.schema_use is not Schema.NEVER
    return Request(
        alias=route.alias,
        model=route.model,
        messages=messages,
        temperature=route.temperature,
        seed=settings.seed,
        max_tokens=settings.max_answer_tokens,
        response_format=response_format(schema) if is_schema_sent else None,
        schema_use=route.schema_use,
        **rest,
    )


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a reply in the form that a request takes."""
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def read_words(path: Path) -> str:
    """Return the text of one of our files with words for a model."""
    return path.read_text(encoding="utf-8").strip()


REASK_WORDS = read_words(Path(__file__).parent / "reask.txt")
