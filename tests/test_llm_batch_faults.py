"""Every fault of a provider's batches: what is retried, sent again one by one, or refused."""

import json

import pytest

from tasks.lib.core.errors import LLMError
from tasks.lib.gateway.reply_limits import MAX_BODY
from tests.batch_desk import MAX_ATTEMPTS, N, error, price, rankings
from tests.behaviours import fails, honest
from tests.exchange import Response
from tests.judge_desk import TOO_LONG, USELESS, on, questions

ONCE = [
    ("POST /v1/files", error(429)),
    ("POST /v1/files", error(500)),
    ("POST /v1/files", Response(reset_after=0)),
    ("POST /v1/batches", error(429)),
    ("POST /v1/batches", error(500)),
    ("GET /v1/batches/", error(429)),
    ("GET /v1/batches/", error(503)),
    ("GET /v1/batches/", Response(body=b"<html>")),
    ("GET /v1/files/", error(500)),
    ("GET /v1/files/", error(429)),
]


@pytest.mark.slow
def test_passing_failures_of_every_endpoint_are_retried(batches, provider, book):
    for request, response in ONCE:
        provider.batches.script(request, response)
    batches.ask(provider.deployment(), questions(N), max_attempts=4)
    assert provider.batches.is_script_done
    assert book() == ["answer"] * N
    assert max(provider.n_answers.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("response", [Response(reset_after=0), error(500), error(502)])
def test_a_batch_that_was_created_without_a_response_is_found_again(
    batches, provider, book, response
):
    provider.batches.script("POST /v1/batches", response, is_done=True)
    batches.ask(provider.deployment(), questions(N))
    assert provider.batches.sizes == [N - 1]
    assert max(provider.n_answers.values()) == 1
    assert book() == ["answer"] * N


@pytest.mark.slow
@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_questions_that_a_batch_leaves_unanswered_are_sent_one_by_one(
    batches, provider, book, status
):
    provider.batches.status, provider.batches.share = status, 0.4
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert len(batches.unanswered) == 3
    assert all(verdict.ballots for verdict in verdicts)
    assert batches.left == []
    assert max(provider.n_answers.values()) == 1
    rows = book("outcome, usd")
    assert [row for row in rows if row[0] == "unfinished"] == [("unfinished", 0.0)] * 3
    assert [outcome for outcome, _ in rows].count("answer") == N


def spoiled(lines):
    """Return the lines twice and unordered, with garbage; one is missing and one unreadable."""
    *rest, bad, _ = lines
    no_body = json.loads(bad)
    no_body["response"]["body"] = "no"
    junk = [b'{"custom_id": "x"', b"[]", b'{"custom_id": "unknown", "response": null}']
    return [*junk, json.dumps(no_body).encode(), *rest[::-1], *rest]


def lying(lines):
    """Return lines with an impossible usage, an error with a success status, or too much data."""
    first, second, third, *rest = map(json.loads, lines)
    first["response"]["body"]["usage"]["prompt_tokens"] = -(10**9)
    second["response"]["status_code"] = "200"
    third["padding"] = "x" * MAX_BODY
    deep = json.dumps(rest[0]).encode()[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}"
    return [*(json.dumps(line).encode() for line in (first, second, third, *rest[1:])), deep]


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "n_lost"), [(spoiled, 2), (lambda lines: [], N - 1), (lying, 3)])
def test_faulty_lines_cost_at_most_their_own_requests(  # noqa: PLR0917
    batches, provider, second, put, book, spoil, n_lost
):
    provider.batches.spoil = spoil
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert len(batches.unanswered) == n_lost
    rows = book("outcome, is_upper_bound")
    assert [row for row in rows if row[0] == "unfinished"] == [("unfinished", 1)] * n_lost
    assert batches.spent_usd >= price(provider.book[:1]) + price(provider.book[1:N]) / 2
    batches.journal.unlink()
    assert rankings(verdicts) == rankings(put(second.deployment(), questions(N)))


@pytest.mark.slow
def test_a_file_that_is_gone_costs_its_requests(batches, provider, book):
    for _ in range(MAX_ATTEMPTS):
        provider.batches.script("GET /v1/files/", error(404))
    batches.ask(provider.deployment(), questions(N))
    assert book().count("unfinished") == N - 1
    assert book().count("answer") == N


@pytest.mark.slow
def test_errors_of_single_requests_lead_to_what_they_would_lead_to_in_single_calls(
    batches, provider, book
):
    failures = [fails(500)]

    def fails_once(call):
        return (failures.pop() if failures else honest)(call)

    provider.behave = on(3, TOO_LONG, on(9, USELESS, on(6, fails_once)))
    verdicts = batches.ask(provider.deployment(), questions(N))
    assert provider.batches.sizes == [N - 1]
    outcomes = book()
    assert outcomes.count("context_too_long") >= 1
    assert outcomes.count("no_list") == 2  # in the batch, and in a re-ask
    assert outcomes.count("server") == 1
    assert all(verdict.slots for verdict in verdicts)


@pytest.mark.slow
def test_a_refused_batch_ends_the_run_at_no_cost_and_names_a_way_out(batches, provider, book):
    provider.batches.error = ("billing_hard_limit_reached", "Billing hard limit has been reached.")
    with pytest.raises(LLMError, match="Billing hard limit") as caught:
        batches.ask(provider.deployment(), questions(N))
    assert "llm_select.batch: false" in str(caught.value)
    assert batches.spent_usd == pytest.approx(price(provider.book))
    assert book() == ["answer", *["unfinished"] * (N - 1)]
    assert batches.left == []


def test_a_wrong_key_is_noticed_before_a_batch_is_sent(batches, provider):
    provider.behave = fails(401, "Incorrect API key")
    with pytest.raises(LLMError, match="does not accept the key"):
        batches.ask(provider.deployment(), questions(N))
    assert provider.batches.requests == []


@pytest.mark.slow
def test_a_batch_over_the_providers_limit_is_sent_in_smaller_ones(batches, provider, book):
    provider.batches.max_requests = 3
    batches.ask(provider.deployment(), questions(N))
    first, *others = provider.batches.sizes
    assert (first, sum(others)) == (N - 1, N - 1)
    assert book().count("answer") == N
    assert max(provider.n_answers.values()) == 1


@pytest.mark.slow
def test_a_batch_of_an_earlier_run_that_is_over_the_limit_is_sent_in_smaller_ones(
    batches, provider, book
):
    provider.batches.max_requests = 3
    provider.batches.script("GET /v1/batches/", error(401))
    with pytest.raises(LLMError, match="does not accept the key"):
        batches.ask(provider.deployment(), questions(N))
    batches.ask(provider.deployment(), questions(N))
    assert book().count("answer") == N
    assert max(provider.n_answers.values()) == 1
