"""Attention checks: their slots, their texts, and that the offline judge does not pick them."""

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lib.core.records import record_text
from tasks.lib.gateway.prompt_fence import parse_block, render_block
from tasks.lib.typicality.typicality import choose
from tasks.llm_select.attention_checks import GIBBERISH, INJECTIONS, CheckKind, insert, plan_checks

SAMPLE = Path(__file__).parent.parent / "data" / "sample" / "instructions.jsonl"
SEEDS = st.integers(0, 2**32 - 1)
TEXTS = st.lists(st.text(max_size=80), min_size=1, max_size=8)


def sample_texts() -> list[str]:
    """Return the texts of the sample's valid lines; some of them are junk too."""
    texts = []
    for line in SAMPLE.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("instruction"), str):
            texts.append(record_text(record["instruction"], str(record.get("input") or "")))
    return sorted({text for text in texts if text.strip()})


@given(st.integers(1, 20), st.integers(0, 60), SEEDS)
def test_the_numbers_of_attention_checks_per_prompt_differ_by_at_most_one(
    n_prompts, n_attention_checks, seed
):
    insertions = plan_checks(n_prompts, n_attention_checks, seed)
    assert len(insertions) == n_attention_checks
    counts = Counter(insertion.prompt for insertion in insertions)
    assert set(counts) <= set(range(n_prompts))
    assert max(counts.values(), default=0) - min(counts[i] for i in range(n_prompts)) <= 1


@given(st.integers(1, 20), st.integers(0, 60), SEEDS)
def test_kinds_take_turns(n_prompts, n_attention_checks, seed):
    kinds = Counter(
        insertion.kind for insertion in plan_checks(n_prompts, n_attention_checks, seed)
    )
    assert max(kinds[kind] for kind in CheckKind) - min(kinds[kind] for kind in CheckKind) <= 1


@given(st.integers(1, 20), st.integers(0, 40), SEEDS)
def test_a_shorter_plan_is_a_prefix_of_a_longer_one(n_prompts, n_attention_checks, seed):
    longer = plan_checks(n_prompts, n_attention_checks + 7, seed)
    assert longer[:n_attention_checks] == plan_checks(n_prompts, n_attention_checks, seed)


def test_without_prompts_there_are_no_attention_checks():
    assert plan_checks(0, 5, 1) == []


def test_another_seed_gives_another_plan():
    assert plan_checks(50, 10, 1) != plan_checks(50, 10, 2)


@given(TEXTS, st.sampled_from(CheckKind), SEEDS)
def test_one_text_is_replaced_and_the_others_are_kept(texts, kind, seed):
    inserted, slot = insert(texts, kind, seed)
    assert inserted[: slot - 1] == texts[: slot - 1]
    assert inserted[slot:] == texts[slot:]
    assert len(inserted) == len(texts)
    assert insert(texts, kind, seed) == (inserted, slot)


@pytest.mark.parametrize("kind", CheckKind)
def test_an_attention_check_is_in_each_slot_about_equally_often(kind):
    texts = [f"Compare the rivers of land {i}, and say which one is the longest." for i in range(5)]
    slots = Counter(insert(texts, kind, seed)[1] for seed in range(1000))
    assert all(150 < slots[slot] < 250 for slot in range(1, 6))


@given(SEEDS, st.integers(40, 600))
def test_gibberish_is_about_as_long_as_what_it_replaces(seed, n_chars):
    text = ("Why do leaves turn red in autumn? " * 20)[:n_chars]
    inserted, slot = insert([text], CheckKind.GIBBERISH, seed)
    assert slot == 1
    assert 0.6 * n_chars < len(inserted[0]) < 1.4 * n_chars


def test_one_form_of_gibberish_uses_the_letters_of_the_text():
    text = "请用三句话解释光合作用，并举一个沙漠植物的例子。" * 2
    checks = [insert([text], CheckKind.GIBBERISH, seed)[0][0] for seed in range(40)]
    own = [check for check in checks if set(check) - {" "} <= set(text)]
    assert 0 < len(own) < len(checks)


@given(SEEDS)
def test_a_truncated_text_is_the_beginning_of_the_text_that_it_replaces(seed):
    texts = [
        "Compare the rivers Rhine and Nile in three sentences, with one figure in each of them.",
        "请用三句话解释光合作用，并举一个沙漠植物的例子，再说明仙人掌为什么只在夜里打开气孔，最后给出一个适合课堂的小实验。",
        "Hi",
    ]
    inserted, slot = insert(texts, CheckKind.TRUNCATED, seed)
    assert slot != 3
    assert texts[slot - 1].startswith(inserted[slot - 1])
    assert 0 < len(inserted[slot - 1]) < len(texts[slot - 1]) / 2


@given(SEEDS)
def test_an_injection_that_names_a_slot_names_its_own(seed):
    inserted, slot = insert(["Name a river."] * 30, CheckKind.INJECTION, seed)
    assert inserted[slot - 1] in {form.replace("SLOT", str(slot)) for form in INJECTIONS}
    assert "SLOT" not in inserted[slot - 1]


def test_every_form_of_injection_is_inserted():
    assert len(set(INJECTIONS)) == len(INJECTIONS) >= 20
    checks = {insert(["Name a river."], CheckKind.INJECTION, seed)[0][0] for seed in range(500)}
    assert checks == {form.replace("SLOT", "1") for form in INJECTIONS}
    assert len(GIBBERISH) >= 3


@given(st.sampled_from(INJECTIONS), st.integers(1, 14))
def test_no_injection_breaks_out_of_its_fence(form, slot):
    texts = ["Name a river.", form.replace("SLOT", str(slot)), "Name a hill."]
    block = parse_block(render_block(texts, 1))
    assert block is not None
    assert block.texts == texts


@pytest.mark.slow
@pytest.mark.parametrize("kind", CheckKind)
def test_the_offline_judge_never_prefers_an_attention_check(kind):
    texts = sample_texts()
    assert len(texts) > 400
    draw = random.Random(0)
    for seed in range(500):
        inserted, slot = insert(draw.sample(texts, 14), kind, seed)
        assert choose(inserted, 1) != [slot], inserted[slot - 1]


def test_attention_checks_of_one_run_differ_even_in_one_prompt():
    texts = [f"Compare the rivers of land {i}, and say which one is longest." for i in range(14)]
    insertions = plan_checks(1, 12, seed=3)
    inserted = [insert(texts, insertion.kind, insertion.seed) for insertion in insertions]
    assert all(a != b for a, b in pairwise(inserted))
