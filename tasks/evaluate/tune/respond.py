"""Measure a model's loss on reference answers, and have it write its own answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tasks.evaluate.tune.language_model import Machine
from tasks.evaluate.tune.prompts import Example

BATCH = 16  # answers at once; the same for all arms, since padding changes the last bits of a sum


class OwnAnswer(NamedTuple):
    """A model's own answer.

    Attributes:
        n_tokens: Number of tokens, including the one that ends it.
        stopped: Whether it ended on its own, below the limit.
    """

    text: str
    n_tokens: int
    stopped: bool


class Respondent(NamedTuple):
    """A model that answers.

    Attributes:
        advance: Called after each loss and each answer.
    """

    model: Any
    tokenizer: Any
    machine: Machine
    advance: Callable[[], None]


def reference_losses(respondent: Respondent, examples: Sequence[Example]) -> list[float]:
    """Return the negative log-likelihood of each example's answer, summed over its tokens."""
    import torch  # noqa: PLC0415  takes seconds

    model, _, machine, advance = respondent
    losses = []
    with torch.no_grad(), machine.autocast():
        for example in examples:
            ids = torch.tensor([example.prompt + example.answer], device=machine.device)
            answer = ids[0, len(example.prompt) :]
            logits = model(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(logits.float(), answer, reduction="sum")
            losses.append(float(loss))
            advance()
    return losses


def replies(
    respondent: Respondent, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> list[OwnAnswer]:
    """Return the model's answer to each prompt, in order; each token is the most probable one."""
    ends = _end_tokens(respondent)
    found: list[OwnAnswer] = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        for tokens in _generate(respondent, batch, max_new_tokens, ends):
            found.append(_reply(tokens, respondent.tokenizer, ends))
            respondent.advance()
    return found


def _generate(
    respondent: Respondent, prompts: Sequence[Sequence[int]], max_new_tokens: int, ends: list[int]
) -> Iterator[list[int]]:
    """Yield the new tokens after each prompt, padded at the end."""
    import torch  # noqa: PLC0415
    from transformers import GenerationConfig  # noqa: PLC0415

    device, padding = respondent.machine.device, respondent.tokenizer.pad_token_id
    width = max(map(len, prompts))
    padded = [[padding] * (width - len(p)) + list(p) for p in prompts]
    mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
    # The model's own configuration may sample, or penalise repetition.
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends, pad_token_id=padding
    )
    with torch.no_grad(), respondent.machine.autocast():
        written = respondent.model.generate(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            generation_config=config,
        )
    yield from written[:, width:].tolist()


def _end_tokens(respondent: Respondent) -> list[int]:
    """Return the tokens that end an answer: those of the model and of the tokenizer."""
    ends = respondent.model.generation_config.eos_token_id
    own = ends if isinstance(ends, list) else [ends]
    return sorted({end for end in (*own, respondent.tokenizer.eos_token_id) if end is not None})


def _reply(tokens: list[int], tokenizer: Any, ends: list[int]) -> OwnAnswer:
    # The padding token may also be an end token, so the first end token counts.
    n = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    text = tokenizer.decode(tokens[:n], skip_special_tokens=True).strip()
    stopped = n < len(tokens)
    return OwnAnswer(text, n + stopped, stopped)
