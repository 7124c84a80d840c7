"""Curves: the figures of the prefixes of selections."""

import numpy as np
import pytest

from tasks.measure.curves import curves, sizes
from tasks.measure.intervals import Whole
from tasks.measure.summary import Measured


def measured(method, seed, n, **figures):
    space = {name: Whole(value) for name, value in figures.items()}
    return Measured(method, seed, np.arange(n), {"words": space})


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [((60,), [15, 30, 60]), ((1,), [1]), ((3,), [1, 2, 3]), ((5, 9), [5, 9])],
)
def test_one_budget_is_measured_in_parts_and_several_as_they_are(budgets, expected):
    assert sizes(budgets) == expected


def test_a_method_with_several_seeds_has_their_mean_and_middle():
    runs = [measured("random", seed, 5, vendi=float(seed)) for seed in range(21)]
    document = curves({5: [measured("ours", 0, 5, vendi=2.5), *runs]})
    assert document["sizes"] == [5]
    assert document["methods"]["ours"] == {"words.vendi": [[2.5, None, None]]}
    assert document["methods"]["random"] == {"words.vendi": [[10.0, 0.5, 19.5]]}


def test_a_missing_figure_is_none_and_one_without_a_better_direction_is_left_out():
    small = [measured("ours", 0, 1, vendi=1.0, length_shift=0.5)]
    large = [measured("ours", 0, 4, vendi=3.0, redundancy=0.1)]
    document = curves({1: small, 4: large})["methods"]["ours"]
    assert document == {
        "words.vendi": [[1.0, None, None], [3.0, None, None]],
        "words.redundancy": [None, [0.1, None, None]],
    }
