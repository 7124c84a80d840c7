"""Turn records into the tokens that a chat model reads and writes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import PARAMS_FILE
from tasks.lib.core.records import read_turns, turn_text

MAX_ANSWER_SHARE = 0.75  # of max_tokens; a longer reference answer leaves no room for a prompt
MIN_PROMPT_TOKENS = 4


class Example(NamedTuple):
    """The tokens of one record.

    Attributes:
        is_clipped: Whether the middle of the prompt or the end of the answer was left out.
    """

    id: str
    prompt: list[int]
    answer: list[int]
    is_clipped: bool


class AskedQuestion(NamedTuple):
    """A question to the models.

    Attributes:
        example: The tokens of the question and its reference answer; None if it has no loss.
        prompt: The tokens of the question; None if the models do not answer it.
        messages: The question.
        follow_up: The second turn, or None.
        is_graded: Whether the judge grades each answer instead of comparing it with another one.
    """

    id: str
    example: Example | None
    prompt: list[int] | None
    messages: list[dict[str, str]]
    follow_up: str | None
    is_graded: bool

    @property
    def n_answers(self) -> int:
        """The number of answers that a model writes: 2 if there is a second turn."""
        return 0 if self.prompt is None else 2 if self.follow_up else 1

    def after(self, answer: str) -> list[dict[str, str]]:
        """Return the messages of the second turn, given an answer to the first one."""
        follow_up = {"role": "user", "content": self.follow_up or ""}
        return [*self.messages, {"role": "assistant", "content": answer}, follow_up]


def require_chat_template(tokenizer: Any, model: str) -> None:
    """Check that the tokenizer has a chat template.

    Raises:
        ParamError: It has no chat template.
    """
    if not tokenizer.chat_template:
        raise ParamError(
            f"evaluate.model: the tokenizer of {model} has no chat template, so it is probably a "
            "base model",
            where=PARAMS_FILE,
            fix="Use its instruct or chat variant, or save a tokenizer with a chat template in "
            "the model's folder.",
        )


def messages(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the messages that ask for a record's output: its context, then its question."""
    system = [{"role": "system", "content": record["system"]}] if record["system"] else []
    turns = [{"role": t["role"], "content": turn_text(t)} for t in read_turns(record["turns"])]
    parts = [record["instruction"], record["input"], record["tools"] or ""]
    question = "\n\n".join(part for part in parts if part)
    return [*system, *turns, {"role": "user", "content": question}]


def tokenize(record: Mapping[str, Any], tokenizer: Any, max_tokens: int) -> Example:
    """Return the tokens of a record's prompt and output, at most `max_tokens` in total.

    If there are more, the middle of the prompt is left out, so that every record has an answer to
    learn from and every prompt keeps the beginning and end of the chat template.

    Raises:
        DataError: The chat template cannot render the record.
    """
    asked = messages(record)
    answered = [*asked, {"role": "assistant", "content": record["output"]}]
    prompt_text = _render(asked, tokenizer, record, add_generation_prompt=True)
    text = _render(answered, tokenizer, record)
    if not text.startswith(prompt_text):
        raise _unusable(record, "it changes the question once an answer follows")
    prompt, answer = (_ids(part, tokenizer) for part in (prompt_text, text[len(prompt_text) :]))
    return _clip(record["id"], prompt, answer, max_tokens)


def prompt_tokens(
    asked: list[dict[str, str]], tokenizer: Any, record: Mapping[str, Any], max_tokens: int
) -> list[int]:
    """Return the tokens of the messages; if there are too many, the middle is left out.

    Raises:
        DataError: The chat template cannot render the messages, which belong to the record.
    """
    prompt = _ids(_render(asked, tokenizer, record, add_generation_prompt=True), tokenizer)
    return _clip(record["id"], prompt, [], max_tokens).prompt


def _render(
    asked: list[dict[str, str]], tokenizer: Any, record: Mapping[str, Any], **options: bool
) -> str:
    try:
        return str(tokenizer.apply_chat_template(asked, tokenize=False, **options))
    except Exception as error:  # a template may raise anything
        raise _unusable(record, str(error).partition("\n")[0]) from None


def _ids(text: str, tokenizer: Any) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _clip(id_: str, prompt: list[int], answer: list[int], max_tokens: int) -> Example:
    if len(prompt) + len(answer) <= max_tokens:
        return Example(id_, prompt, answer, is_clipped=False)
    kept_answer = answer[: int(max_tokens * MAX_ANSWER_SHARE)]
    room = max(max_tokens - len(kept_answer), MIN_PROMPT_TOKENS)
    if len(prompt) > room:
        prompt = prompt[: room // 2] + prompt[-(room - room // 2) :]
    return Example(id_, prompt, kept_answer, is_clipped=True)


def _unusable(record: Mapping[str, Any], reason: str) -> DataError:
    return DataError(
        f"the chat template of evaluate.model cannot render the record {record['id']}: {reason}",
        where=record["source"],
        fix="Use a model with a chat template that supports these turns, or remove the record.",
    )
