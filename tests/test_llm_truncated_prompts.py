"""An endpoint that reads only the beginning of a prompt is noticed, and gives no answer."""

import json
from dataclasses import replace

import pytest

from tasks.lib.core.errors import LLMError
from tests.behaviours import honest
from tests.judge_desk import questions


def reads(count):
    """Return an honest judge that reports `count(call)` prompt tokens."""

    def behave(call):
        response = honest(call)
        body = json.loads(response.body)
        n = count(call)
        body["usage"] |= {"prompt_tokens": n, "total_tokens": n + 5, "completion_tokens": 5}
        return replace(response, body=json.dumps(body).encode())

    return behave


def whole(call):
    return call.prompt_tokens


CUTS = {
    "far under": (200, [60] * 8),
    "a ceiling": (420, range(14, 62, 4)),
}
"""The tokens that are read at most, and the candidates of each prompt."""


@pytest.mark.parametrize("name", CUTS)
def test_a_server_that_cuts_prompts_stops_the_run(put, provider, book, name):
    most, sizes = CUTS[name]
    provider.behave = reads(lambda call: min(whole(call), most))
    asked = [q for i, n in enumerate(sizes) for q in questions(i + 1, size=n)[i:]]
    with pytest.raises(LLMError, match="truncates prompts to its context") as stopped:
        put(provider.deployment(), asked, concurrency=1)
    assert "--max-model-len" in stopped.value.fix
    assert "would be enough" in stopped.value.what
    assert book()[-1] == "cut_prompt"
    assert len(provider.calls) < len(asked)
    assert book("usd")[-1] > 0


def test_ollama_is_sent_a_context_for_the_whole_prompt_and_a_full_one_names_the_key(desk, provider):
    ollama = provider.deployment(model="ollama_chat/gemma2:27b", api_base=provider.origin)
    done = desk.run(ollama)
    assert done.exit_code == 0, done.said
    sizes = {call.body["options"]["num_ctx"] for call in provider.calls}
    assert sizes == {8192}  # 8 candidates of 2,000 characters, a frame and the answer
    provider.behave = reads(lambda call: min(whole(call), call.body["options"]["num_ctx"]))
    done = desk.run(ollama | {"num_ctx": 256})
    assert done.exit_code == 2
    assert "Set num_ctx of models.mine to that size" in done.said


def test_whole_prompts_of_any_length_pass(put, provider):
    asked = [q for i, n in enumerate([3, 9, 30, 60] * 3) for q in questions(i + 1, size=n)[i:]]
    assert all(put(provider.deployment(), asked, concurrency=1))
