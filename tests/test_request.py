"""The key of a request: everything that is sent, and nothing else."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.gateway.deployment_settings import Schema
from tasks.lib.gateway.request import NOT_IN_KEY, REASK_WORDS, Request, response_format

REQUEST = Request(
    alias="mine",
    model="openai/x",
    messages=[{"role": "user", "content": "Which, 甲 or 乙?"}],
    temperature=0.0,
    seed=0,
    max_tokens=256,
    response_format=response_format({"type": "object"}),
    schema_use=Schema.AUTO,
    read=lambda text: [],
    reask_words=REASK_WORDS,
    former_facts=dict,
)
OTHER = {
    "model": "openai/y",
    "messages": [*REQUEST.messages, {"role": "user", "content": ""}],
    "temperature": 0.5,
    "seed": 1,
    "max_tokens": 64,
    "response_format": None,
    "schema_use": Schema.ALWAYS,
    "options": {"top_p": 0.5},
    "repeat": 2,
    "alias": "yours",
    "read": lambda text: [1],
    "reask_words": "$problem",
    "former_facts": lambda: {"vote": 1},
}


@pytest.mark.parametrize("name", [field.name for field in fields(Request)])
def test_each_field_is_part_of_the_key_unless_it_is_excluded_by_name(name):
    changed = replace(REQUEST, **{name: OTHER[name]})
    assert (changed.key == REQUEST.key) == (name in NOT_IN_KEY)


def test_keys_never_change_so_that_stored_answers_are_found():
    assert REQUEST.key == "d93168e7bf71719694b640fcf9152c762bda0d7d3a26f1b5b1da70e5d0f6a8b1"


@given(reply=st.text(max_size=40), problem=st.text(min_size=1, max_size=40))
def test_a_reask_quotes_the_reply_and_names_the_problem(reply, problem):
    *question, quoted, asked = REQUEST.reask(reply, problem)
    assert question == REQUEST.messages
    assert (quoted["role"], asked["role"]) == ("assistant", "user")
    assert quoted["content"] == (reply.strip() or "(nothing)")
    assert problem in asked["content"]
