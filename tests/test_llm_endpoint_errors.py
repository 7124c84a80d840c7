"""Failed calls to a provider: the kind of each failure, and whether it may cost something."""

import pickle
import socket
from pathlib import Path

import pytest

from tasks.lib.gateway.errors import ErrorKind, ProviderError
from tasks.lib.gateway.fatal_error import run_error
from tasks.lib.gateway.routes import load_route
from tests.behaviours import HANG_S, fails, garbled, late, resets, trickles
from tests.test_llm_endpoint import ask

QUOTA = "You exceeded your current quota, please check your plan and billing details."
TOO_LONG = "This model's maximum context length is 8192 tokens, your messages have 9000."


@pytest.mark.parametrize(
    ("behave", "kind", "may_cost"),
    [
        (fails(401, "Incorrect API key provided"), ErrorKind.AUTHENTICATION, False),
        (
            fails(400, "API key not valid. Please pass a valid API key."),
            ErrorKind.AUTHENTICATION,
            False,
        ),
        (fails(403), ErrorKind.PERMISSION, False),
        (fails(404, "The model `fake` does not exist"), ErrorKind.BAD_REQUEST, False),
        (fails(400), ErrorKind.BAD_REQUEST, False),
        (fails(422), ErrorKind.BAD_REQUEST, False),
        (fails(400, TOO_LONG), ErrorKind.CONTEXT_TOO_LONG, False),
        (fails(413), ErrorKind.CONTEXT_TOO_LONG, False),
        (fails(400, "flagged by our content policy"), ErrorKind.CONTENT_FILTER, False),
        (fails(429), ErrorKind.RATE_LIMIT, False),
        (fails(429, QUOTA + " Quota is per minute, retry in 5 s"), ErrorKind.RATE_LIMIT, False),
        (fails(429, QUOTA, code="insufficient_quota"), ErrorKind.QUOTA, False),
        (fails(402, "Insufficient credits"), ErrorKind.QUOTA, False),
        (fails(408), ErrorKind.TIMEOUT, True),
        (fails(500), ErrorKind.SERVER, False),
        (fails(502), ErrorKind.SERVER, True),
        (fails(504), ErrorKind.TIMEOUT, True),
        (fails(503), ErrorKind.SERVER, False),
        (fails(529, "Overloaded"), ErrorKind.SERVER, False),
        (resets(), ErrorKind.CONNECTION, True),
        (resets(after=30), ErrorKind.CONNECTION, True),
        (garbled(b"<html>Log in</html>"), ErrorKind.MALFORMED, True),
        (garbled(b""), ErrorKind.MALFORMED, True),
        (garbled(b'{"id": "x", "cho'), ErrorKind.MALFORMED, True),
        (garbled(b"[]"), ErrorKind.MALFORMED, True),
        (garbled(b'{"answer": 42}'), ErrorKind.MALFORMED, True),
    ],
)
@pytest.mark.parametrize("model", ["openai/fake", "together_ai/fake", "openrouter/fake"])
def test_each_failure_has_a_kind_and_may_be_billed_but_is_not_retried_here(
    provider, behave, kind, may_cost, model
):
    provider.script(behave)
    (error,) = ask(provider.deployment(model=model))
    assert isinstance(error, ProviderError)
    assert (error.kind, error.may_cost) == (kind, may_cost)
    assert error.message
    assert len(provider.calls) == 1


@pytest.mark.parametrize("behave", [late(HANG_S), trickles(0.3)], ids=["late", "trickling"])
@pytest.mark.parametrize("own", [{}, {"timeout_s": 0.3}], ids=["of the step", "of the route"])
def test_a_call_ends_at_its_deadline_even_while_bytes_arrive(provider, behave, own):
    provider.script(behave)
    (error,) = ask(provider.deployment(**own), timeout_s=50.0 if own else 0.3)
    assert error.kind is ErrorKind.TIMEOUT
    assert error.may_cost


@pytest.mark.parametrize("model", ["openai/x", "anthropic/x", "ollama_chat/x"])
def test_tls_with_a_server_that_has_none_costs_nothing_and_names_the_cause(provider, model):
    base = provider.api_base.replace("http:", "https:")
    (error,) = ask(provider.deployment(model=model, api_base=base))
    assert error.kind is ErrorKind.CONNECTION
    assert not error.may_cost
    assert "WRONG_VERSION_NUMBER" in error.message
    assert "SSLContext" not in error.message
    route = load_route({"models": {"mine": provider.deployment()}}, "mine")
    shown = run_error(error, route, route.deployments[0], Path("journal"))
    assert "begins with http or https" in str(shown)


def test_an_error_in_json_is_shown_by_its_text(provider):
    route = load_route({"models": {"mine": provider.deployment()}}, "mine")
    for words in ('{"error": {"code": 400, "message": "No."}}', '{"message": "No."}', "No."):
        error = ProviderError(ErrorKind.BAD_REQUEST, f"Failed {words}" if "{" in words else words)
        shown = str(run_error(error, route, route.deployments[0], Path("journal")))
        assert "refuses the request: No.\n" in shown


def test_a_missing_endpoint_is_a_connection_error_with_its_cause():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        deployment = {"model": "openai/x", "schema": "never", "api_base": base, "api_key": "none"}
        prices = {"input_cost_per_token": 1.0, "output_cost_per_token": 1.0}
        (error,) = ask(deployment | prices)
    assert error.kind is ErrorKind.CONNECTION
    assert "127.0.0.1" in error.message
    assert not error.may_cost


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("0", None),
        ("-5", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_retry_after_header_counts_if_it_asks_for_a_wait_of_at_most_a_day(
    provider, header, seconds
):
    provider.script(fails(429, retry_after=header))
    (error,) = ask(provider.deployment())
    assert error.retry_after_s == seconds


def test_an_error_repeats_no_key_and_can_be_pickled(provider, monkeypatch):
    monkeypatch.setenv("MINE", "key-0123456789-abcdef")  # a name that does not give it away
    provider.script(fails(401, "Incorrect API key provided: \x1b[1mkey-0123456789-abcdef."))
    (error,) = ask(provider.deployment(api_key="os.environ/MINE"))
    assert error.message.isprintable()
    assert "0123456789" not in str(error)
    assert error.__cause__ is None
    again = pickle.loads(pickle.dumps(error))
    assert (again.kind, again.message) == (error.kind, error.message)
