"""Refused parameters, in the words of providers, and replies in unusual forms."""

import pytest

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.classify_error import refused_parameter
from tests.behaviours import says
from tests.fake_provider import FakeProvider
from tests.judge_desk import questions

SENT = ("max_tokens", "temperature", "seed", "response_format", "reasoning_effort", "top_p")


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("`temperature` is deprecated for this model.", "temperature"),
        ("temperature: may only be set to 1 when thinking is enabled", "temperature"),
        ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model.", "temperature"),
        ("Use 'max_completion_tokens' instead: 'max_tokens' is not supported.", "max_tokens"),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", "max_tokens"),
        ("seed: Extra inputs are not permitted", "seed"),
        ('{"loc": ["body", "random_seed"], "msg": "Extra inputs are not permitted"}', "seed"),
        ("This model does not support structured outputs", "response_format"),
        ('Invalid JSON payload received. Unknown name "responseJsonSchema"', "response_format"),
        ("Budget 0 is invalid. This model only works in thinking mode.", "reasoning_effort"),
        ('"qwen2:7b" does not support thinking', "reasoning_effort"),
        ('invalid think value: "none" (must be high, medium or low)', "reasoning_effort"),
        ("Unsupported value: 'reasoning.effort' does not support 'none'", "reasoning_effort"),
        ("top_p is not accepted", "top_p"),
        ("the model `x` does not exist", None),
        ("the seed of all our trouble", None),
    ],
)
def test_a_refused_parameter_is_recognised_in_the_words_of_each_provider(message, name):
    assert refused_parameter(message, SENT) == name


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("temperature", "temperature"),
        ("reasoning.effort", "reasoning_effort"),
        ("generation_config.thinking_config.thinking_budget", "reasoning_effort"),
        ("messages", None),
        ("", None),
    ],
)
def test_a_refused_parameter_is_recognised_by_the_fields_of_the_error(param, name):
    assert refused_parameter("That is no good.", SENT, param) == name


@pytest.fixture(scope="module")
def server(warm_client):
    with FakeProvider() as provider:
        yield provider


PICKS = '{"picks": [2]}'
PARTS = [{"type": "text", "text": PICKS}]
CALL = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": PICKS}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, {"reasoning_content": f'Perhaps {{"picks": [1]}}. No, {PICKS}.'}),
        ("", {"tool_calls": [CALL]}),
        (None, {"function_call": CALL["function"]}),
        ('{"picks": [{"slot": 2, "why": "it is clear"}]}', {}),
        ('{"picks": ["Candidate 2"]}', {}),
    ],
    ids=["reasoning", "tool call", "function call", "objects", "words"],
)
def test_an_answer_is_found_wherever_a_model_puts_it(server, put, content, message):
    server.behave = says(content, message=message)
    (verdict,) = put(server.deployment(), questions(1))
    assert verdict.slots == (2,)
    assert len(verdict.answers) == 1


def test_a_draft_in_the_reasoning_of_a_reply_that_was_cut_off_is_not_an_answer(server, put, book):
    server.script(says(None, "length", message={"reasoning_content": '{"picks": [1]}'}))
    server.behave = says(PICKS, n_thoughts=7, n_cached=3)
    (verdict,) = put(server.deployment(), questions(1))
    assert verdict.slots == (2,)
    kept = book("outcome, remark, reasoning_tokens, cached_tokens")
    assert kept == [("cut_off", "length", 0, 0), ("answer", "stop", 7, 3)]


def test_an_explanation_by_the_provider_is_kept(server, put, book):
    refusal = says(None, message={"refusal": "I cannot help with that."})
    broken = says("", "error", choice={"error": {"code": 502, "message": "upstream is down"}})
    server.script(broken, refusal)
    server.behave = says(PICKS)
    put(server.deployment(), questions(1))
    assert book("outcome, message, remark")[:2] == [
        ("server", "502 upstream is down", "error"),
        (
            "content_filter",
            "it has no text (finish_reason: stop: I cannot help with that.)",
            "stop: I cannot help with that.",
        ),
    ]


def test_a_content_in_parts_that_litellm_cannot_read_is_named_with_its_remedy(server, put):
    server.behave = says(None, message={"content": PARTS})
    with pytest.raises(LLMError, match=r"a list of parts.*write the model as mistral/NAME"):
        put(server.deployment(), questions(1))
