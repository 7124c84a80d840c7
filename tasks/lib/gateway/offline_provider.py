"""The offline judge as a LiteLLM provider, so that a keyless run still takes the real path.

It is not a language model: `tasks.lib.typicality` compares the words of the candidates. It costs
nothing, but reports usage at 4 UTF-8 bytes per token, so that totals and estimates have something
to show.
"""

import json
from typing import Any, cast

from litellm.llms.custom_llm import CustomLLM, CustomLLMError
from litellm.types.utils import ModelResponse, Usage

from tasks.lib.gateway.prompt_fence import parse_block
from tasks.lib.typicality.typicality import choose

BYTES_PER_TOKEN = 4


class OfflineJudge(CustomLLM):
    """Answers only messages that contain fenced candidates (`tasks.lib.gateway.prompt_fence`)."""

    def completion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Return a JSON object with the picks.

        Raises:
            CustomLLMError: The last message has no block of candidates (status 400).
        """
        messages, response = kwargs["messages"], kwargs["model_response"]
        block = parse_block(messages[-1]["content"])
        if block is None:
            raise CustomLLMError(400, "the message has no candidates")  # type: ignore[no-untyped-call]
        answer = json.dumps({"picks": choose(block.texts, block.n_picks)})
        response.choices[0].message.content = answer
        response.model = kwargs["model"]
        n_in = sum(_n_tokens(message["content"]) for message in messages)
        n_out = _n_tokens(answer)
        response.usage = Usage(
            prompt_tokens=n_in, completion_tokens=n_out, total_tokens=n_in + n_out
        )
        return cast(ModelResponse, response)

    async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Return the same as `completion`."""
        return self.completion(*args, **kwargs)


def _n_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
