"""Calls to a provider and their replies: the real LiteLLM with a server on this machine."""

import asyncio
import json

import pytest

from tasks.lib.core.errors import ParamError
from tasks.lib.gateway.endpoint import Endpoint
from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prompt_fence import render_block
from tasks.lib.gateway.rate_limit import Permit
from tasks.lib.gateway.request import CallSettings, make_request
from tasks.lib.gateway.routes import load_route
from tasks.llm_select.picks import answer_schema
from tests.behaviours import SERVED_MODEL, fails, picks, says

MESSAGES = [
    {"role": "system", "content": "Choose."},
    {"role": "user", "content": render_block(["Name a river.", "Name a lake."], 1)},
]
SCHEMA = answer_schema(2, 1)


def prepare(deployment, timeout_s=50.0):
    """Return an endpoint and a request to it."""
    route = load_route({"models": {"mine": deployment}}, "mine")
    settings = CallSettings(7, 64, 3, timeout_s, 4)
    request = make_request(
        route, settings, MESSAGES, SCHEMA, read=lambda text: [], reask_words="", former_facts=dict
    )
    return Endpoint(route.deployments[0], route.where, timeout_s), request


def ask(deployment, n_calls=1, timeout_s=50.0):
    """Make `n_calls` calls in a row; return their replies or errors."""
    endpoint, request = prepare(deployment, timeout_s)

    async def talk():
        endpoint.prepare()
        results = []
        for _ in range(n_calls):
            try:
                results.append(await endpoint.ask(request, MESSAGES, Permit(0)))
            except ProviderError as error:
                results.append(error)
        await endpoint.close()
        return results

    return asyncio.run(talk())


def test_a_reply_has_its_text_usage_and_model(provider):
    (reply,) = ask(provider.deployment())
    assert json.loads(reply.text) == {"picks": [2]}  # a lake comes before a river
    assert (reply.prompt_tokens, reply.completion_tokens) == provider.tokens
    assert (reply.finish_reason, reply.model) == ("stop", SERVED_MODEL)


def test_a_call_is_one_request_with_the_agreed_parameters(provider):
    ask(provider.deployment())
    (call,) = provider.calls
    assert call.path == "/v1/chat/completions"
    assert call.messages == MESSAGES
    sent = {name: call.body.get(name) for name in ("model", "temperature", "seed", "max_tokens")}
    assert sent == {"model": "fake", "temperature": 0.0, "seed": 7, "max_tokens": 64}
    assert "response_format" not in call.body


def test_no_call_asks_for_more_room_than_is_reserved(provider):
    endpoint, request = prepare(provider.deployment())
    endpoint.parameters.give_more_room()  # as another call may do while this one waits
    assert endpoint.parameters.of(request)["max_tokens"] > 64
    assert endpoint.parameters.of(request, 64)["max_tokens"] == 64


def test_the_temperature_of_the_route_is_sent(provider):
    ask(provider.deployment(temperature=0.7))
    assert provider.calls[0].body["temperature"] == 0.7


def test_the_keys_of_the_route_are_sent(provider, monkeypatch):
    monkeypatch.setenv("TEAM", "Zq7PbN3vXw9LmR2tYh5K")
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    keys = {"top_p": 0.9, "service_tier": "flex", "reasoning_effort": "low"}
    keys |= {"max_answer_tokens": 80, "thinking_tokens": 1000}
    headers = {"X-Team": "os.environ/TEAM", "X-Title": "curation"}
    model = "hosted_vllm/qwen"
    deployment = provider.deployment(model=model, extra_body=thinking, extra_headers=headers)
    (reply,) = ask(deployment | keys)
    assert reply.text
    (call,) = provider.calls
    sent = {"top_p": 0.9, "service_tier": "flex", "reasoning_effort": "low", "max_tokens": 1080}
    assert {name: call.body.get(name) for name in [*sent, *thinking]} == sent | thinking
    assert call.headers["x-team"] == "Zq7PbN3vXw9LmR2tYh5K"
    assert call.headers["x-title"] == "curation"


def test_a_key_is_read_from_the_variable_that_the_route_names(provider, monkeypatch):
    monkeypatch.setenv("MY_KEY", "key-0123456789")
    ask(provider.deployment(api_key="os.environ/MY_KEY"))
    assert provider.calls[0].headers["authorization"] == "Bearer key-0123456789"


