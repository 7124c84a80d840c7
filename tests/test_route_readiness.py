"""Routes that cannot judge are named before any work, and so are models about to be retired."""

import socket
import threading
from datetime import date

import pytest

from tasks.estimate.longest_prompt import Sizes, worst_sizes
from tasks.estimate.model_facts import alternatives, facts_of
from tasks.estimate.route_readiness import Readiness
from tasks.lib.core.dvc_yaml import load_yaml
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.routes import load_routes
from tests.conftest import PROJECT
from tests.exchange import Response
from tests.fake_provider import FakeProvider
from tests.workspaces import free_port

TODAY = date(2026, 11, 28)
SMALL = Sizes(longest=900, frame=300, n_slots=6, is_exact=True)


@pytest.fixture(scope="module")
def provider():
    with FakeProvider() as server:
        yield server


@pytest.fixture
def values(monkeypatch):
    """Return params.yaml without the variables of this machine's providers."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TOGETHERAI_API_KEY", "OLLAMA_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return load_yaml(PROJECT / "params.yaml")


def found(values, *routes, sizes=SMALL, today=TODAY, **params):
    """Return the findings for these routes, the first one in use and the others its fallbacks."""
    aliases = [f"mine{i}" for i in range(len(routes))]
    values["models"] = dict(zip(aliases, routes, strict=True))
    values["llm_select"] |= {"route": aliases[0], "fallback_routes": aliases[1:]} | params
    return Readiness(values, today).findings(sizes)


def dead(provider, **changes):
    return provider.deployment(api_base=f"http://127.0.0.1:{free_port()}/v1", **changes)


def test_the_offline_judge_needs_no_check(values):
    readiness = Readiness(values, TODAY)
    assert not readiness.has_models
    assert readiness.findings(worst_sizes(values, PROJECT)) == []


def test_a_route_that_can_judge_has_no_findings_and_no_call_is_made(values, provider):
    assert found(values, provider.deployment()) == []
    assert provider.calls == []


FAULTS = {
    "no key": ({"api_key": "os.environ/ABSENT_KEY"}, "ABSENT_KEY is not set"),
    "no price": (
        {"input_cost_per_token": None, "output_cost_per_token": None},
        "the price of this model is unknown",
    ),
    "an unknown provider": ({"model": "nobody/fake"}, "does not know the provider"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_route_that_cannot_be_called_is_fatal(values, provider, name):
    changes, words = FAULTS[name]
    deployment = provider.deployment(**changes)
    given = {key: value for key, value in deployment.items() if value is not None}
    (finding,) = found(values, given)
    assert finding.is_fatal
    assert words in finding.what
    assert "models.mine0" in finding.where


def test_a_dead_endpoint_is_fatal_unless_another_judge_or_deployment_is_alive(values, provider):
    (alone,) = found(values, dead(provider))
    assert alone.is_fatal
    assert "cannot be reached: 127.0.0.1" in alone.what
    assert "dvc repro" in alone.fix
    (first,) = found(values, dead(provider), provider.deployment(model="openai/other"))
    assert not first.is_fatal
    (half,) = found(values, [dead(provider), provider.deployment()])
    assert not half.is_fatal


def test_a_refused_key_is_fatal(values, provider, monkeypatch):
    monkeypatch.setenv("MY_KEY", "wrong-0123456789")
    provider.refuses = "wrong-0123456789"
    (finding,) = found(values, provider.deployment(api_key="os.environ/MY_KEY"))
    assert finding.is_fatal
    assert "does not accept the key" in finding.what
    assert "wrong-0123" not in str(finding)


def test_a_key_does_not_follow_a_redirect_to_another_host(values, provider, monkeypatch):
    monkeypatch.setenv("MY_KEY", "mine-0123456789")
    with FakeProvider() as other:
        moved = Response(302, headers={"Location": f"{other.api_base}/models"})
        monkeypatch.setattr(provider, "listing", lambda path, key: moved)
        assert found(values, provider.deployment(api_key="os.environ/MY_KEY")) == []
        assert other.n_listings == 0


@pytest.mark.parametrize(
    "response",
    [
        Response(body=b"[" * 10**6),
        Response(body=b"{" * 10**6, times=50),
        Response(body=b" " * 10**6, times=50),
        Response(body=b'{"data": 5}'),
        Response(body=b'{"data": [5, [], {"id": null}]}'),
        Response(body=b'{"data": [{"id": "fake", "max_model_len": true}]}'),
        Response(body=b'{"data": [{"id": "fake", "max_model_len": -1, "meta": [1]}]}'),
        Response(body=b"\xff\xfe"),
    ],
)
def test_a_listing_that_cannot_be_read_says_nothing(values, provider, monkeypatch, response):
    monkeypatch.setattr(provider, "listing", lambda path, key: response)
    assert found(values, provider.deployment()) == []


def test_a_long_name_in_a_listing_is_cut(values, provider, monkeypatch):
    monkeypatch.setattr(provider, "listed", [{"id": "x" * 10**6}])
    (finding,) = found(values, provider.deployment())
    assert len(str(finding)) < 1000


def test_an_endpoint_that_does_not_speak_http_is_fatal(values, provider):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        base = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        (finding,) = found(values, provider.deployment(api_base=base))
        thread.join()
    assert finding.is_fatal
    assert "its response is not HTTP" in finding.what


LISTED = {
    "openai/qwen3-8b": ([{"id": "qwen3-4b"}], [False], "did you mean qwen3-4b?"),
    "openai/qwen3-4b": ([{"id": "qwen3-4b"}], [], ""),
    "ollama_chat/llama3.1:70b": ([{"name": "gemma2:27b"}], [True], "does not list llama3.1:70b"),
    "ollama_chat/gemma2": ([{"name": "gemma2:latest"}], [], ""),
}


@pytest.mark.parametrize("model", LISTED)
def test_a_model_that_the_endpoint_does_not_list_is_named(values, provider, monkeypatch, model):
    listed, are_fatal, words = LISTED[model]
    monkeypatch.setattr(provider, "listed", listed)
    base = provider.origin if model.startswith("ollama") else provider.api_base
    findings = found(values, provider.deployment(model=model, api_base=base))
    assert [finding.is_fatal for finding in findings] == are_fatal
    assert all(words in finding.what for finding in findings)


def test_the_longest_prompt_is_compared_with_the_context_that_the_server_states(
    values, provider, monkeypatch
):
    monkeypatch.setattr(provider, "listed", [{"id": "fake", "max_model_len": 2048}])
    route = provider.deployment()
    fits, halves, none = (Sizes(longest, 300, 6, True) for longest in (1700, 4000, 60_000))
    assert found(values, route, sizes=fits) == []
    (finding,) = found(values, route, sizes=halves)
    assert not finding.is_fatal
    assert "cluster.candidates_per_prompt to 2 or lower" in finding.fix
    (finding,) = found(values, route, sizes=none)
    assert finding.is_fatal
    assert "not even one candidate fits" in finding.what


def test_before_the_texts_are_known_the_worst_case_follows_from_the_parameters(values):
    small = worst_sizes(values, PROJECT)
    values["llm_select"]["max_candidate_chars"] *= 2
    large = worst_sizes(values, PROJECT)
    assert small.frame == large.frame
    assert large.longest - large.frame == pytest.approx(2 * (small.longest - small.frame), abs=2)
    assert small.longest < 8192 - 256  # so that the local model can judge by default
    values["cluster"] |= {"candidates_per_prompt": None, "n_prompts": 1000}
    assert worst_sizes(values, PROJECT) is None


ENDS = {
    "together_ai/meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo": ("2026-02-25", "deepinfra/meta"),
    "openai/gpt-4o-mini": ("2027-01-14", "openai/gpt-6-luna"),  # the end of its last version
    "openai/gpt-6-luna": (None, ""),
}


@pytest.mark.parametrize("model", ENDS)
def test_the_map_says_when_a_model_ends_and_which_living_ones_are_like_it(model):
    ends, like = ENDS[model]
    (deployment,) = load_routes({"models": {"x": {"model": model, "schema": "auto"}}})[
        "x"
    ].deployments
    facts = facts_of(deployment, load_litellm())
    assert facts.ends == (date.fromisoformat(ends) if ends else None)
    if ends:
        living = alternatives(deployment, load_litellm(), TODAY)
        assert like in " ".join(living)
        assert model not in living


def test_a_model_that_ends_within_60_days_is_a_warning(values, monkeypatch):
    values["models"] |= {"old": {"model": "openai/gpt-4o-mini", "schema": "auto"}}

    def warned(today):
        others = Readiness(values, today).endings_of_others()
        return [finding.what for finding in others if "models.old " in finding.where]

    assert warned(date(2026, 11, 1)) == []
    assert "ends on 2027-01-14" in warned(date(2026, 11, 15))[0]
    assert "ended on 2027-01-14" in warned(date(2027, 2, 1))[0]
