"""Near-duplicates in a selection: equal in meaning, different only in spelling."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.text.meaning import Meaning
from tasks.lib.text.shingles import field_texts, jaccard, shingles
from tasks.lib.text.typography import comparable
from tasks.validate.near_exact import find_near_duplicates

WORDS = st.lists(st.sampled_from(["alpha", "the", "gamma", "gammma", "Alpha", "12"]), max_size=12)


@given(
    records=st.lists(st.tuples(WORDS.filter(bool).map(" ".join), WORDS.map(" ".join)), max_size=8),
    threshold=st.sampled_from([0.2, 0.5, 0.7, 0.8, 1.0]),
)
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(
    records: list[tuple[str, str]], threshold: float
):
    sets = [
        [np.unique(shingles([text]).hashes) for text in field_texts([record])] for record in records
    ]
    meanings = [Meaning(*record) for record in records]
    expected: list[float | None] = [None] * len(records)
    for j, i in combinations(range(len(records)), 2):
        similarity = min(map(jaccard, sets[i], sets[j]))
        if similarity >= threshold and meanings[i].agrees_with(meanings[j]):
            expected[i] = max(similarity, expected[i] or 0.0)
    found = find_near_duplicates(records, threshold)
    assert [near and near.similarity for near in found] == expected


@pytest.mark.parametrize(
    ("a", "b", "are_near"),
    [
        (
            "Name three famous men who were born in London before the war",
            "Name three famous women who were born in London before the war",
            False,
        ),
        (
            "Name a very famous old bridge in London",
            "Name a very famous old bridge in London.",
            True,
        ),
        (
            "Name a very famous old bridge in London",
            "Name not a very famous old bridge in London",
            False,
        ),
        (
            "What is the square root of 1764 to 2 places?",
            "What is the square root of 1765 to 2 places?",
            False,
        ),
    ],
)
def test_near_duplicates_differ_in_spelling_but_not_in_meaning(a: str, b: str, are_near: bool):
    found = find_near_duplicates([comparable(a, ""), comparable(b, "")], 0.8)
    assert (found[1] is not None) is are_near
