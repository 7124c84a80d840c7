"""The routes in docs/how-to/providers.md, each tried over HTTP in its provider's protocol."""

import re
from datetime import date
from io import StringIO
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from tasks.estimate.model_facts import SOON_DAYS, facts_of
from tasks.lib.core.params import read_params
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import price_of
from tasks.lib.gateway.routes import load_route, load_routes
from tests.conftest import PROJECT
from tests.fake_provider import FakeProvider
from tests.judge_desk import chosen, questions

WRITTEN = date(2026, 11, 28)
PAGE = (PROJECT / "docs/how-to/providers.md").read_text(encoding="utf-8")
LINES = dict(re.findall(r"^### (.+?)\n(?:(?!^###).)*?```yaml\n(.*?)```", PAGE, re.M | re.S))
FAMILIES = {
    "OpenAI": ("OPENAI_API_KEY", "/chat/completions", "authorization"),
    "Anthropic": ("ANTHROPIC_API_KEY", "/v1/messages", "x-api-key"),
    "Gemini": ("GEMINI_API_KEY", ":generateContent", "x-goog-api-key"),
    "Mistral": ("MISTRAL_API_KEY", "/chat/completions", "authorization"),
    "DeepSeek": ("DEEPSEEK_API_KEY", "/chat/completions", "authorization"),
    "Together AI": ("TOGETHERAI_API_KEY", "/chat/completions", "authorization"),
    "OpenRouter": ("OPENROUTER_API_KEY", "/chat/completions", "authorization"),
    "Amazon Bedrock": ("AWS_SECRET_ACCESS_KEY", "/converse", None),
    "Azure OpenAI": ("AZURE_API_KEY", "/openai/deployments/my-deployment/", "api-key"),
    "vLLM": (None, "/chat/completions", None),
    "Ollama": (None, "/api/chat", None),
    "llama.cpp": (None, "/chat/completions", None),
    "LM Studio": (None, "/chat/completions", None),
}
"""By family: the variable with its key, a part of the path, and the header with the key."""
SECRET = "key-0123456789abcdef"


def given(family):
    return YAML(typ="safe").load(StringIO(LINES[family]))["mine"]


def test_every_family_has_lines_to_paste():
    assert LINES.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lines_of_a_provider_give_a_whole_selection_on_the_wire(
    family, put, warm_client, monkeypatch
):
    variable, path, header = FAMILIES[family]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    if variable:
        monkeypatch.setenv(variable, SECRET)
    route = given(family)
    with FakeProvider() as provider:
        own = urlsplit(route.get("api_base", "/v1")).path
        base = provider.origin + own * (family not in {"Anthropic", "Gemini", "Amazon Bedrock"})
        asked = questions(2)
        verdicts = put(route | {"api_base": base}, asked)
    assert [verdict.method for verdict in verdicts] == ["llm", "llm"]
    assert all(len(chosen(q, v)) for q, v in zip(asked, verdicts, strict=True))
    assert [call.path for call in provider.calls] == [provider.calls[0].path] * 2
    call = provider.calls[0]
    assert path in call.path
    assert header is None or SECRET in call.headers[header]
    assert "zzz" in call.messages[-1]["content"]  # the candidates are in the user's part


@pytest.mark.parametrize("family", FAMILIES)
def test_the_models_of_the_page_are_priced_and_were_alive_when_it_was_written(family):
    (deployment,) = load_route({"models": {"mine": given(family)}}, "mine").deployments
    litellm = load_litellm()
    price = price_of(deployment, litellm)
    assert price is not None
    ends = facts_of(deployment, litellm).ends
    assert ends is None or (ends - WRITTEN).days > SOON_DAYS
    stated = re.search(r"; ([\d.]+) and ([\d.]+)$", LINES[family], re.M)
    if stated:
        prices = [1e6 * price.prompt_usd, 1e6 * price.completion_usd]
        assert prices == pytest.approx([float(stated[1]), float(stated[2])])


def test_the_shipped_routes_are_priced_and_alive():
    litellm = load_litellm()
    for route in load_routes(read_params(PROJECT / "params.yaml")).values():
        for deployment in route.deployments:
            assert price_of(deployment, litellm) is not None, route.alias
            ends = facts_of(deployment, litellm).ends
            assert ends is None or (ends - WRITTEN).days > SOON_DAYS, route.alias
