import csv
import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import DataError, ParamError
from tasks.core.params import read_params
from tasks.core.schemas import POOL, SELECTED, SELECTIONS, UNIQUE
from tasks.core.stage import Stage
from tasks.core.tables import write_table
from tasks.likeness import cosines
from tasks.likeness.cosines import nearest, unit
from tasks.likeness.lexical import lexical_space
from tasks.likeness.words import rouge_l, rouge_l_table, words
from tasks.measure import check, work
from tasks.measures.figures import Bootstrap, Interval, Mean, Quantile, Whole, p_random
from tasks.measures.shares import (
    codes_of,
    distinct_2,
    jensen_shannon,
    length_bands,
    script,
    text_figures,
)
from tasks.measures.spread import spread_figures, vendi
from tasks.measures.student import Exam
from tasks.measures.summary import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Measured,
    as_csv,
    overlap,
    summarise,
)

ROOT = Path(__file__).parents[1]
SECTION = {"dimensions": 8, "shares": ["topic", "absent"], "n_test": 10, "n_resamples": 100}
word_lists = st.lists(st.sampled_from("abcd"), max_size=8)


def unit_vectors(n, seed=0, d=6):
    return unit(np.random.default_rng(seed).standard_normal((n, d)))


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


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


def test_rouge_l_of_known_pairs():
    pairs = [
        ("the cat sat on the mat", "the cat lay on a mat", 2 * 4 / 12),
        ("a b c", "a b c", 1.0),
        ("a b c", "d e", 0.0),
        ("a b", "b a", 0.5),
        ("", "a", 0.0),
        ("", "", 0.0),
    ]
    a, b, expected = zip(*pairs, strict=True)
    found = rouge_l([words(x) for x in a], [words(x) for x in b])
    assert found == pytest.approx(list(expected))


@given(st.lists(word_lists, min_size=1, max_size=4), st.lists(word_lists, min_size=1, max_size=4))
def test_rouge_l_is_that_of_the_textbook(a, b):
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


def test_the_nearest_is_the_same_however_many_blocks_there_are(monkeypatch):
    vectors, others = unit_vectors(50), unit_vectors(9, seed=1)
    whole = nearest(vectors, others)
    monkeypatch.setattr(cosines, "BLOCK_CELLS", 20)
    assert nearest(vectors, others).places.tolist() == whole.places.tolist()
    assert whole.places.tolist() == (vectors @ others.T).argmax(axis=1).tolist()
    assert whole.cosines == pytest.approx((vectors @ others.T).max(axis=1))


def test_a_place_that_is_barred_is_not_the_nearest():
    vectors = on_circle(0, 10, 90)
    found = nearest(vectors, vectors, np.array([0, -1, 2]))
    assert found.places.tolist() == [1, 1, 1]


def test_a_vector_without_length_stays_zero():
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


@pytest.mark.parametrize("texts", [["one"], ["?", "!"], ["a b", "a b"], ["x", "y z", "", "z"]])
def test_the_space_of_words_takes_texts_as_few_or_bare_as_they_come(texts):
    space = lexical_space(texts, 4, seed=0)
    assert len(space) == len(texts)
    assert np.isfinite(space).all()


def test_texts_that_share_words_are_near_in_the_space_of_words():
    texts = ["bake a cake", "bake a pie", "solve an equation", "solve the equation"] * 3
    space = lexical_space(texts, 3, seed=0)
    assert np.linalg.norm(space, axis=1) == pytest.approx(np.ones(12), abs=1e-5)
    assert space[0] @ space[1] > space[0] @ space[2]
    assert space[2] @ space[3] > space[2] @ space[1]
    assert np.array_equal(space, lexical_space(texts, 3, seed=0))


# Spread


def test_coverage_and_facility_location_of_a_known_case():
    vectors = on_circle(0, 60, 90, 180)
    figures = spread_figures(vectors, np.arange(4), np.array([0]))
    gaps = [0, 1, np.sqrt(2), 2]  # chords of 0, 60, 90 and 180 degrees
    assert figures["coverage_mean"].value == pytest.approx(np.mean(gaps), abs=1e-3)
    assert figures["coverage_p95"].value == pytest.approx(2)
    assert figures["coverage_max"].value == pytest.approx(2)
    assert figures["facility_location"].value == pytest.approx((1 + 0.5 + 0 + 0) / 4, abs=1e-6)
    assert "redundancy" not in figures  # one record has no other


def test_redundancy_is_the_mean_cosine_to_the_nearest_other():
    figures = spread_figures(on_circle(0, 60, 180), np.arange(3), np.arange(3))
    assert figures["redundancy"].value == pytest.approx((0.5 + 0.5 - 0.5) / 3, abs=1e-6)


