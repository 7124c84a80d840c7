"""The keys of a route that are sent with its requests: checks, secrets, and keys of answers."""

import pytest

from tasks.lib.core.errors import ParamError
from tasks.lib.gateway.accepted_parameters import headers
from tasks.lib.gateway.deployment_settings import FIELDS_OF_REQUEST, NOT_IN_ANSWER, Deployment
from tasks.lib.gateway.request import CallSettings, make_request
from tasks.lib.gateway.routes import load_route, require_usable

PLAIN = {"model": "openai/x", "schema": "never", "api_base": "http://127.0.0.1:1/v1"}
PLAIN |= {"api_key": "none"}
PRICES = {"input_cost_per_token": 1.0, "output_cost_per_token": 1.0}
CHANGES = {
    "model": {"model": "openai/y"},
    "schema_use": {"schema": "always"},
    "temperature": {"temperature": 0.5},
    "max_answer_tokens": {"max_answer_tokens": 128},
    "reasoning_effort": {"reasoning_effort": "low"},
    "top_p": {"top_p": 0.9},
    "extra_body": {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    "extra_headers": {"extra_headers": {"X-Team": "os.environ/TEAM"}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"logprobs": True, "top_logprobs": 8},
    "num_ctx": {"model": "ollama_chat/x", "num_ctx": 8192},
    "api_base": {"api_base": "http://127.0.0.1:2/v1"},
    "api_key": {"api_key": "os.environ/MINE"},
    "input_cost_per_token": PRICES,
    "output_cost_per_token": PRICES,
    "rpm": {"rpm": 60},
    "tpm": {"tpm": 6000},
    "timeout_s": {"timeout_s": 900.0},
    "thinking_tokens": {"thinking_tokens": 2048},
    "service_tier": {"service_tier": "flex"},
}
LITERAL = "Zq7PbN3vXw9LmR2tYh5K"


def route(**keys):
    return load_route({"models": {"mine": PLAIN | keys}}, "mine")


def request(**keys):
    settings = CallSettings(0, 256, 3, 10.0, 4)
    rest = {"read": lambda text: [], "reask_words": "", "former_facts": dict}
    messages = [{"role": "user", "content": "Which?"}]
    return make_request(route(**keys), settings, messages, {"type": "object"}, **rest)


@pytest.mark.parametrize("name", Deployment.model_fields)
def test_a_key_of_a_route_changes_the_answers_key_unless_it_is_excluded_by_name(name):
    plain = {"model": "ollama_chat/x"} if name == "num_ctx" else {}
    assert (request(**CHANGES[name]).key == request(**plain).key) == (name in NOT_IN_ANSWER)
    assert not set(NOT_IN_ANSWER) & set(FIELDS_OF_REQUEST)


def test_the_answers_of_a_route_without_these_keys_are_found_under_their_old_keys():
    assert request().key == "66233fd71f2a1265b53cb362e48d1f45961bff32396f1635d70c1dc0e7e89078"


def test_a_header_from_the_environment_has_its_value_only_when_it_is_sent(monkeypatch):
    monkeypatch.setenv("TEAM", LITERAL)
    mine = route(extra_headers={"X-Team": "os.environ/TEAM", "X-Title": "curation"})
    assert headers(mine.deployments[0]) == {"X-Team": LITERAL, "X-Title": "curation"}
    assert mine.options == {"extra_headers": {"X-Team": "os.environ/TEAM", "X-Title": "curation"}}
    require_usable(mine)
    monkeypatch.delenv("TEAM")
    with pytest.raises(ParamError, match="TEAM is not set, so no call was made"):
        require_usable(mine)


@pytest.mark.parametrize(
    "keys",
    [
        {"extra_headers": {"Authorization": f"Bearer {LITERAL}"}},
        {"extra_headers": {"authorization": LITERAL[:6]}},
        {"extra_headers": {"X-Api-Key": LITERAL[:6]}},
        {"extra_headers": {"Ocp-Apim-Subscription-Key": "abc"}},
        {"extra_headers": {"Cookie": "session=1"}},
        {"extra_headers": {"X-Team": LITERAL}},
        {"extra_headers": {"X-Team": f"sk-{LITERAL[:9]}"}},
        {"extra_headers": {"X-Team": [LITERAL]}},
        {"extra_headers": f"Bearer {LITERAL}"},
        {"extra_body": {"api_key": LITERAL[:6]}},
        {"extra_body": {"provider": [{"options": {"token": LITERAL[:6]}}]}},
        {"extra_body": {"user": f"hf_{LITERAL}"}},
    ],
)
def test_a_secret_in_a_header_or_in_the_body_is_refused_and_not_repeated(keys):
    with pytest.raises(ParamError, match=r"models\.mine\.extra_.* must not contain a sec") as error:
        route(**keys)
    assert LITERAL[:6] not in str(error.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"extra_headers": {"anthropic-beta": "fine-grained-tool-streaming-2025-05-14"}},
        {"extra_headers": {"HTTP-Referer": "https://example.org/data", "X-Author": "Ada"}},
        {"extra_body": {"prompt_cache_key": "pool-1", "provider": {"order": ["deepinfra"]}}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ],
)
def test_headers_and_fields_that_are_not_secrets_are_accepted(keys):
    assert route(**keys).options == keys


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"reasoning_effort": "tiny"}, r"reasoning_effort: .*'none', 'minimal'"),
        ({"max_answer_tokens": 5}, r"max_answer_tokens: .*greater than or equal to 64"),
        ({"thinking_tokens": -1}, r"thinking_tokens: .*greater than or equal to 0"),
        ({"top_p": 0}, r"top_p: .*greater than 0"),
        ({"timeout_s": 0}, r"timeout_s: .*greater than 0"),
        ({"num_ctx": 8192}, "num_ctx is an Ollama parameter"),
        (
            {"extra_body": {"max_tokens": 9}},
            "(?s)must not contain max_tokens.*Set max_answer_tokens",
        ),
        ({"extra_body": {"stream": True}}, "must not contain stream"),
        ({"extra_headers": {"X-Team": "a\r\nHost: b"}}, r"extra_headers\.X-Team: "),
        ({"extra_headers": {"X Team": "a"}}, r"extra_headers\.X Team"),
        ({"service_tier": "Flex!"}, "service_tier: "),
    ],
)
def test_an_invalid_key_is_refused_by_name(keys, says):
    with pytest.raises(ParamError, match=says):
        route(**keys)


@pytest.mark.parametrize(
    "name", ["reasoning_effort", "top_p", "extra_body", "extra_headers", "max_answer_tokens"]
)
def test_the_deployments_of_a_route_are_alike_in_every_key_that_changes_an_answer(name):
    with pytest.raises(ParamError, match=f"deployments differ in {name}"):
        load_route({"models": {"mine": [PLAIN, PLAIN | CHANGES[name]]}}, "mine")
    pair = [PLAIN, PLAIN | {"timeout_s": 9.0, "service_tier": "flex", "thinking_tokens": 1}]
    assert len(load_route({"models": {"mine": pair}}, "mine").deployments) == 2
