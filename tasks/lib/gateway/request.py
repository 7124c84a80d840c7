"""One question to a model, exactly as it is sent, and the reasons for getting no answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from tasks.lib.gateway.deployment_settings import Schema
from tasks.lib.gateway.reply import UnusableReply
from tasks.lib.gateway.routes import Route
from tasks.lib.journal.models import answer_key

NOT_IN_KEY = ("alias", "read", "reask_words", "former_facts")
"""The fields of a request that cannot change its answer."""
USER_MARK = "===== user ====="  # between the system part and the user part of a prompt file

TOP_LOGPROBS, MOST_LOGPROBS = "top_logprobs", 20  # the most that OpenAI and vLLM return

Messages = list[dict[str, str]]
"""Chat messages, each with ``role`` and ``content``."""
Parsed = Sequence[int]
"""The content of a reply: slots, the best first, or a rating in half points."""


class CallSettings(NamedTuple):
    """How calls are made; most fields are named as in params.yaml."""

    seed: int
    max_answer_tokens: int
    max_attempts: int
    timeout_s: float
    concurrency: int
    backoff_s: float = 1.0  # before the second call; doubled before each further call


class NoAnswer(StrEnum):
    """Why a route gives no answer to a question."""

    TOO_LONG = "context_too_long"
    FILTERED = "content_filter"
    USELESS = "useless"
    """The replies could not be used, even after a re-ask that named the problem."""
    UNREACHED = "unreached"
    """The calls kept failing."""

    @property
    def may_need_fewer_texts(self) -> bool:
        """Whether a question about fewer texts may get an answer."""
        return self in (NoAnswer.TOO_LONG, NoAnswer.FILTERED)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent to a model for one question, and how to read the reply.

    Attributes:
        alias: The alias of the route.
        model: The model's name in params.yaml.
        response_format: The JSON schema of the reply; None if the route must not send a schema.
        schema_use: Whether the route sends a schema; with auto, a refused schema is dropped.
        max_tokens: The room for the answer, excluding the room for thinking.
        options: The keys of the route that can change the answer and do not have their own field,
            such as ``reasoning_effort``, by name (see `Deployment.options`); empty if none is set.
        repeat: 2 for a second, independent answer to the same request, 3 for a third; never sent.
        read: Returns the content of a reply, or why it cannot be used.
        reask_words: The message after an unusable reply, with the placeholder ``$problem``.
        former_facts: Returns the facts that only keys of journal version 2 contain, such as the
            old messages. Called only for a journal with keys of that version.
    """

    alias: str
    model: str
    messages: Messages
    temperature: float
    seed: int
    max_tokens: int
    response_format: dict[str, Any] | None
    schema_use: Schema
    options: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 1
    read: Callable[[str], Parsed | UnusableReply]
    reask_words: str
    former_facts: Callable[[], dict[str, Any]]

    @property
    def reads_logprobs(self) -> bool:
        """Whether the answer is the log-probabilities of a reply's only token."""
        return TOP_LOGPROBS in self.options

    @cached_property
    def key(self) -> str:
        """The key of the answer: a hash of all fields except those in `NOT_IN_KEY`.

        `repeat` is left out if it is 1, and `options` if there are none, so that an answer keeps
        its key whether or not there are more answers, and whatever options exist.
        """
        facts = {name: getattr(self, name) for name in _IN_KEY}
        if self.repeat == 1:
            del facts["repeat"]
        if not self.options:
            del facts["options"]
        return answer_key(**facts)

    @cached_property
    def former_key(self) -> str:
        """The key of this question in journal version 2."""
        return answer_key(
            model=self.model,
            temperature=self.temperature,
            seed=self.seed,
            max_tokens=self.max_tokens,
            schema=self.schema_use,
            **self.former_facts(),
        )

    def reask(self, reply: str, problem: str) -> Messages:
        """Return the messages after an unusable `reply`: the question, the reply, its problem.

        If the question ends with the start of its reply, the new messages end with it too.
        """
        words = Template(self.reask_words).substitute(problem=problem)
        n = len(self.messages) - (self.messages[-1]["role"] == "assistant")
        question, start = self.messages[:n], self.messages[n:]
        said = [*(message["content"] for message in start), reply.strip() or "(nothing)"]
        return [
            *question,
            {"role": "assistant", "content": " ".join(said)},
            {"role": "user", "content": words},
            *start,
        ]


_IN_KEY = tuple(f.name for f in fields(Request) if f.name not in NOT_IN_KEY)


def make_request(
    route: Route,
    settings: CallSettings,
    messages: Messages,
    schema: dict[str, Any] | None,
    **rest: Any,
) -> Request:
    """Return a request to `route` for a reply that matches `schema`.

    If there is no schema, the request is for the log-probabilities of one token. `rest` contains
    the remaining fields of `Request`.
    """
    max_tokens, options = route.max_answer_tokens or settings.max_answer_tokens, route.options
    if schema is None:
        max_tokens, options = 1, {TOP_LOGPROBS: MOST_LOGPROBS} | options
    return Request(
        alias=route.alias,
        model=route.model,
        messages=messages,
        temperature=route.temperature,
        seed=settings.seed,
        max_tokens=max_tokens,
        response_format=response_format(schema)
        if schema and route.schema_use is not Schema.NEVER
        else None,
        schema_use=route.schema_use,
        options=options,
        **rest,
    )


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """Wrap the schema of a reply in the form that a request takes."""
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": named}


def read_words(path: Path) -> str:
    """Return the text of a prompt file."""
    return path.read_text(encoding="utf-8").strip()


REASK_WORDS = read_words(Path(__file__).parent / "reask.txt")
