"""Routes in params.yaml, and the keys that they need."""

import pytest

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import read_params
from tasks.lib.gateway.credentials import HIDDEN, redact
from tasks.lib.gateway.deployment_settings import Schema
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import FREE, Price, max_prompt_tokens, price_of, require_price
from tasks.lib.gateway.routes import load_chain, load_route, require_usable
from tests.conftest import PROJECT

KEYS = (
    "OPENAI_API_KEY",
    "TOGETHERAI_API_KEY",
    "TOGETHER_API_KEY",
    "TOGETHER_AI_API_KEY",
    "OPENROUTER_API_KEY",
    "OR_API_KEY",
    "MY_KEY",
)
GPT_4O_MINI = Price(1.5e-7, 6e-7, cached_usd=7.5e-8)
LITERAL = "sk-live-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def route(**deployment):
    given = {"model": "openai/gpt-4o-mini", "schema": "auto"} | deployment
    return load_route({"models": {"mine": given}}, "mine")


def test_our_own_routes_are_valid():
    values = read_params(PROJECT / "params.yaml")
    for alias in values["models"]:
        assert load_route(values, alias).alias == alias
    require_usable(load_route(values, "offline"))


def test_the_error_for_an_unknown_route_offers_the_nearest():
    models = {"chatgpt": {"model": "openai/x", "schema": "auto"}}
    with pytest.raises(ParamError, match=r"there is no route chatgtp; did you mean chatgpt\?"):
        load_route({"models": models}, "chatgtp")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modle": "x"}, r"models\.mine\.modle is unknown; did you mean model\?"),
        ({"shema": "auto"}, r"models\.mine\.shema is unknown; did you mean schema\?"),
        ({"schema": "sometimes"}, r"models\.mine\.schema: .*'auto', 'always' or 'never'"),
        ({"model": "gpt-4o-mini"}, r"models\.mine\.model: .*not 'gpt-4o-mini'"),
        ({"model": "offline/magic"}, r"models\.mine\.model: offline has no model 'offline/magic'"),
        ({"temperature": -1}, r"models\.mine\.temperature: .*greater than or equal to 0"),
        ({"temperature": True}, r"models\.mine\.temperature: .*valid number"),
        ({"input_cost_per_token": 1e-6}, "has only one of its two prices"),
        ({"rpm": 0}, r"models\.mine\.rpm: .*greater than or equal to 1"),
        ({"api_base": "127.0.0.1:8000"}, "must be a plain address"),
        ({"api_base": "https://me:secretword@host/v1"}, "must be a plain address"),
        ({"api_base": "https://host/v1?key=secretword"}, "must be a plain address"),
        ({"api_base": ["x"]}, "must be a plain address"),
    ],
)
def test_an_invalid_route_is_refused_with_its_key(change, says):
    with pytest.raises(ParamError, match=says) as caught:
        route(**change)
    assert "secretword" not in str(caught.value)


@pytest.mark.parametrize("given", [LITERAL, f"os.environ/{LITERAL}", "$OPENAI_API_KEY", [LITERAL]])
def test_a_key_in_the_file_is_refused_and_not_repeated(given):
    with pytest.raises(ParamError, match="name an environment variable") as caught:
        route(api_key=given)
    assert LITERAL[-8:] not in str(caught.value)


def test_an_error_next_to_a_literal_key_does_not_repeat_it():
    with pytest.raises(ParamError) as caught:
        route(api_key=LITERAL, modle="x", temperature="hot")
    assert LITERAL not in str(caught.value)


def test_every_route_is_checked_not_only_the_route_in_use():
    models = {
        "good": {"model": "offline/typical", "schema": "never"},
        "bad": {"model": "openai/x", "schema": "never", "api_key": LITERAL},
    }
    with pytest.raises(ParamError, match=r"models\.bad\.api_key"):
        load_route({"models": models}, "good")


ONE = {"model": "openai/x", "schema": "never", "api_base": "http://127.0.0.1:1/v1"}


