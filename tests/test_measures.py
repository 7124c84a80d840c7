"""The metrics of a selection, on cases with known figures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.baseline.by_text import random_rows
from tasks.baseline.methods import METHODS
from tasks.lib.documents.metrics import OURS, SPACES
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.words import distinct_2
from tasks.measure import evaluation_data
from tasks.measure.knn_probe import KnnProbe
from tasks.measure.selection_spaces import chosen_in
from tasks.measure.space import Space
from tasks.measure.text_metrics import codes_of, length_bands, script, text_metrics
from tasks.measure.vector_metrics import vendi
from tests.pools import on_circle, unit_vectors


def spread(vectors, rows):
    """Return the figures of a selection in a space made of its own vectors."""
    space = Space.of(vectors, np.ones(len(vectors), bool), np.arange(len(vectors)))
    return space.figures(np.asarray(rows), [len(rows)])[0]


def test_coverage_and_facility_location_have_their_known_values():
    vectors = on_circle(0, 60, 90, 180)
    figures = spread(vectors, [0])
    gaps = [0, 1, np.sqrt(2), 2]  # chords of 0, 60, 90 and 180 degrees
    assert figures["coverage_mean"].value == pytest.approx(np.mean(gaps), abs=1e-3)
    assert figures["coverage_p95"].value == pytest.approx(2)
    assert figures["coverage_max"].value == pytest.approx(2)
    assert figures["facility_location"].value == pytest.approx((1 + 0.5 + 0 + 0) / 4, abs=1e-6)
    assert "redundancy" not in figures  # one record has no other


def test_redundancy_is_the_mean_cosine_to_the_nearest_other():
    figures = spread(on_circle(0, 60, 180), [0, 1, 2])
    assert figures["redundancy"].value == pytest.approx((0.5 + 0.5 - 0.5) / 3, abs=1e-6)


def test_the_whole_pool_covers_itself():
    figures = spread(unit_vectors(30), range(30))
    assert figures["coverage_max"].value == pytest.approx(0, abs=1e-3)
    assert figures["facility_location"].value == pytest.approx(1)


def test_prefixes_have_the_figures_of_a_selection_of_their_size():
    vectors, rows = unit_vectors(50), np.random.default_rng(0).permutation(50)[:20]
    space = Space.of(vectors, np.ones(50, bool), np.arange(50))
    for n, figures in zip((1, 7, 20), space.figures(rows, [1, 7, 20]), strict=True):
        alone = spread(vectors, rows[:n])
        assert figures.keys() == alone.keys()
        assert [f.value for f in figures.values()] == pytest.approx(
            [f.value for f in alone.values()]
        )


def test_a_record_without_a_text_is_not_covered_and_covers_nothing():
    vectors = on_circle(0, 60, 90, 180)
    vectors[3] = 0
    space = Space.of(vectors, np.array([True, True, True, False]), np.arange(4))
    nothing, one, same = space.figures(np.array([3, 0]), [1, 2, 2])
    assert nothing == {}
    assert one["coverage_mean"].value == pytest.approx((0 + 1 + np.sqrt(2)) / 3, abs=1e-3)
    assert same["vendi"].value == pytest.approx(1)
    gaps = space.gaps(np.array([3, 0]), [1, 2])
    assert gaps[0] == pytest.approx([np.sqrt(2)] * 3)
    assert gaps[1] == pytest.approx([0, 1, np.sqrt(2)], abs=1e-3)


def test_vendi_counts_entirely_different_vectors():
    assert vendi(np.eye(5, dtype=np.float32)) == pytest.approx(5)
    assert vendi(on_circle(20, 20, 20)) == pytest.approx(1)
    assert vendi(np.repeat(np.eye(4, dtype=np.float32), [5, 5, 5, 5], axis=0)) == pytest.approx(4)
    half = vendi(on_circle(0, 60))  # eigenvalues 3/4 and 1/4
    assert half == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))


@given(st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=30)
def test_vendi_is_the_same_for_the_square_matrix_of_cosines(n, seed):
    vectors = unit_vectors(n, seed).astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(vectors @ vectors.T / n)
    positive = eigenvalues[eigenvalues > 1e-12]
    assert vendi(vectors) == pytest.approx(np.exp(-(positive * np.log(positive)).sum()), rel=1e-4)


def test_distinct_2_counts_pairs_of_neighbouring_words():
    assert distinct_2(["a b c", "A b d"]) == pytest.approx(3 / 4)
    assert distinct_2(["one", ""]) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wie geht's? да", "LATIN"),
        ("カタカナと漢字 abc", "CJK"),
        ("это", "CYRILLIC"),
        ("12 + 3", ""),
    ],
)
def test_the_script_is_that_of_most_letters(text, expected):
    assert script(text) == expected


def test_lengths_are_divided_into_tenths_of_the_pool():
    bands = length_bands(["x" * n for n in range(1, 101)])
    assert np.bincount(bands).tolist() == [10] * 10
    assert len(set(length_bands(["same"] * 7).tolist())) == 1


def test_a_shift_is_zero_for_the_pool_itself_and_large_for_a_single_kind():
    labels = {"topic": codes_of(["a", "a", "b", None])}
    texts = ["one two"] * 4
    whole, part = (
        text_metrics(texts, labels, rows)["topic_shift"].value for rows in (range(4), [3])
    )
    assert whole == 0
    # ours (0, 0, 1) and the pool's (1/2, 1/4, 1/4), by hand
    assert part == pytest.approx(0.5487949, abs=1e-6)


OUTPUTS = [f"output number {i} {'x' * i}" for i in range(40)]


def answers(probe, vectors, rows):
    """Return the figures of the probe for the whole selection, without prefixes."""
    return probe.figures(vectors, rows, [len(rows)])[0]


def test_the_probe_answers_with_the_output_of_the_nearest_selected_record():
    vectors = on_circle(*np.arange(40))
    outputs = ["yes it is"] * 20 + ["no never"] * 20
    probe = KnnProbe(outputs, 40, seed=0)
    rouge = answers(probe, vectors, np.array([9, 10, 11, 28, 29, 30]))["knn_probe_rouge_l"]
    assert rouge.value == 1
    wrong = answers(probe, vectors, np.array([0, 1, 2]))["knn_probe_rouge_l"]
    assert wrong.value == 0.5


def test_the_probe_never_copies_the_answer_itself():
    vectors = on_circle(*np.arange(40))
    outputs = [f"answer{i}" for i in range(40)]
    figures = answers(KnnProbe(outputs, 40, seed=0), vectors, np.arange(40))
    assert figures["knn_probe_rouge_l"].values.tolist() == [0] * 40
    assert figures["knn_probe_cosine"].values.tolist() == [0] * 40


def test_the_questions_are_the_same_for_every_selection_and_have_answers():
    outputs = [output if i % 2 else None for i, output in enumerate(OUTPUTS * 2)]
    probe = KnnProbe(outputs, 15, seed=0)
    assert len(probe.test) == 15
    assert all(probe.test % 2)
    assert probe.test.tolist() == KnnProbe(outputs, 15, seed=0).test.tolist()
    assert probe.test.tolist() != KnnProbe(outputs, 15, seed=1).test.tolist()
    assert (
        answers(probe, unit_vectors(80), np.array([0, 2, 4, 5])) == {}
    )  # one output to learn from


def test_there_is_no_probe_if_there_are_too_few_outputs():
    probe = KnnProbe([None] * 30 + ["text"] * 19, 10, seed=0)
    assert answers(probe, unit_vectors(49), np.arange(49)) == {}


def test_the_probe_answers_for_a_prefix_as_for_a_selection_of_that_size():
    vectors, rows = unit_vectors(40), np.random.default_rng(1).permutation(40)[:25]
    probe = KnnProbe(OUTPUTS, 30, seed=0)
    sizes = [1, 2, 9, 9, 25]
    by_prefix = probe.figures(vectors, rows, sizes)
    assert by_prefix[0] == {}
    for n, figures in zip(sizes[1:], by_prefix[1:], strict=True):
        alone = answers(KnnProbe(OUTPUTS, 30, seed=0), vectors, rows[:n])
        assert [f.value for f in figures.values()] == [f.value for f in alone.values()]
    scores = probe.rouge_l(vectors, rows, sizes)
    assert scores.shape == (5, 30)
    assert not scores[0].any()
    assert scores[4].tolist() == by_prefix[4]["knn_probe_rouge_l"].values.tolist()


def test_the_samples_for_measuring_differ_from_random_selections(monkeypatch):
    n, n_drawn = 5000, 1000
    monkeypatch.setattr(evaluation_data, "MAX_POOL", n_drawn)
    rows = np.arange(n, dtype=np.float32)[:, None]
    texts = [f"{['one', 'two', 'three'][i % 3]} {i % 7} {i % 5}" for i in range(n)]
    corpus = Corpus([str(i) for i in range(n)], texts, ["an answer"] * n, ["{}"] * n, rows)
    made = evaluation_data.Reference.of(corpus, 2, [], n_drawn, seed=0)
    for drawn in (made.spaces["vectors"].covered.ravel(), made.probe.test):
        assert len(drawn) == n_drawn
        share = np.isin(drawn, random_rows(n, n_drawn, 0)).mean()
        assert share == pytest.approx(n_drawn / n, abs=0.05)


def test_every_method_has_the_spaces_in_which_it_chooses():
    for name, method in METHODS.items():
        named = f"{name.removesuffix('_in_prompts')}_within" if method.in_prompts else name
        assert chosen_in(named, is_typical_judge=False) is not None, name
        assert set(chosen_in(named, is_typical_judge=True)) <= set(SPACES)
    assert chosen_in("some_other_way", is_typical_judge=True) is None


def test_methods_with_a_judge_that_compares_words_choose_in_the_space_of_words():
    for name in (OURS, "qdit", "deita"):
        assert chosen_in(name, is_typical_judge=False) == ("vectors",)
        assert chosen_in(name, is_typical_judge=True) == ("words", "vectors")
    assert chosen_in("random", is_typical_judge=True) == ()
