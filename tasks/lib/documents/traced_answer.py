"""An answer with its question and the outcome of its call, for MLflow."""

from datetime import datetime

from tasks.lib.documents.document import Part


class TracedAnswer(Part):
    """One call whose answer a selection is based on.

    Attributes:
        digest: A hash of everything that the journal stores about the answer.
        prompt: The number of the prompt, from 1.
        route: The alias of the route that was called.
        model: The model's name at the provider.
        messages: The question as chat messages, each with ``role`` and ``content``; after an
            unusable reply, a second call also quotes that reply.
        is_upper_bound: Whether tokens and price are upper bounds, because the provider reported no
            usage.
        n_failed: The number of earlier calls with the same question that got no answer.
        began: When the call began.
        duration_s: How long the call took; 0 if the journal does not say.
    """

    digest: str
    prompt: int
    route: str
    model: str
    messages: list[dict[str, str]]
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    is_upper_bound: bool
    n_failed: int
    began: datetime
    duration_s: float