def test_the_whole_pool_covers_itself():
    figures = spread_figures(unit_vectors(30), np.arange(30), np.arange(30))
    assert figures["coverage_max"].value == pytest.approx(0, abs=1e-3)
    assert figures["facility_location"].value == pytest.approx(1)


def test_vendi_counts_the_wholly_unlike():
    assert vendi(np.eye(5, dtype=np.float32)) == pytest.approx(5)
    assert vendi(on_circle(20, 20, 20)) == pytest.approx(1)
    assert vendi(np.repeat(np.eye(4, dtype=np.float32), [5, 5, 5, 5], axis=0)) == pytest.approx(4)
    half = vendi(on_circle(0, 60))  # eigenvalues 3/4 and 1/4
    assert half == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))


@given(st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_vendi_is_that_of_the_square_matrix_of_cosines(n, seed):
    vectors = unit_vectors(n, seed).astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(vectors @ vectors.T / n)
    positive = eigenvalues[eigenvalues > 1e-12]
    assert vendi(vectors) == pytest.approx(np.exp(-(positive * np.log(positive)).sum()), rel=1e-4)


# Shares


def test_jensen_shannon_of_known_shares():
    half, one, other = np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert jensen_shannon(half, half) == 0
    assert jensen_shannon(one, other) == pytest.approx(1)
    assert jensen_shannon(half, one) == pytest.approx(0.311278, abs=1e-6)


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


def test_lengths_fall_into_tenths_of_the_pool():
    bands = length_bands(["x" * n for n in range(1, 101)])
    assert np.bincount(bands).tolist() == [10] * 10
    assert len(set(length_bands(["same"] * 7).tolist())) == 1


def test_a_shift_is_none_for_the_pool_itself_and_great_for_one_kind_alone():
    labels = {"topic": codes_of(["a", "a", "b", None])}
    texts = ["one two"] * 4
    whole, part = (
        text_figures(texts, labels, rows)["topic_shift"].value for rows in (range(4), [3])
    )
    assert whole == 0
    # ours (0, 0, 1) beside the pool's (1/2, 1/4, 1/4), by hand
    assert part == pytest.approx(0.5487949, abs=1e-6)


# Intervals


@pytest.mark.parametrize(
    ("draw", "figure", "truth"),
    [
        (lambda rng: rng.normal(3, 2, 60), Mean, 3.0),
        (lambda rng: rng.exponential(1, 150), Mean, 1.0),
        (lambda rng: rng.random(200), lambda x: Quantile(x, 0.95), 0.95),
    ],
    ids=["mean", "mean of a skewed kind", "p95"],
)
def test_bootstrap_intervals_cover_at_their_rate(draw, figure, truth):
    n_trials = 400
    rng = np.random.default_rng(7)
    intervals = [Bootstrap(200, i).interval(figure(draw(rng))) for i in range(n_trials)]
    rate = sum(low <= truth <= high for low, high in intervals) / n_trials
    # 95 % less what so few resamples cost, and four standard errors of 400 trials either way
    assert 0.89 <= rate <= 0.99


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(0, 1, 2000)
    low, high = Bootstrap(2000, 0).interval(Mean(values))
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.1)


def test_a_figure_of_a_whole_selection_has_no_interval():
    assert Bootstrap(100, 0).interval(Whole(3.0)) is None


def test_a_quantile_is_a_value_that_came():
    assert Quantile(np.arange(1.0, 101.0), 0.95).value == 95
    assert Bootstrap(100, 0).interval(Quantile(np.full(9, 2.0), 0.95)) == Interval(2.0, 2.0)


def test_the_rank_among_random_selections_is_a_p_value():
    chance = np.arange(1.0, 20.0)
    assert p_random(0.5, chance, lower_is_better=True) == 1 / 20
    assert p_random(0.5, chance, lower_is_better=False) == 1
    assert p_random(2.0, chance, lower_is_better=True) == 3 / 20  # a tie is no win


def test_chance_is_called_better_than_chance_no_more_often_than_it_should():
    rng = np.random.default_rng(0)
    found = [p_random(x[0], x[1:], lower_is_better=True) for x in rng.random((4000, 21))]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(1 / 21, abs=0.014)


# The student


OUTPUTS = [f"output number {i} {'x' * i}" for i in range(40)]