def test_an_alias_may_be_a_list_of_deployments_of_one_model():
    other = ONE | {"api_base": "http://127.0.0.1:2/v1", "model": "hosted_vllm/x", "rpm": 60}
    route = load_route({"models": {"mine": [ONE, other]}}, "mine")
    assert [deployment.rpm for deployment in route.deployments] == [None, 60]
    assert (route.model, route.schema_use) == ("openai/x", Schema.NEVER)
    assert len(load_route({"models": {"mine": [ONE]}}, "mine").deployments) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], r"models\.mine is an empty list"),
        ([ONE, {}], r"models\.mine\[1\]\.model"),
        ([ONE, "x"], r"models\.mine\[1\] must be a mapping"),
        ([ONE, ONE | {"temperature": 0.5}], "deployments differ in temperature"),
        ([ONE, ONE | {"schema": "always"}], "deployments differ in schema"),
        (
            [{"model": "offline/typical", "schema": "never"}] * 2,
            "so it can have only one deployment",
        ),
        ("openai/x", r"models\.mine must be a mapping"),
    ],
)
def test_deployments_that_differ_are_refused(given, says):
    with pytest.raises(ParamError, match=says):
        load_route({"models": {"mine": given}}, "mine")


def test_a_chain_is_the_route_and_its_fallbacks():
    models = {name: ONE | {"model": f"openai/{name}"} for name in "abc"}
    models["offline"] = {"model": "offline/typical", "schema": "never"}
    chain = load_chain({"models": models}, "b", ["c", "a"])
    assert [route.alias for route in chain] == ["b", "c", "a"]
    assert [route.alias for route in load_chain({"models": models}, "offline", [])] == ["offline"]
    for route, fallbacks in (("a", ["a"]), ("a", ["b", "b"]), ("a", ["offline"]), ("offline", "a")):
        with pytest.raises(ParamError, match=rf"{fallbacks[-1]} cannot be a fallback for {route}"):
            load_chain({"models": models}, route, [*fallbacks])
    with pytest.raises(ParamError, match=r"fallback_routes: there is no route d"):
        load_chain({"models": models}, "a", ["d"])