def test_an_endpoint_that_needs_no_key_gets_none_from_the_environment(provider, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-0123456789")
    ask(provider.deployment(api_key="none"))
    assert "key-0123456789" not in str(provider.calls[0].headers)


def test_missing_usage_counts_as_unknown_not_as_zero(provider):
    provider.script(says('{"picks": [1]}', usage=False))
    (reply,) = ask(provider.deployment())
    assert reply.prompt_tokens is None


def test_a_reply_without_a_choice_is_empty_and_billed(provider):
    provider.script(says("x", choices=[]))
    (reply,) = ask(provider.deployment())
    assert (reply.text, reply.completion_tokens) == ("", 1)


def test_a_filtered_reply_keeps_its_finish_reason(provider):
    provider.script(says(None, finish_reason="content_filter"))
    (reply,) = ask(provider.deployment())
    assert (reply.text, reply.finish_reason) == ("", "content_filter")


def test_a_schema_is_sent_if_the_route_always_sends_one(provider):
    ask(provider.deployment(schema="always"))
    sent = provider.calls[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"] == SCHEMA


def test_with_auto_a_schema_is_sent_to_models_that_support_it(provider):
    ask(provider.deployment(schema="auto"))
    ask(provider.deployment(schema="auto", model="openai/gpt-4o-mini"))
    assert ["response_format" in call.body for call in provider.calls] == [False, True]


def test_with_auto_a_refused_schema_is_dropped_from_then_on(provider):
    provider.script(fails(400, "Unsupported parameter: response_format"))
    error, *replies = ask(provider.deployment(schema="auto", model="openai/gpt-4o-mini"), 3)
    assert error.kind is ErrorKind.REFUSED_PARAMETER
    assert [json.loads(reply.text) for reply in replies] == [{"picks": [2]}] * 2
    assert [reply.dropped_params for reply in replies] == [("response_format",)] * 2
    assert ["response_format" in call.body for call in provider.calls] == [True, False, False]


def test_a_schema_that_the_route_requires_is_never_dropped(provider):
    provider.script(fails(400, "Unsupported parameter: response_format"))
    (error,) = ask(provider.deployment(schema="always"))
    assert error.kind is ErrorKind.BAD_REQUEST


def test_a_temperature_that_a_model_does_not_accept_is_dropped_unless_the_route_sets_it(provider):
    error, reply = ask(provider.deployment(model="openai/o3-mini"), 2)  # LiteLLM itself refuses
    assert error.kind is ErrorKind.REFUSED_PARAMETER
    assert reply.text
    assert "temperature" not in provider.calls[0].body
    (error,) = ask(provider.deployment(model="openai/o3-mini", temperature=0.5))
    assert error.kind is ErrorKind.BAD_REQUEST


def test_a_seed_that_a_provider_does_not_accept_is_dropped_from_the_start(provider):
    (reply,) = ask(provider.deployment(model="deepinfra/fake"))
    assert reply.text
    assert "seed" in reply.dropped_params
    assert "seed" not in provider.calls[0].body


def test_an_unknown_provider_is_refused_before_any_call():
    with pytest.raises(ParamError, match="does not know the provider 'opnai'"):
        ask({"model": "opnai/x", "schema": "never"})


def test_a_missing_key_that_only_litellm_knows_of_is_named_before_any_call(monkeypatch):
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    with pytest.raises(ParamError, match="MISTRAL_API_KEY is not set"):
        ask({"model": "mistral/mistral-small", "schema": "never"})


def test_the_offline_judge_answers_through_the_same_endpoint():
    (reply,) = ask({"model": "offline/typical", "schema": "never"})
    assert json.loads(reply.text)["picks"] in ([1], [2])
    assert reply.prompt_tokens >= 50


def test_no_proxy_is_used_for_this_machine(provider, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    load_litellm.cache_clear()  # it sets both, and the first call may have been in another test
    (reply,) = ask(provider.deployment(), timeout_s=9.5)  # not the client of another test
    assert reply.text


def test_nothing_is_printed(provider, capfd):
    provider.script(fails(500), picks(1))
    ask(provider.deployment(), 2)
    assert capfd.readouterr() == ("", "")


def test_litellm_spends_no_time_on_the_price_of_a_reply(provider):
    async def talk(litellm):
        call = {"model": "openai/gpt-4o-mini", "api_base": provider.api_base, "api_key": "none"}
        response = await litellm.acompletion(messages=MESSAGES, **call)
        await litellm.close_litellm_async_clients()
        return response

    response = asyncio.run(talk(load_litellm()))
    assert response._hidden_params["response_cost"] is None
