"""How near-duplicates are found: properties of any pool, signatures, bands and components."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dedupe.find_duplicates import fingerprint
from tasks.dedupe.lsh import find_components, prune_false_candidates
from tasks.dedupe.minhash import bands_for, minhash
from tasks.lib.core.drops import DedupeDrop
from tasks.lib.text.typography import normalise
from tests.dedupe_records import (
    PASSAGE,
    dedupe_records,
    deduped,
    overlap,
    pieces_of,
    records_of,
    similarity,
    table,
)

VOCABULARY = "a cat dog the runs run home 2 3 été 猫 走る แมว हिन्दी why? Why, and."
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
POOLS = st.lists(st.tuples(TEXTS, TEXTS | st.just("")), max_size=12)
THRESHOLDS = st.sampled_from([0.3, 0.5, 0.8, 1.0])


@given(POOLS, THRESHOLDS)
def test_every_record_is_kept_or_dropped_for_an_earlier_kept_one(pool, threshold):
    records = records_of(*pool)
    kept, dropped, _ = deduped(*pool, threshold=threshold)
    order = [record[0] for record in records]
    assert sorted(kept + [drop.id for drop in dropped], key=order.index) == order
    assert kept == sorted(kept, key=order.index)
    by_id = {record[0]: record for record in records}
    for drop in dropped:
        assert drop.of_id in kept
        assert order.index(drop.of_id) < order.index(drop.id)
        assert drop.similarity >= threshold
        same = normalise(" ".join(by_id[drop.id][1:])) == normalise(" ".join(by_id[drop.of_id][1:]))
        assert (drop.reason is DedupeDrop.IDENTICAL) == same


@pytest.mark.slow
@given(POOLS, THRESHOLDS)
def test_a_second_pass_drops_nothing(pool, threshold):
    first = deduped(*pool, threshold=threshold)
    kept = [record for record in records_of(*pool) if record[0] in set(first.kept)]
    assert dedupe_records(kept, threshold) == (first.kept, [], [])


@given(*[st.text("ab .漢字かな한กข𠀀😀", max_size=30)] * 2)
def test_similarity_is_the_jaccard_similarity_of_the_defined_pieces(a, b):
    a, b = normalise(a), normalise(b)
    expected = overlap(a, b) if a and b else float(a == b)
    assert similarity(a, b) == expected


@pytest.mark.slow
def test_hardly_any_pair_above_the_threshold_is_missed():
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2000)]
    pairs = []
    for _ in range(400):
        sample = rng.sample(words, 17)
        slips = [word[:3] + word[2:] if i % 5 == 2 else word for i, word in enumerate(sample)]
        both = [f"what is the {' '.join(text)}" for text in (sample, slips)]
        pairs.append(tuple(both))  # three letters doubled
    assert all(0.8 <= overlap(*pair) <= 0.88 for pair in pairs)
    named = [[d.of_id for d in deduped(*pair).dropped] for pair in pairs]
    assert named.count(["r0"]) >= 398


def test_signatures_agree_as_often_as_the_sets_overlap():
    a, b = PASSAGE, PASSAGE[:200]
    signatures = minhash([(normalise(a), "x"), (normalise(b), "x")], 512)
    together = pieces_of(normalise(a)) | {"x"}, pieces_of(normalise(b)) | {"x"}
    expected = len(together[0] & together[1]) / len(together[0] | together[1])
    assert (
        abs(np.mean(signatures[0] == signatures[1]) - expected)
        < 3 * (expected * (1 - expected) / 512) ** 0.5
    )


def test_a_chain_of_candidate_pairs_is_one_component_named_by_its_first_record():
    keys = np.array([[1, 7], [2, 5], [9, 5], [2, 8], [3, 4], [3, 6]], dtype=np.uint64)
    assert find_components(keys).tolist() == [0, 1, 1, 1, 4, 4]


def test_records_that_share_no_band_are_not_compared():
    texts = ["one thing entirely", "quite another matter", "one thing entirely."]
    (batch,) = table(records_of(*texts)).to_batches()
    assert find_components(fingerprint(batch, 0.8, 128).keys).tolist() == [0, 1, 0]


def test_only_records_that_share_a_key_with_a_similar_one_keep_it():
    rng = np.random.default_rng(0)
    b_bits = rng.integers(0, 256, (5, 128), dtype=np.uint8)
    b_bits[2, :90], b_bits[3] = b_bits[0, :90], b_bits[1]  # 70 % alike, and equal
    keys = np.array([[9, 8], [9, 8], [9, 7], [6, 8], [9, 7]], dtype=np.uint64)
    prune_false_candidates(keys, b_bits, 0.8)
    assert keys.tolist() == [[9, 0], [1, 8], [9, 2], [3, 8], [4, 4]]
    group = np.full((257, 1), 10**9, dtype=np.uint64)
    prune_false_candidates(group, rng.integers(0, 256, (257, 128), dtype=np.uint8), 0.8)
    assert set(group.ravel().tolist()) == {10**9}
    prune_false_candidates(group[1:], rng.integers(0, 256, (256, 128), dtype=np.uint8), 0.8)
    assert len(set(group.ravel().tolist())) == 257


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("n_permutations", [16, 128, 511])
def test_bands_fit_the_signature_for_every_setting(threshold, n_permutations):
    bands = bands_for(threshold, n_permutations)
    assert bands.n >= 2
    assert n_permutations - bands.width < bands.n * bands.width <= n_permutations
