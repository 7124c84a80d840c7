"""Money and keys: runs with faults and caps agree with the provider's book, and leak no key."""

import json
from pathlib import Path

import pytest

from tests.behaviours import FAULTS, fails, faulty, honest, says
from tests.exchange import Call, Response
from tests.fake_provider import FakeProvider
from tests.money_desk import MoneyDesk, assert_bill_agrees, assert_books_agree, price
from tests.workspaces import PATIENCE_S


@pytest.fixture
def desk(tmp_path, warm_client):
    return MoneyDesk(tmp_path / "desk", 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_run_survives_a_fault_and_the_books_agree(desk, name):
    with FakeProvider(faulty([name], rate=0.3, seed=3)) as provider:
        judged = desk.ask(provider)
        assert name in {entry.fault for entry in provider.book}
    chosen = [int(q.candidates[verdict.slots[0] - 1]) for q, verdict in judged]
    assert len(chosen) == len(set(chosen)) == desk.n_prompts
    assert_books_agree(desk.ledger(), provider)
    assert_bill_agrees(desk, provider)
    if FAULTS[name].is_reported:
        assert max(provider.n_answers.values()) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_run_survives_a_mixture_of_all_faults_and_the_books_agree(desk, seed):
    with FakeProvider(faulty(FAULTS, rate=0.3, seed=seed)) as provider:
        judged = desk.ask(provider)
    chosen = [int(q.candidates[verdict.slots[0] - 1]) for q, verdict in judged]
    assert len(chosen) == len(set(chosen)) == desk.n_prompts
    assert_books_agree(desk.ledger(), provider)
    assert_bill_agrees(desk, provider)
    assert max(provider.n_answers.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_providers_bill_stays_under_the_cap_and_a_higher_cap_completes_the_run(
    tmp_path, monkeypatch, caplog, concurrency
):
    desk = MoneyDesk(tmp_path / "desk", 80, caplog)
    monkeypatch.chdir(desk.root)
    names = ("500", "prose", "429 with Retry-After", "body cut short", "no usage", "too long")
    chooser = faulty(names, rate=0.2, seed=concurrency)
    with FakeProvider(chooser, latency_s=(0.0, 0.05)) as provider:
        for max_usd in (0.0, 0.02, 0.04, 1.0):
            done = desk.run(provider.deployment(), concurrency=concurrency, max_usd=max_usd)
            bill, is_whole = price(provider.billed_tokens), max_usd == 1.0
            assert bill <= max_usd
            assert done.exit_code == 0, done.said
            usage = desk.usage()
            assert usage["partial"] == (None if is_whole else "max_usd")
            assert len(desk.judged()) == usage["n_prompts"]
            if is_whole:
                assert usage["n_prompts"] == desk.n_prompts
            else:
                assert ("PARTIAL" in done.said) and usage["n_prompts"] < desk.n_prompts
                assert bill >= max_usd / 3  # it does spend what it may
    assert_books_agree(desk.ledger(), provider)


KEYS = {"MY_API_KEY": "sk-live-Zq7PbN3vXw9LmR2tYh5K", "LOGIN": "gH4kVd8sJ1cTfB6nWx0u"}


def repeats_the_key(call: Call) -> Response:
    """Respond in many ways, all of which repeat the key of the call."""
    key = call.headers["authorization"]
    slot = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])["picks"]
    behaviours = [
        fails(429, f"Rate limit reached for {key}", retry_after=0.01),
        fails(500, f"cannot serve {key}"),
        says(f"I will not choose for {key}."),
        says(json.dumps({"picks": slot, "key": key, "reasons": [f"because {key}"]})),
        says(json.dumps({"picks": slot}), finish_reason=key),
        says(json.dumps({"picks": slot}), model=key),
        fails(400, f"content policy: {key}", code="content_policy_violation"),
    ]
    return behaviours[call.n % len(behaviours)](call)


def refuses_the_key(call: Call) -> Response:
    return fails(401, f"Incorrect API key: {call.headers['authorization']}")(call)


@pytest.mark.slow
def test_no_file_or_output_of_a_run_contains_a_key(tmp_path):
    desk = MoneyDesk(tmp_path / "desk", 20)
    events = desk.root / "events.jsonl"
    output = []
    with FakeProvider() as provider:
        both = [provider.deployment(api_key=f"os.environ/{name}") for name in KEYS]
        for ends_with in (0, 2):
            provider.behave = refuses_the_key if ends_with else repeats_the_key
            desk.set(both, concurrency=4, rationale=not ends_with)
            step = desk.start(**KEYS, SELECTLLM_EVENTS=str(events))
            output += step.communicate(timeout=PATIENCE_S)
            assert step.returncode == ends_with, output
    heard = {call.headers["authorization"] for call in provider.calls}
    assert heard == {f"Bearer {key}" for key in KEYS.values()}
    assert events.exists()
    left = {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()}
    left[Path("said")] = "".join(output).encode()
    pieces = [key[i : i + 8].encode() for key in KEYS.values() for i in range(len(key) - 7)]
    assert [
        str(p) for p, content in left.items() if any(piece in content for piece in pieces)
    ] == []