def test_the_student_answers_with_the_output_of_the_nearest_selected_record():
    vectors = on_circle(*np.arange(40))
    outputs = ["yes it is"] * 20 + ["no never"] * 20
    exam = Exam(outputs, 40, seed=0)
    rouge = exam.figures(vectors, np.array([9, 10, 11, 28, 29, 30]))["student_rouge_l"]
    assert rouge.value == 1
    wrong = exam.figures(vectors, np.array([0, 1, 2]))["student_rouge_l"]
    assert wrong.value == 0.5


def test_the_student_never_copies_the_answer_itself():
    vectors = on_circle(*np.arange(40))
    outputs = [f"answer{i}" for i in range(40)]
    figures = Exam(outputs, 40, seed=0).figures(vectors, np.arange(40))
    assert figures["student_rouge_l"].values.tolist() == [0] * 40
    assert figures["student_cosine"].values.tolist() == [0] * 40


def test_the_questions_are_the_same_for_every_selection_and_have_answers():
    outputs = [output if i % 2 else None for i, output in enumerate(OUTPUTS * 2)]
    exam = Exam(outputs, 15, seed=0)
    assert len(exam.test) == 15
    assert all(exam.test % 2)
    assert exam.test.tolist() == Exam(outputs, 15, seed=0).test.tolist()
    assert exam.test.tolist() != Exam(outputs, 15, seed=1).test.tolist()
    assert exam.figures(unit_vectors(80), np.array([0, 2, 4, 5])) == {}  # one output to learn from


def test_there_is_no_student_where_there_are_hardly_any_outputs():
    exam = Exam([None] * 30 + ["text"] * 19, 10, seed=0)
    assert exam.figures(unit_vectors(49), np.arange(49)) == {}


# The summary


def made(method, seed, value, rows=(0, 1)):
    return Measured(method, seed, np.array(rows), {"words": {"vendi": Whole(value)}})


def test_several_seeds_are_averaged_and_chance_is_the_yardstick():
    measured = [made("random", seed, float(seed)) for seed in range(20)]
    summary = summarise([*measured, made("best", 0, 30.0), made("poor", 0, 1.0)], Bootstrap(100, 0))
    assert summary["random"]["n_seeds"] == 20
    assert summary["random"]["words"]["vendi"] == {
        "value": 9.5, "interval": [0.475, 18.525], "p_random": None
    }  # fmt: skip
    assert summary["best"]["words"]["vendi"] == {
        "value": 30.0, "interval": None, "p_random": pytest.approx(1 / 21, abs=1e-6)
    }  # fmt: skip
    assert summary["poor"]["words"]["vendi"]["p_random"] == pytest.approx(20 / 21, abs=1e-6)


def test_without_random_selections_no_rank_is_told():
    summary = summarise([made("best", 0, 3.0)], Bootstrap(100, 0))
    assert summary["best"]["words"]["vendi"]["p_random"] is None


def test_overlap_is_jaccards_of_the_first_seed():
    found = overlap([made("a", 0, 0, (1, 2, 3)), made("a", 1, 0, (9,)), made("b", 0, 0, (3, 4))])
    assert found == {"methods": ["a", "b"], "jaccard": [[1, 0.25], [0.25, 1]]}


# The step


@pytest.fixture
def workspace(tmp_path):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    records = [
        {
            "id": f"{i:016x}", "instruction": f"Explain {i} {'big' if i % 2 else 'small'} things.",
            "input": "", "output": OUTPUTS[i], "source": f"pool:{i}",
            "extra": json.dumps({"topic": "a" if i < 20 else "b"}),
        }
        for i in range(40)
    ]  # fmt: skip
    for name in ("ingest", "dedupe", "embed", "llm_select", "baseline"):
        (tmp_path / "data" / name).mkdir(parents=True)
    write_table(tmp_path / "data/ingest/pool.parquet", records, POOL)
    unique = [{"id": record["id"]} for record in records]
    write_table(tmp_path / "data/dedupe/unique.parquet", unique, UNIQUE)
    np.save(tmp_path / "data/embed/vectors.npy", unit_vectors(40))
    provenance = {field.name: 1 if pa.types.is_integer(field.type) else "x" for field in SELECTED}
    selected = [provenance | record for record in records[::4]]
    write_table(tmp_path / "data/llm_select/selected.parquet", selected, SELECTED)
    usage = {
        "calls": 9,
        "prompt_tokens": 90,
        "completion_tokens": 8,
        "usd": None,
        "partial": None,
        "route": "r",
    }
    (tmp_path / "data/llm_select/usage.json").write_text(json.dumps(usage))
    select(tmp_path, {("random", 0): range(10), ("random", 1): range(5, 15), ("k", 0): range(10)})
    return tmp_path