@pytest.mark.parametrize(
    ("deployment", "variable"),
    [
        ({}, "OPENAI_API_KEY"),
        ({"model": "together_ai/x"}, "TOGETHERAI_API_KEY"),
        ({"model": "openrouter/a/b"}, "OPENROUTER_API_KEY"),
        ({"api_key": "os.environ/MY_KEY"}, "MY_KEY"),
        ({"api_base": "http://127.0.0.1:1/v1"}, "OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_is_named(deployment, variable, monkeypatch):
    monkeypatch.setenv(variable, "")
    with pytest.raises(ParamError, match=f"{variable} is not set, so no call was made"):
        require_usable(route(**deployment))
    monkeypatch.setenv(variable, "set-now")
    require_usable(route(**deployment))


@pytest.mark.parametrize(
    "deployment",
    [
        {"api_key": "none"},
        {"model": "hosted_vllm/x", "api_base": "http://127.0.0.1:1/v1"},
        {"model": "ollama_chat/x"},
        {"model": "offline/typical"},
    ],
)
def test_a_route_that_needs_no_key_is_accepted(deployment):
    require_usable(route(**deployment))


def test_another_variable_for_a_providers_key_is_accepted(monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "set")
    require_usable(route(model="together_ai/x"))


def test_secrets_are_hidden_whole_and_in_part(monkeypatch):
    monkeypatch.setenv("MY_KEY", "abcdefgh-ijklmnop-qrstuvwx")
    assert redact("Bad key abcdefgh-ijklmnop-qrstuvwx!") == f"Bad key {HIDDEN}!"
    assert redact("Bad key ...klmnop-qrst...") == f"Bad key ...{HIDDEN}..."
    assert redact("the word abcdefg is short") == "the word abcdefg is short"
    assert redact("Authorization: Bearer eyJhbGci.x") == f"Authorization: Bearer {HIDDEN}"
    assert redact("key sk-proj-12345678 is wrong") == f"key {HIDDEN} is wrong"


@pytest.mark.parametrize(
    ("deployment", "price"),
    [
        ({"model": "offline/typical"}, FREE),
        ({"model": "local/gemma-3-270m"}, FREE),
        ({"model": "ollama_chat/x", "api_base": "http://localhost:11434"}, FREE),
        ({"model": "ollama_chat/x", "api_base": "http://far:1"}, None),
        ({"model": "openai/gpt-4o-mini"}, GPT_4O_MINI),
        ({"model": "openai/unheard-of"}, None),
        ({"model": "gemini/gemma-3-27b-it"}, None),  # 0 in LiteLLM's map
        (
            {"model": "openai/gpt-4o-mini", "input_cost_per_token": 1.0}
            | {"output_cost_per_token": 2.0},
            Price(1.0, 2.0),
        ),
        (
            {"model": "openai/mine", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
            FREE,
        ),
    ],
)
def test_a_zero_in_the_price_map_counts_as_an_unknown_price(deployment, price):
    assert price_of(route(**deployment).deployments[0], load_litellm()) == price


def test_a_route_without_a_price_is_refused_with_the_keys_to_set():
    deployment = route(model="openai/unheard-of").deployments[0]
    with pytest.raises(ParamError, match="the price of this model is unknown") as caught:
        require_price(deployment, load_litellm(), "models.mine (openai/unheard-of)")
    assert "models.mine (openai/unheard-of)" in str(caught.value)
    assert "input_cost_per_token and output_cost_per_token" in str(caught.value)


def test_prompt_and_completion_tokens_have_their_own_prices():
    assert Price(1e-6, 5e-6).cost_usd(1_000_000, 100_000) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "text", ["Name a river.", "写一首关于河流的诗。", "def f(x): return x**2", ""]
)
def test_no_tokenizer_makes_more_tokens_than_the_upper_bound(text):
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text * 50}]
    n_tokens = load_litellm().token_counter(model="gpt-4o-mini", messages=messages)
    assert n_tokens <= max_prompt_tokens(messages)
    assert max_prompt_tokens(messages, 100) == max_prompt_tokens(messages) + 100


def test_thinking_and_cached_tokens_have_their_own_prices():
    price = Price(2.0, 10.0, reasoning_usd=12.0, cached_usd=0.5)
    assert price.cost_usd(100, 10) == 300
    assert price.cost_usd(100, 10, reasoning_tokens=5, cached_tokens=40) == 250
    assert price.most_usd(100, 10) == 320


def test_a_tier_has_the_price_in_litellms_map_or_is_refused():
    litellm = load_litellm()
    usual, flex = (
        require_price(route(model="openai/gpt-5-mini", **tier).deployments[0], litellm, "here")
        for tier in ({}, {"service_tier": "flex"})
    )
    assert flex.completion_usd == pytest.approx(usual.completion_usd / 2)
    with pytest.raises(ParamError, match="none for its tier flex"):
        odd = route(model="anthropic/claude-haiku-4-5", service_tier="flex").deployments[0]
        require_price(odd, litellm, "here")


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("openai/gpt-5-minni", "openai/gpt-5-mini (0.25 and 2 USD for a million tokens in and out"),
        ("anthropic/claude-haiku-4.5", "anthropic/claude-haiku-4-5 (1 and 5 USD"),
        ("gemini/gemini-2.5-flash-light", "gemini/gemini-2.5-flash-lite (0.1 and 0.4 USD"),
        ("openai/zzz", None),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_known_ones_and_their_prices(model, known):
    with pytest.raises(ParamError, match="the price of this model is unknown") as caught:
        require_price(route(model=model).deployments[0], load_litellm(), "here")
    assert ("did you mean" in str(caught.value)) == (known is not None)
    assert (known or "") in str(caught.value)
