"""The number of random records that would do as well, on cases with known answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.baseline.by_coverage import facility_location
from tasks.lib.documents.savings import Equivalent, Savings
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.selections import MethodSelection
from tasks.measure.evaluation_data import Reference
from tasks.measure.random_curve import (
    RandomCurve,
    curve_sizes,
    draw_curve,
    equivalent,
    steps,
    stop,
)
from tasks.measure.savings import annotations_saved, draw_curves, equivalents, savings
from tasks.measure.space import Space
from tasks.measure.step import measure
from tests.pools import unit_vectors

N = 400


@pytest.fixture(scope="module")
def space():
    return Space.of(unit_vectors(N, d=6), np.ones(N, bool), np.arange(N))


def score(space):
    return lambda rows, sizes: -space.gaps(rows, sizes)


@pytest.mark.slow
def test_the_interval_of_a_random_selection_contains_its_size_at_its_rate(space):
    n, n_curves, n_trials = 40, 15, 40
    rng, held = np.random.default_rng(0), 0
    for seed in range(n_curves):
        curve = draw_curve(score(space), N, curve_sizes(n, N), seed)
        for _ in range(n_trials):
            found = equivalent(curve, score(space)(rng.permutation(N)[:n], [n])[0], N)
            held += found.low <= n <= found.high
    # trials that share a curve are correlated, so the band is that of fewer trials
    assert 0.91 <= held / (n_curves * n_trials) <= 0.99


def test_the_interval_of_a_random_selection_contains_its_size_with_few_questions():
    n, n_curves, n_trials, asked = 40, 10, 20, 60
    space = Space.of(unit_vectors(N, d=6), np.ones(N, bool), np.arange(N)[:asked])
    rng, held = np.random.default_rng(0), 0
    for seed in range(n_curves):
        curve = draw_curve(score(space), N, curve_sizes(n, N), seed)
        for _ in range(n_trials):
            found = equivalent(curve, score(space)(rng.permutation(N)[:n], [n])[0], N)
            held += found.low <= n <= found.high
    assert held / (n_curves * n_trials) >= 0.92


def test_a_random_selection_of_twice_the_size_is_worth_twice_as_much(space):
    curve = draw_curve(score(space), N, curve_sizes(40, N), seed=1)
    many = [np.random.default_rng(i).permutation(N)[:80] for i in range(200)]
    scores = np.mean([score(space)(rows, [80])[0] for rows in many], axis=0)
    found = equivalent(curve, scores, N)
    assert found.n_random == pytest.approx(80, abs=3)
    assert found.low < 80 < found.high


def test_a_greedy_selection_saves_and_a_clustered_one_costs(space):
    curve = draw_curve(score(space), N, curve_sizes(40, N), seed=1)
    greedy = facility_location(space.vectors, 40, seed=0)
    assert equivalent(curve, score(space)(greedy, [40])[0], N).low > 40
    close = np.argsort(-space.vectors @ space.vectors[0])[:40]
    assert equivalent(curve, score(space)(close, [40])[0], N).high < 40


def test_nothing_is_extrapolated(space):
    sizes = curve_sizes(40, N)
    assert (sizes[0], sizes[-1]) == (4, 160)  # small steps of the stop rule, and four times ours
    curve = draw_curve(score(space), N, sizes, seed=1)
    everything = score(space)(np.arange(N), [N])[0]
    assert equivalent(curve, everything, N) == Equivalent(n_random=160, low=160, high=160)
    hardly_anything = score(space)(np.array([0]), [1])[0]
    assert equivalent(curve, hardly_anything, N).n_random == 4


@given(st.integers(1, 500), st.integers(0, 3000))
def test_the_sizes_of_random_selections_include_ours_and_never_exceed_the_pool(n, more):
    sizes = curve_sizes(n, n + more)
    assert sizes == sorted(set(sizes))
    assert {max(2, n) if more else n, *(max(2, s) for s in steps(n) if s > 1)} <= {*sizes, n}
    assert sizes[-1] == min(n + more, max(2, 4 * n))


def test_the_uncertainty_over_records_counts_where_it_is_larger():
    sizes, rng = [10, 20, 40, 80], np.random.default_rng(0)
    values = np.log(sizes) + rng.normal(0, 1e-6, (20, 4))  # random selections hardly differ
    by_record = np.repeat(values.mean(axis=0)[:, None], 100, axis=1)
    curve = RandomCurve(sizes, values, by_record)
    alike = equivalent(curve, np.full(100, np.log(40.0)), 1000)
    assert 39 <= alike.low <= alike.high <= 41
    scores = np.log(40.0) + np.tile([-1.0, 1.0], 50)
    differing = equivalent(curve, scores, 1000)
    half = 1.96 * np.sqrt((1 - 100 / 1000) / 100)
    assert differing.low == pytest.approx(40 * np.exp(-half), abs=1.5)
    assert differing.high == pytest.approx(40 * np.exp(half), abs=1.5)
    assert equivalent(curve, scores, 100) == alike  # every record was asked


def test_an_interval_contains_the_equivalent_even_if_tiny_selections_vary_widely():
    sizes, rng = [5, 10, 20, 40, 80], np.random.default_rng(0)
    spread = np.array([5.0, 0.1, 0.1, 0.1, 0.1])
    values = np.log(sizes) + rng.normal(0, 1, (20, 5)) * spread
    curve = RandomCurve(sizes, values, np.repeat(values.mean(axis=0)[:, None], 50, axis=1))
    found = equivalent(curve, np.full(50, np.log(40.0)), 50)
    assert 25 < found.low < found.n_random < found.high < 60  # one of 5 may be as good by luck


def test_choosing_stops_paying_off_where_the_lead_over_random_records_is_greatest():
    sizes = [10, 20, 30, 40]
    curve = RandomCurve(sizes, np.tile([0.1, 0.2, 0.3, 0.4], (20, 1)), np.zeros((4, 1)))
    assert stop(curve, sizes, np.array([0.2, 0.5, 0.55, 0.6])).at == 20
    assert stop(curve, sizes, np.array([0.2, 0.4, 0.6, 0.8])).at is None
    assert stop(curve, sizes, np.array([0.2, 0.4, 0.6, 0.8])).step == 10


def made(coverage, student, n=60, saved=0, percent=0.0):
    return Savings(
        n_selected=n, min_size=8, max_size=240, saved=saved, saved_percent=percent, stop={},
        coverage={k: Equivalent(n_random=v[0], low=v[1], high=v[2]) for k, v in coverage.items()},
        student=student and Equivalent(n_random=student[0], low=student[1], high=student[2]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            made({"outputs": (90, 70, 99), "words": (81, 74, 90)}, (120, 98, 160), saved=21,
                 percent=25.9),
            "60 selected cover the pool as well as 81 random ones (95 %: 74 to 90) and teach the "
            "student as much as 120 random ones (95 %: 98 to 160): 21 annotations saved, 26 %",
        ),
        (
            made({"words": (55, 50, 61)}, None),
            "60 selected cover the pool as well as 55 random ones (95 %: 50 to 61): "
            "no annotation saved",
        ),
        (
            made({"words": (70, 55, 90)}, (75, 62, 92)),
            "60 selected cover the pool as well as 70 random ones (95 %: 55 to 90) and teach the "
            "student as much as 75 random ones (95 %: 62 to 92): no saving is certain",
        ),
        (
            made({"words": (240, 200, 240)}, None, saved=180, percent=75.0),
            "60 selected cover the pool as well as more than 240 random ones "
            "(95 %: 200 to more than 240): more than 180 annotations saved, 75 %",
        ),
        (
            made({"words": (8, 8, 9)}, None),
            "60 selected cover the pool as well as fewer than 8 random ones "
            "(95 %: fewer than 8 to 9): no annotation saved",
        ),
        (made({}, None, n=0), "Nothing has been selected yet, so no saving can be measured."),
    ],
)  # fmt: skip
def test_one_sentence_says_what_is_saved_or_that_nothing_is(document, sentence):
    assert document.sentence == sentence


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(400)]
    ids = [f"{i:016x}" for i in range(200)]
    corpus = Corpus(ids, texts[:200], texts[200:], ["{}"] * 200, unit_vectors(200, d=6))
    return Reference.of(corpus, 8, [], 50, seed=0)


def saved_by(reference, rows):
    """Return the savings of a selection."""
    runs = [run[-1] for run in measure(reference, [MethodSelection("ours", 0, rows)])]
    return savings(reference, draw_curves(reference, len(rows), seed=0), runs)


def test_savings_are_those_of_the_smallest_equivalent_if_it_is_certain():
    words, student = (
        Equivalent(n_random=n, low=low, high=high)
        for n, low, high in ((81, 74, 90), (120, 98, 160))
    )
    least_sure, unsure = (Equivalent(n_random=n, low=60, high=99) for n in (80, 90))
    assert annotations_saved([student, words], 60) == 21
    assert annotations_saved([student, words, unsure], 60) == 21
    assert annotations_saved([student, words, least_sure], 60) == 0
    assert annotations_saved([], 60) == 0


def test_a_greedy_selection_has_savings_in_every_space_of_the_pool(reference):
    rows = facility_location(reference.spaces["words"].vectors, 20, seed=0)
    document = saved_by(reference, rows)
    assert list(document.coverage) == list(document.stop) == ["outputs", "words"]
    assert document.coverage["words"].n_random > 20
    assert document.student
    assert document.max_size == 80


def test_random_selections_are_worth_their_own_size_on_average(reference):
    selections = [
        MethodSelection("random", i, np.random.default_rng((7, i)).permutation(200)[:40])
        for i in range(20)
    ]
    runs = [run[-1] for run in measure(reference, selections)]
    found = equivalents(reference, draw_curves(reference, 40, seed=0), runs)
    assert len(found) == 3
    for name, one in found.items():
        assert one.low <= 40 <= one.high
        # made-up outputs teach nothing, so the student's curve is flat
        assert name.endswith("rouge_l") or one.n_random == pytest.approx(40, abs=5)


def test_an_empty_selection_has_no_savings(reference):
    document = savings(reference, draw_curves(reference, 20, seed=0), [])
    assert (document.coverage, document.student, document.saved) == ({}, None, 0)


def test_savings_are_read_as_they_were_written(reference, tmp_path):
    document = saved_by(reference, np.arange(0, 200, 10))
    document.write(tmp_path / "savings.json")
    assert Savings.read(tmp_path / "savings.json") == document
