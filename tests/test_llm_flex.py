"""The flex tier: its price, its refusals, and the way back to the standard price."""

import pytest

from tasks.lib.core.errors import LLMError, ParamError
from tasks.lib.gateway.endpoint import FLEX_TIMEOUT_S, Endpoint
from tasks.lib.gateway.litellm_setup import load_litellm
from tasks.lib.gateway.prices import Tier, price_of, require_price
from tasks.lib.gateway.reply import Reply
from tasks.lib.gateway.routes import load_route
from tasks.lib.gateway.tariff import Tariff
from tasks.lib.journal.models import CallCost
from tests.behaviours import fails, says
from tests.fake_provider import USD_IN, USD_OUT
from tests.judge_desk import questions

UNAVAILABLE = fails(429, "Resource unavailable", "resource_unavailable")
HALF = {"input_cost_per_token": USD_IN / 2, "output_cost_per_token": USD_OUT / 2}


def deployment(**values):
    return load_route({"models": {"mine": {"schema": "never"} | values}}, "mine").deployments[0]


@pytest.mark.parametrize("tier", [Tier.OWN, Tier.BATCHES])
def test_flex_and_batches_cost_half_in_the_map(tier):
    service_tier = {"service_tier": "flex"} if tier is Tier.OWN else {}
    cheap = price_of(deployment(model="openai/gpt-5-mini", **service_tier), load_litellm(), tier)
    usual = price_of(deployment(model="openai/gpt-5-mini"), load_litellm())
    assert cheap[:2] == pytest.approx([usd / 2 for usd in usual[:2]])


@pytest.mark.parametrize(
    ("model", "share"), [("openai/x", 0.5), ("azure/x", 0.5), ("hosted_vllm/x", 1.0)]
)
def test_a_batch_without_a_price_in_the_map_costs_what_the_provider_says(model, share):
    given = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    price = price_of(deployment(model=model, **given), load_litellm(), Tier.BATCHES)
    assert price[:2] == pytest.approx((share * 1e-6, share * 2e-6))


def test_a_model_without_a_flex_tier_is_refused_before_anything_is_paid():
    given = deployment(model="openai/gpt-4o-mini", service_tier="flex")
    with pytest.raises(ParamError, match="none for its tier flex") as caught:
        require_price(given, load_litellm(), "models.mine")
    assert "Remove service_tier" in str(caught.value)


def test_a_call_in_the_flex_tier_may_take_15_minutes_unless_the_route_says_otherwise():
    flex = {"model": "openai/x", "service_tier": "flex"}
    times = [
        Endpoint(deployment(**values), "models.mine", 60.0).timeout_s
        for values in (flex, flex | {"timeout_s": 5.0}, {"model": "openai/x"})
    ]
    assert times == [FLEX_TIMEOUT_S, 5.0, 60.0]


def test_the_tier_is_sent_and_does_not_change_the_key(provider, put, book):
    put(provider.deployment(service_tier="flex", **HALF), questions(2))
    assert {call.body["service_tier"] for call in provider.calls} == {"flex"}
    assert put.spent_usd == pytest.approx(provider.usd / 2)
    put(provider.deployment(), questions(2))
    assert len(provider.calls) == 2


def test_an_unavailable_tier_is_waited_for(provider, put, book):
    provider.script(UNAVAILABLE, UNAVAILABLE)
    put(provider.deployment(service_tier="flex", **HALF), questions(2))
    assert book() == ["rate_limit", "rate_limit", "answer", "answer"]
    assert put.spent_usd == pytest.approx(provider.usd / 2)


def test_a_fallback_route_to_the_same_model_takes_over_at_the_standard_price(
    provider, second, put, book
):
    provider.behave = UNAVAILABLE
    put(provider.deployment(service_tier="flex", **HALF), questions(2), second.deployment())
    assert book().count("answer") == 2
    assert "service_tier" not in second.calls[0].body
    assert put.spent_usd == pytest.approx(second.usd)


@pytest.mark.parametrize(
    ("asked", "served", "priced"),
    [
        ({}, "default", {}),
        ({}, "priority", {"service_tier": "priority"}),
        ({}, "platinum", {}),
        ({}, 7, {}),
        ({"service_tier": "flex"}, "flex", {"service_tier": "flex"}),
        ({"service_tier": "flex"}, "default", {}),
        ({"service_tier": "flex"}, "platinum", {}),
        ({"service_tier": "priority"}, "default", {}),
        ({"service_tier": "priority"}, "platinum", {"service_tier": "priority"}),
    ],
)
def test_a_reply_costs_what_its_tier_costs_or_the_most_if_that_is_unknown(asked, served, priced):
    given = deployment(model="openai/gpt-5-mini", **asked)
    tariff = Tariff(given, "models.mine")
    tariff.load(Tier.OWN)
    most = CallCost(1000, 100, tariff.most_usd(1000, 100, Tier.OWN), is_upper_bound=True)
    reply = Reply("[1]", 900, 90, "stop", "gpt-5-mini", service_tier=str(served))
    price = price_of(deployment(model="openai/gpt-5-mini", **priced), load_litellm())
    assert tariff.cost(reply, most, Tier.OWN).usd == pytest.approx(price.cost_usd(900, 90))
    unmetered = reply._replace(prompt_tokens=None)
    usd = tariff.cost(unmetered, most, Tier.OWN).usd
    assert usd == pytest.approx(max(most.usd, price.most_usd(1000, 100)))
    assert tariff.most_usd(1000, 100, Tier.OWN) == pytest.approx(usd)  # also of the next call


def test_the_tier_that_a_provider_reports_is_read(provider, put):
    provider.behave = says('{"picks": [1]}', service_tier="priority")
    model = {"model": "openai/gpt-5-mini", "max_answer_tokens": 64}
    route = {name: v for name, v in provider.deployment(**model).items() if "cost" not in name}
    put(route, questions(1))
    price = price_of(deployment(model="openai/gpt-5-mini", service_tier="priority"), load_litellm())
    assert put.spent_usd == pytest.approx(price.cost_usd(*provider.tokens))


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        (UNAVAILABLE, "llm_select.fallback_routes"),
        (fails(400, "Invalid service_tier argument: flex"), "Remove service_tier: flex"),
    ],
)
def test_a_refused_tier_ends_the_run_with_its_remedy(provider, put, refusal, remedy):
    provider.behave = refusal
    with pytest.raises(LLMError) as caught:
        put(provider.deployment(service_tier="flex", **HALF), questions(2))
    assert remedy in str(caught.value)
    assert put.spent_usd == 0
