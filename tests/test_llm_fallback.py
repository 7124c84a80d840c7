"""Fallback routes, and deployments that share the calls."""

import time

import pytest

from tasks.lib.core.errors import LLMError
from tasks.llm_select.verdicts import PickMethod
from tests.behaviours import HANG_S, fails, garbled, honest, late, resets
from tests.judge_desk import USELESS, questions
from tests.workspaces import wait_until


def test_after_unusable_replies_the_next_route_is_tried(provider, second, put, book):
    provider.behave = USELESS
    (verdict,) = put(provider.deployment(), questions(1), second.deployment(model="openai/b"))
    assert verdict.methods == (PickMethod.LLM,)
    assert [bought.route for bought in verdict.answers] == ["other0"]
    assert (len(provider.calls), len(second.calls)) == (2, 1)
    assert not second.calls[0].is_reask
    assert book("route, outcome") == [
        ("mine", "no_list"),
        ("mine", "no_list"),
        ("other0", "answer"),
    ]


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(fails(500), id="500"),
        pytest.param(fails(503), id="503"),
        pytest.param(resets(), id="reset"),
        pytest.param(late(HANG_S), id="late", marks=pytest.mark.slow),
        pytest.param(garbled(b"<html>"), id="garbled"),
    ],
)
def test_the_fallback_route_answers_while_the_first_is_down(provider, second, put, behave):
    provider.behave = behave
    other = second.deployment(model="openai/b")
    verdicts = put(
        provider.deployment(), questions(20), other, concurrency=8, max_attempts=2, timeout_s=3.0
    )
    assert {verdict.methods for verdict in verdicts} == {(PickMethod.LLM,)}
    assert {bought.route for v in verdicts for bought in v.answers} == {"other0"}
    assert len(second.calls) == 20
    assert 1 <= len(provider.calls) <= 2  # max_attempts; then it is left alone


def test_if_all_routes_are_down_the_error_names_the_last_one(provider, second, put):
    provider.behave = second.behave = fails(503)
    with pytest.raises(LLMError, match=r"models\.other0"):
        put(provider.deployment(), questions(9), second.deployment(model="openai/b"))


def test_answers_of_a_fallback_route_are_reused(provider, second, put):
    provider.behave = fails(503)
    other = second.deployment(model="openai/b")
    first = put(provider.deployment(), questions(4), other)
    provider.behave = honest
    assert put(provider.deployment(), questions(4), other) == first
    assert len(second.calls) == 4


def test_the_first_call_goes_alone_and_the_rest_stay_within_bounds(provider, put):
    def behave(call):
        if len(provider.calls) > 1:
            wait_until(lambda: provider.peak >= 5, within_s=30)
        return late(0.05)(call)

    provider.behave = behave
    put(provider.deployment(), questions(30), concurrency=5)
    first, second = provider.calls[:2]
    assert second.arrived_s - first.arrived_s >= 0.05
    assert provider.peak == 5


def test_several_deployments_share_the_calls(provider, second, put):
    provider.behave = second.behave = late(0.02)
    both = [provider.deployment(), second.deployment()]
    put(both, questions(40), concurrency=4)
    assert len(provider.calls) + len(second.calls) == 40
    assert 12 <= len(provider.calls) <= 28


def test_a_deployment_that_has_to_rest_gets_no_calls(provider, second, put):
    provider.script(fails(429, retry_after=HANG_S), fails(429))
    began = time.monotonic()
    put([provider.deployment(), second.deployment()], questions(20), concurrency=2)
    assert time.monotonic() - began < HANG_S / 2
    assert len(provider.calls) <= 2
    assert len(second.calls) == 20


def test_rate_limits_cost_no_call(provider, put):
    put(provider.deployment(rpm=1000, tpm=10**6), questions(10))
    assert len(provider.calls) == 10
