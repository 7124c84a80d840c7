"""Words, ROUGE-L and nearest neighbours."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.similarity import cosine, lsa
from tasks.lib.similarity.cosine import nearest, unit
from tasks.lib.similarity.lsa import lexical_space
from tasks.lib.similarity.novelty import densities, novel_sum
from tasks.lib.similarity.words import rouge_l, rouge_l_table, words
from tests.pools import on_circle, unit_vectors

word_lists = st.lists(st.sampled_from("abcd"), max_size=8)


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, it's 4.5!", ["don", "t", "stop", "it", "s", "4", "5"]),
        ("Größe Straße", ["grösse", "strasse"]),
        ("東京 Tower", ["東", "京", "tower"]),
        ("это дом", ["это", "дом"]),
        ("snake_case", ["snake", "case"]),
        ("?!", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_in_any_script(text, expected):
    assert words(text) == expected


def test_rouge_l_has_its_known_values():
    pairs = [
        ("the cat sat on the mat", "the cat lay on a mat", 2 * 4 / 12),
        ("a b c", "a b c", 1.0),
        ("a b c", "d e", 0.0),
        ("a b", "b a", 0.5),
        ("", "a", 0.0),
        ("", "", 0.0),
    ]
    a, b, expected = zip(*pairs, strict=True)
    similarities = rouge_l([words(x) for x in a], [words(x) for x in b])
    assert similarities == pytest.approx(list(expected))


@given(st.lists(word_lists, min_size=1, max_size=4), st.lists(word_lists, min_size=1, max_size=4))
def test_rouge_l_matches_the_textbook_definition(a, b):
    def common(x, y):
        table = np.zeros((len(x) + 1, len(y) + 1), int)
        for i, j in product(range(len(x)), range(len(y))):
            same = x[i] == y[j]
            table[i + 1, j + 1] = table[i, j] + 1 if same else max(table[i, j + 1], table[i + 1, j])
        return table[-1, -1]

    expected = [[2 * common(x, y) / max(1, len(x) + len(y)) for y in b] for x in a]
    assert rouge_l_table(a, b) == pytest.approx(np.array(expected))
    assert rouge_l([a[0]], [b[0]])[0] == pytest.approx(expected[0][0])


# Spaces


def test_the_nearest_does_not_depend_on_the_number_of_blocks(monkeypatch):
    vectors, others = unit_vectors(50), unit_vectors(9, seed=1)
    whole = nearest(vectors, others)
    monkeypatch.setattr(cosine, "BLOCK_CELLS", 20)
    assert nearest(vectors, others).places.tolist() == whole.places.tolist()
    assert whole.places.tolist() == (vectors @ others.T).argmax(axis=1).tolist()
    assert whole.cosines == pytest.approx((vectors @ others.T).max(axis=1))


def test_an_excluded_row_is_not_the_nearest():
    vectors = on_circle(0, 10, 90)
    neighbours = nearest(vectors, vectors, np.array([0, -1, 2]))
    assert neighbours.places.tolist() == [1, 1, 1]


def test_a_vector_of_length_zero_stays_zero():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


@pytest.mark.parametrize("texts", [["one"], ["?", "!"], ["a b", "a b"], ["x", "y z", "", "z"]])
def test_the_word_space_works_for_few_texts_or_texts_without_words(texts):
    space = lexical_space(texts, 4, seed=0)
    assert len(space) == len(texts)
    assert np.isfinite(space).all()


def test_texts_that_share_words_are_near_in_the_word_space():
    texts = ["bake a cake", "bake a pie", "solve an equation", "solve the equation"] * 3
    space = lexical_space(texts, 3, seed=0)
    assert np.linalg.norm(space, axis=1) == pytest.approx(np.ones(12), abs=1e-5)
    assert space[0] @ space[1] > space[0] @ space[2]
    assert space[2] @ space[3] > space[2] @ space[1]
    assert np.array_equal(space, lexical_space(texts, 3, seed=0))


def test_the_space_of_a_large_pool_is_fitted_on_a_sample_and_contains_all_texts(monkeypatch):
    monkeypatch.setattr(lsa, "MAX_FITTED", 60)
    monkeypatch.setattr(lsa, "BLOCK_TEXTS", 7)
    texts = ["bake a cake", "bake a pie", "solve an equation", "solve the equation"] * 20
    space = lexical_space(texts, 3, seed=0)
    assert np.linalg.norm(space, axis=1) == pytest.approx(np.ones(80), abs=1e-5)
    assert np.array_equal(space[:4], space[-4:])
    assert space[0] @ space[1] > space[0] @ space[2]
    assert space[2] @ space[3] > space[2] @ space[1]


# Novelty


def test_novel_sum_matches_its_definition():
    pool = unit_vectors(40, d=5)
    factors = densities(pool, pool)
    for j in (0, 17):
        gaps = sorted(float(((pool[j] - pool[k]) ** 2).sum()) for k in range(40) if k != j)[:10]
        assert factors[j] == pytest.approx(np.mean(gaps) ** -0.5, rel=1e-4)
    chosen, s = pool[:7], factors[:7]
    total = 0.0
    for i in range(7):
        ranked = sorted(1 - float(chosen[i] @ chosen[j]) for j in range(7) if j != i)
        total += s[i] * sum(distance / rank for rank, distance in enumerate(ranked, 1))
    harmonic = sum(1 / rank for rank in range(1, 7))
    assert novel_sum(chosen, s) == pytest.approx(total / 7 / harmonic, rel=1e-4)


def test_novel_sum_prefers_different_records_and_dense_parts_of_the_pool():
    alike, apart = on_circle(0, 1, 2), on_circle(0, 120, 240)
    even = np.ones(3, np.float32)
    assert novel_sum(alike, even) < novel_sum(apart, even)
    dense = densities(on_circle(0, 90), on_circle(*np.arange(20)), np.array([-1, -1]))
    assert dense[0] > dense[1]
    assert densities(on_circle(0), on_circle(0)).tolist() == [1]