def select(workspace, rows_by_run):
    rows = [
        {"method": method, "seed": seed, "rank": rank + 1, "id": f"{row:016x}"}
        for (method, seed), rows in rows_by_run.items()
        for rank, row in enumerate(rows)
    ]
    write_table(workspace / "data/baseline/selections.parquet", rows, SELECTIONS)


def run(workspace, **changes):
    section = json.dumps({**SECTION, **changes})
    (workspace / "params.yaml").write_text(f"seed: 0\nmeasure: {section}\n")
    Stage("measure", workspace).run(work)
    return json.loads((workspace / "data/measure/metrics.json").read_text())


def test_every_selection_has_every_figure(workspace):
    told = run(workspace)
    in_space = {"coverage_mean", "coverage_p95", "coverage_max", "facility_location", "redundancy"}
    in_space |= {"vendi", "student_rouge_l", "student_cosine"}
    in_text = {"distinct_2", "length_shift", "script_shift", "topic_shift"}
    assert set(told["methods"]) == {"llm_select", "random", "k"}
    for entry in told["methods"].values():
        assert set(entry["words"]) == set(entry["vectors"]) == in_space
        assert set(entry["text"]) == in_text
        assert entry["n_records"] == 10
    assert told["methods"]["random"]["n_seeds"] == 2
    assert set(told["lower_is_better"]) == set(LOWER_IS_BETTER)
    assert in_space | in_text == {
        *LOWER_IS_BETTER, *HIGHER_IS_BETTER, "length_shift", "script_shift", "topic_shift"
    }  # fmt: skip


def test_dvcs_plots_get_a_line_a_method_with_the_figures_of_one_space(workspace):
    told = run(workspace)["methods"]
    lines = csv.DictReader(io.StringIO((workspace / "data/measure/figures.csv").read_text()))
    plotted = {line["method"]: line for line in lines}
    assert list(plotted) == ["llm_select", "random", "k"]
    for method, line in plotted.items():
        assert float(line["vendi"]) == told[method]["words"]["vendi"]["value"]
        assert line["n_records"] == "10"
    entry = {"n_records": 2, "words": {}}
    figure = {"value": 0.5}
    alone = as_csv({"a": entry | {"words": {"vendi": figure}}, "b": entry}, "words")
    assert alone == "method,n_records,vendi\na,2,0.5\nb,2,\n"


def test_the_same_records_have_the_same_figures_under_any_name(workspace):
    select(workspace, {("k", 0): range(0, 40, 4)})
    told = run(workspace)["methods"]
    ours, theirs = (
        {g: told[m][g] for g in ("text", "words", "vectors")} for m in ("llm_select", "k")
    )
    assert ours == theirs


def test_only_our_selection_costs_anything(workspace):
    told = run(workspace)["methods"]
    assert told["llm_select"]["cost"] == {
        "calls": 9, "prompt_tokens": 90, "completion_tokens": 8, "usd": None
    }  # fmt: skip
    assert set(told["k"]["cost"].values()) == {0}


def test_outputs_are_the_same_bytes_each_time(workspace):
    def content():
        run(workspace)
        return (workspace / "data/measure/metrics.json").read_bytes()

    assert content() == content()


def test_without_a_selection_yet_the_other_methods_are_measured(workspace):
    write_table(workspace / "data/llm_select/selected.parquet", [], SELECTED)
    usage = workspace / "data/llm_select/usage.json"
    usage.write_text(json.dumps(json.loads(usage.read_text()) | {"partial": "max_usd"}))
    run(workspace)
    methods = json.loads((workspace / "data/measure/metrics.json").read_text())["methods"]
    assert "llm_select" not in methods
    assert "random" in methods


def test_an_empty_selection_is_refused(workspace):
    write_table(workspace / "data/llm_select/selected.parquet", [], SELECTED)
    with pytest.raises(DataError, match="the selection is empty"):
        run(workspace)


def test_a_selection_of_another_pool_is_refused(workspace):
    select(workspace, {("k", 0): [99]})
    with pytest.raises(DataError, match="record 0000000000000063 is not among the unique"):
        run(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 1}, "measure.dimensions: input should be greater"),
        ({"n_test": -1}, "measure.n_test: input should be greater"),
        ({"n_resamples": 99}, "measure.n_resamples: input should be greater"),
        ({"shares": [""]}, "measure.shares.0: string should have at least 1 character"),
        ({"resamples": 99}, "measure.resamples is unknown; did you mean n_resamples"),
    ],
)
def test_a_faulty_section_is_refused_by_its_key(change, message):
    with pytest.raises(ParamError, match=message):
        check({"seed": 0, "measure": SECTION | change})


def test_the_projects_own_section_is_sound():
    assert check(read_params(ROOT / "params.yaml"))
