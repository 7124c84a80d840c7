"""Keys of answers: the JSON that they are hashes of keeps its bytes, whatever it contains."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.journal.canonical import ALIKE_FROM, ALIKE_TO, canonical_json

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(PLAIN, lambda v: st.lists(v) | st.dictionaries(st.text(), v))


def by_json(value):
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


@given(VALUES)
def test_canonical_json_has_the_bytes_of_json_dumps(value):
    assert canonical_json(value) == by_json(value)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bound", [ALIKE_FROM, ALIKE_TO, 1e-4, 1e-5, 1e15, 1e16, 1e17, 2.0**64])
def test_numbers_on_both_sides_of_a_bound_have_the_bytes_of_json_dumps(bound, sign):
    near = [bound, math.nextafter(bound, 0), math.nextafter(bound, math.inf), int(bound) + 1]
    values = [sign * value for value in near]
    assert canonical_json(values) == by_json(values)


def test_every_character_has_the_bytes_of_json_dumps():
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert canonical_json(text) == by_json(text)
