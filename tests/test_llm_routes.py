"""Routes of params.yaml, and the keys they need."""

import pytest

from tasks.core.errors import ParamError
from tasks.core.params import read_params
from tasks.llm.keys import HIDDEN, redact
from tasks.llm.prices import FREE, stated_price
from tasks.llm.routes import Schema, load_route, require_key
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
LITERAL = "sk-live-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def route(**deployment):
    given = {"model": "openai/gpt-4o-mini", "schema": "auto"} | deployment
    return load_route({"models": {"mine": given}}, "mine")


def test_our_own_routes_are_sound():
    values = read_params(PROJECT / "params.yaml")
    for alias in values["models"]:
        assert load_route(values, alias).alias == alias
    require_key(load_route(values, "offline"))


def test_an_unknown_route_offers_the_nearest():
    models = {"chatgpt": {"model": "openai/x", "schema": "auto"}}
    with pytest.raises(ParamError, match=r"models has no chatgtp; did you mean chatgpt\?"):
        load_route({"models": models}, "chatgtp")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modle": "x"}, r"models\.mine\.modle is unknown; did you mean model\?"),
        ({"shema": "auto"}, r"models\.mine\.shema is unknown; did you mean schema\?"),
        ({"schema": "sometimes"}, r"models\.mine\.schema: .*'auto', 'always' or 'never'"),
        ({"model": "gpt-4o-mini"}, r"models\.mine\.model: .*not 'gpt-4o-mini'"),
        ({"model": "offline/magic"}, r"models\.mine\.model: offline has no such model"),
        ({"temperature": -1}, r"models\.mine\.temperature: .*greater than or equal to 0"),
        ({"temperature": True}, r"models\.mine\.temperature: .*valid number"),
        ({"input_cost_per_token": 1e-6}, "gives one price of two"),
        ({"rpm": 0}, r"models\.mine\.rpm: .*greater than or equal to 1"),
        ({"api_base": "127.0.0.1:8000"}, "has to be a plain address"),
        ({"api_base": "https://me:secretword@host/v1"}, "has to be a plain address"),
        ({"api_base": "https://host/v1?key=secretword"}, "has to be a plain address"),
        ({"api_base": ["x"]}, "has to be a plain address"),
    ],
)
def test_a_faulty_route_is_refused_by_its_key(change, says):
    with pytest.raises(ParamError, match=says) as caught:
        route(**change)
    assert "secretword" not in str(caught.value)


@pytest.mark.parametrize("given", [LITERAL, f"os.environ/{LITERAL}", "$OPENAI_API_KEY", [LITERAL]])
def test_a_key_in_the_file_is_refused_and_not_repeated(given):
    with pytest.raises(ParamError, match="name an environment variable") as caught:
        route(api_key=given)
    assert LITERAL[-8:] not in str(caught.value)


def test_a_fault_beside_a_literal_key_does_not_repeat_it():
    with pytest.raises(ParamError) as caught:
        route(api_key=LITERAL, modle="x", temperature="hot")
    assert LITERAL not in str(caught.value)


def test_every_route_is_checked_not_only_the_one_in_use():
    models = {
        "good": {"model": "offline/rubric", "schema": "never"},
        "bad": {"model": "openai/x", "schema": "never", "api_key": LITERAL},
    }
    with pytest.raises(ParamError, match=r"models\.bad\.api_key"):
        load_route({"models": models}, "good")


def test_an_alias_may_be_a_list_of_one_deployment_but_not_of_two():
    one = {"model": "openai/x", "schema": "never"}
    assert load_route({"models": {"mine": [one]}}, "mine").deployment.schema_use is Schema.NEVER
    with pytest.raises(ParamError, match="several deployments"):
        load_route({"models": {"mine": [one, one]}}, "mine")


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
    with pytest.raises(ParamError, match=f"{variable} is not set, and no call was made"):
        require_key(route(**deployment))
    monkeypatch.setenv(variable, "set-now")
    require_key(route(**deployment))


@pytest.mark.parametrize(
    "deployment",
    [
        {"api_key": "none"},
        {"model": "hosted_vllm/x", "api_base": "http://127.0.0.1:1/v1"},
        {"model": "ollama_chat/x"},
        {"model": "offline/rubric"},
    ],
)
def test_what_needs_no_key_is_let_through(deployment):
    require_key(route(**deployment))


def test_another_name_of_a_provider_s_key_will_do(monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "set")
    require_key(route(model="together_ai/x"))


def test_secrets_are_hidden_whole_and_in_part(monkeypatch):
    monkeypatch.setenv("MY_KEY", "abcdefgh-ijklmnop-qrstuvwx")
    assert redact("Bad key abcdefgh-ijklmnop-qrstuvwx!") == f"Bad key {HIDDEN}!"
    assert redact("Bad key ...klmnop-qrst...") == f"Bad key ...{HIDDEN}..."
    assert redact("the word abcdefg is short") == "the word abcdefg is short"
    assert redact("Authorization: Bearer eyJhbGci.x") == f"Authorization: Bearer {HIDDEN}"
    assert redact("key sk-proj-12345678 is wrong") == f"key {HIDDEN} is wrong"


def test_only_what_runs_here_or_has_a_stated_price_has_one():
    assert stated_price(route(model="offline/rubric").deployment) == FREE
    local = route(model="ollama_chat/x", api_base="http://localhost:11434")
    assert stated_price(local.deployment) == FREE
    assert stated_price(route(model="ollama_chat/x", api_base="http://far:1").deployment) is None
    assert stated_price(route().deployment) is None
    priced = route(input_cost_per_token=1e-6, output_cost_per_token=0)
    price = stated_price(priced.deployment)
    assert price is not None
    assert price.cost_usd(1_000_000, 5) == pytest.approx(1.0)
    assert price.cost_usd(None, 5) is None
