"""The llm_select section of params.yaml: values that are refused before a run."""

import subprocess
import sys

import pytest

from tasks.lib.core.errors import ParamError
from tasks.lib.core.params import read_params
from tasks.lib.gateway.routes import load_route
from tasks.llm_select.params import check_answer_room, read_settings
from tasks.llm_select.step import check
from tests.conftest import PROJECT


@pytest.fixture
def values(monkeypatch):
    monkeypatch.chdir(PROJECT)
    return read_params(PROJECT / "params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("budget", 0, "llm_select.budget: expected a positive integer .*, not 0"),
        ("budget", -5, "llm_select.budget: .*, not -5"),
        ("budget", "abc", "llm_select.budget: .*, not 'abc'"),
        ("budget", 1.5, "llm_select.budget: .*, not 1.5"),
        ("budget", [], "llm_select.budget: .*a list of them"),
        ("budget", [5, 0], "llm_select.budget: .*a list of them"),
        ("take", "best", "llm_select.take: "),
        ("shortlist", 0, "llm_select.shortlist: "),
        ("budget", True, "llm_select.budget: .*, not True"),
        ("budegt", 5, r"llm_select.budegt is unknown; did you mean budget\?"),
        ("route", "ofline", r"there is no route ofline; did you mean offline\?"),
        ("fallback_routes", ["ofline"], r"fallback_routes: there is no route ofline; did you mean"),
        ("fallback_routes", "chatgpt", "llm_select.fallback_routes: .*valid list"),
        ("fallback_routes", ["chatgpt"], "chatgpt cannot be a fallback for offline"),
        ("prompt", "tasks/llm/selct.txt", "selct.txt: llm_select.prompt names a file"),
        ("rationale", "yes", "llm_select.rationale: "),
        ("votes", 0, "llm_select.votes: "),
        ("votes", 16, "llm_select.votes: "),
        ("attention_checks", -1, "llm_select.attention_checks: "),
        ("max_usd", -0.01, "llm_select.max_usd: "),
        ("max_usd", float("inf"), "llm_select.max_usd: "),
        ("concurrency", 0, "llm_select.concurrency: "),
        ("max_attempts", 0, "llm_select.max_attempts: "),
        ("timeout_s", 0, "llm_select.timeout_s: "),
        ("max_candidate_chars", 20, "llm_select.max_candidate_chars: "),
        ("max_answer_tokens", 5, "llm_select.max_answer_tokens: "),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_run(values, key, value, says):
    values["llm_select"][key] = value
    with pytest.raises(ParamError, match=says):
        check(values)


@pytest.mark.slow
def test_checking_loads_no_llm_library():
    code = (
        "import sys; from tasks.lib.core.params import read_params;"
        "from tasks.llm_select.params import check;"
        "from pathlib import Path; check(read_params(Path('params.yaml')));"
        "print([name for name in ('litellm', 'openai', 'httpx', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "n_slots", "n_ranked", "needed"),
    [
        ({"rationale": True}, 14, 7, 16 + 44 * 7),
        ({"rationale": True, "votes": 3}, 14, 1, None),
        ({}, 200, 100, 16 + 4 * 100),
        ({}, 14, 14, None),
        ({"take": "middle"}, 200, 3, 16 + 4 * 200),
    ],
)
def test_answers_that_would_be_cut_off_are_not_paid_for(changes, n_slots, n_ranked, needed):
    values = read_params(PROJECT / "params.yaml")
    params = check({**values, "llm_select": {**values["llm_select"], **changes}})
    judge_settings = read_settings(params, 0, PROJECT)
    if needed is None:
        check_answer_room(judge_settings, [], n_slots, n_ranked)
    else:
        with pytest.raises(ParamError, match=f"Set it to {needed} or more"):
            check_answer_room(judge_settings, [], n_slots, n_ranked)


def test_the_room_for_an_answer_that_a_route_sets_is_checked_too():
    given = {"model": "openai/x", "schema": "never", "max_answer_tokens": 64}
    mine = load_route({"models": {"mine": given}}, "mine")
    settings = read_settings(check(read_params(PROJECT / "params.yaml")), 0, PROJECT)
    with pytest.raises(ParamError, match=r"models\.mine\.max_answer_tokens is 64"):
        check_answer_room(settings, [mine], 14, 14)
