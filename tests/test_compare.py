"""Comparing variants: their workspaces, what they share, and how they are shown."""

import csv
import io
import os
import re
import signal
from dataclasses import replace

import pytest

from flows.dvc.variants import Variant, make_workspaces, read_variants
from flows.tracking.comparison import (
    Outcome,
    as_csv,
    best,
    fingerprint,
    overlap,
    overlap_rows,
    rows,
)
from flows.tracking.leading_metrics import LeadingMetric, leading, of_selection
from flows.tracking.markdown import comparison as as_markdown
from flows.tracking.paper import paper_rows, write_tables
from tasks.lib.core.errors import ParamError
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.documents.metrics import MethodMetrics, Metrics
from tasks.lib.documents.savings import Equivalent, Savings
from tasks.lib.documents.usage import Usage
from tests.conftest import PROJECT
from tests.sound_run import FAIR
from tests.workspaces import PATIENCE_S, wait_until

COVERAGE = "words.coverage_mean"
VARIANTS = "compare={one: {second.naps: 1}, two: {second.naps: 2}}"


def outcome(name, value=0.5, ids=(), selected=2, lower=True, **facts):
    """Return the outcome of a variant."""
    metric = LeadingMetric(value, 0.6, 0.048, lower)
    usage = Usage(**FAIR)
    variant = Variant(name, {"cluster.mode": name}, f"params of {name}")
    ids = frozenset(ids or map(str, range(selected)))
    known = {"usage": usage, "metrics": {COVERAGE: metric}, "ids": ids}
    return Outcome(variant, **known | facts)


# The content of a comparison


def test_overlap_is_the_jaccard_similarity_of_the_selections():
    three = [outcome("a", ids="xy"), outcome("b", ids="yz"), outcome("c", ids="pq")]
    assert overlap(three) == [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    assert overlap_rows(three)[0] == {"variant": "a", "a": 1, "b": 0.3333, "c": 0}
    assert overlap([outcome("empty", ids=None, selected=0)]) == [[0]]


def test_the_best_has_the_better_metric_among_selections_of_one_size():
    assert best([outcome("a", 0.5), outcome("b", 0.4)], COVERAGE) == 0.4
    higher = [outcome("a", 0.5, lower=False), outcome("b", 0.4, lower=False)]
    assert best(higher, COVERAGE) == 0.5
    assert best([outcome("a", 0.5), outcome("b", 0.4, selected=3)], COVERAGE) is None
    assert best([outcome("a", lower=None), outcome("b", lower=None)], COVERAGE) is None
    assert best([outcome("a"), outcome("b", metrics={})], COVERAGE) is None
    assert best([outcome("a")], "vendi") is None


def test_a_fingerprint_depends_only_on_the_outcomes():
    first = fingerprint([outcome("a", hashes={"x": "1", "y": "2"})])
    assert fingerprint([outcome("a", hashes={"y": "2", "x": "1"}, n_ran=3)]) == first
    assert fingerprint([outcome("a", hashes={"x": "1", "y": "3"})]) != first
    assert fingerprint([outcome("a", hashes={"x": "1", "y": "2"}, failure="no")]) != first


def test_the_table_has_the_cost_and_the_metrics_compared_with_chance():
    failed = Outcome(Variant("b", {}, ""), failure="stage: a word, not\na number")
    table = rows([outcome("a"), failed])
    assert table[0][COVERAGE] == 0.5
    assert table[0][f"{COVERAGE}.random"] == 0.6
    assert (table[1]["state"], table[1]["usd"], table[1][COVERAGE]) == ("failed", None, None)
    read = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["variant"] for row in read] == ["a", "b"]
    assert (read[0]["sets"], read[1]["sets"]) == ("cluster.mode=a", "params.yaml as it is")


def test_markdown_names_every_variant_and_escapes_what_it_quotes():
    outcomes = [
        outcome("a", 0.4, ids="xy"),
        outcome("b", ids="yz"),
        Outcome(Variant("c", {"x.y": "a|b\n<script>"}, ""), failure="<script>no"),
    ]
    text = as_markdown(outcomes)
    assert "| **0.4 ✓** |" in text
    assert f"{COVERAGE} ↓" in text
    assert "a\\|b \\<script\\>" in text
    assert "**c failed:** \\<script\\>no" in text


def metric(value, p=None, interval=None):
    return {"value": value, "interval": interval, "p_random": p}


def document(n_random=2):
    """Return metrics of a selection of two records, and of random selections."""
    cost = {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "usd": 0}
    base = {"n_seeds": 1, "chose_in": [], "text": {}, "characters": {}, "vectors": {}, "cost": cost}
    ours = base | {"n_records": 2, "words": {"coverage_mean": metric(0.5, 0.9, [0.4, 0.6])}}
    chance = base | {"n_records": n_random, "words": {"coverage_mean": metric(0.6)}}
    return Metrics(
        methods={"llm_select": ours, "random": chance},
        curves={"sizes": [], "methods": {}},
        overlap={"methods": [], "jaccard": []},
        lower_is_better=["coverage_mean"],
        higher_is_better=[],
    )


def test_metrics_of_a_selection_are_compared_with_random_ones_of_the_same_size():
    assert leading(document()) == {"words.coverage_mean": LeadingMetric(0.5, 0.6, 0.9, True)}
    assert dict(of_selection(document())) == {
        "words/coverage_mean": 0.5,
        "words/coverage_mean.random": 0.6,
        "p_random/words.coverage_mean": 0.9,
    }
    alone = leading(document(n_random=3))["words.coverage_mean"]
    assert (alone.random, alone.p_random) == (None, None)
    assert leading(None) == {}


# The table for a paper


def measured(name, seed, value, p, n_random):
    """Return the outcome of a variant whose selection was measured."""
    ends = [value - 0.1, value + 0.1]
    ours = MethodMetrics.model_validate(
        {
            "n_records": 2, "n_seeds": 1, "chose_in": ["vectors"], "text": {}, "characters": {},
            "vectors": {}, "words": {"coverage_mean": metric(value, p, ends)},
            "cost": {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "usd": 0},
        }
    )  # fmt: skip
    worth = Equivalent(n_random=n_random, low=n_random - 1, high=n_random + 1)
    savings = Savings(
        n_selected=2, min_size=1, max_size=8, coverage={"words": worth}, student=None,
        saved=0, saved_percent=0, stop={},
    )  # fmt: skip
    variant = Variant(name, {"cluster.mode": "within", "seed": seed}, "")
    return replace(outcome(name, ours=ours, savings=savings), variant=variant)


def test_variants_that_differ_in_their_seed_are_one_row_with_means():
    failed = Outcome(Variant("broken", {}, ""), failure="no")
    two = [measured("a", 0, 0.4, 0.04, 3), measured("b", 1, 0.6, 0.06, 4)]
    rows = paper_rows([*two, failed])
    assert [(row.name, row.n_seeds) for row in rows] == [("a", 2), ("broken", 0)]
    found = rows[0].metrics[COVERAGE]
    half = 12.706 * 0.1414214 / 2**0.5  # Student's t at one degree of freedom
    assert found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.5 - half, 0.5 + half), abs=1e-3)
    assert found.p_random == 0.06
    assert rows[0].n_random[COVERAGE] == Equivalent(n_random=4, low=2, high=5)


def test_the_table_is_written_as_csv_and_as_latex(tmp_path):
    failed = Outcome(Variant("50%", {}, ""), failure="no")
    paths = write_tables(tmp_path, [measured("my_way", 0, 0.4, 0.04, 3), failed])
    as_table, latex = (path.read_text() for path in paths)
    first, second = csv.DictReader(io.StringIO(as_table))
    assert (first["name"], first["records"], first["seeds"]) == ("my_way", "2", "1")
    assert (float(first[COVERAGE]), float(first[f"{COVERAGE}.low"])) == (0.4, pytest.approx(0.3))
    assert first[f"{COVERAGE}.n_random"] == "3"
    assert (second["name"], second[COVERAGE], second["usd"]) == ("50%", "", "")
    assert r"my way & 2 & 0.400* [0.300, 0.500] & 3 [2, 4]" in latex
    assert r"50\%" in latex
    assert latex.count(r"\toprule") == 1


# Variants that params.yaml may declare


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{bad: {second.nasp: 3}}", "compare.bad: .*second.nasp is unknown; did you mean naps?"),
        (
            "{good: {}, bad: {secnd.naps: 3}}",
            "compare.bad: .*secnd section is unknown; did you mean second?",
        ),
        ("{bad: {second.naps: -1}}", "compare.bad: .*second.naps: input should be greater"),
        ("{bad: {second: {naps: 1}}}", "compare.bad.second: expected a dotted key"),
        ("{bad: {second.naps.deep: 1}}", "compare.bad: .*naps has no keys below it"),
        ("{bad: 3}", "compare.bad: expected keys and values, not 3"),
        ("{../bad: {}}", "a name may contain only letters, digits"),
        ("{7: {}}", "a name may contain only letters, digits"),
        ("{}", "compare: expected variants"),
        ("[a]", "compare: expected variants"),
    ],
)
def test_a_malformed_variant_is_refused_with_its_key_and_nothing_is_made(toy, section, words):
    before = (toy.root / "params.yaml").read_bytes()
    with pytest.raises(ParamError, match=rf"(?s){words}"):
        read_variants(toy.root, [f"compare={section}"])
    with pytest.raises(ParamError, match="compare: expected variants"):
        read_variants(toy.root, [])
    assert (toy.root / "params.yaml").read_bytes() == before
    assert not made(toy)


@pytest.mark.slow
def test_a_variants_workspace_has_the_users_inputs_and_never_changes_them(toy):
    (toy.root.parent / "pools").mkdir()
    (toy.root.parent / "pools" / "pool.txt").write_text("next")
    (toy.root / "data" / "first").mkdir(parents=True)
    given = ["first.source=../pools/pool.txt", "second.source=data"]
    variants = read_variants(toy.root, [*given, "compare={a: {second.naps: 2}, b: null}"])
    assert [v.sets for v in variants] == ["second.naps=2", "params.yaml as it is"]
    first, second = make_workspaces(toy.root, variants)
    assert (first / "../pools/pool.txt").read_text() == "next"
    assert "naps: 2" in (first / "params.yaml").read_text()
    assert not (first / "data").exists()  # a stage writes there
    with (toy.root / "tasks" / "second" / "step.py").open("a") as file:
        file.write("# edited")
    (toy.root / "own.txt").write_text("own")
    given[0] = "first.source=own.txt"
    (again,) = make_workspaces(toy.root, read_variants(toy.root, [*given, "compare={a: {}}"]))
    assert again == first
    assert (again / "tasks" / "second" / "step.py").read_text().endswith("# edited")
    assert (again / "own.txt").read_text() == "own"
    assert not second.exists()
    assert (toy.root.parent / "pools" / "pool.txt").read_text() == "next"


# Over the toy graph, on a real Prefect server, with real DVC, Git and MLflow


def made(space):
    """Return what a command has made in the state folder, except for DVC's own cache."""
    return {path for path in (space.root / STATE_DIR).glob("*") if path.name != "dvc"}


def kept(space):
    """Return every file that a comparison must not change, with its content."""
    files = space.run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    data = (path for path in (space.root / "data").rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in [*(space.root / f for f in files), *data]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_failed_variant_does_not_stop_the_others_and_the_users_workspace_is_unchanged(
    toy, server
):
    toy.env.update(server.env)
    del toy.env["MLFLOW_TRACKING_URI"]  # it uses a store of its own
    (toy.root.parent / "next.txt").write_text("next")
    (toy.root / "source.txt").write_text("uncommitted")
    before = kept(toy)
    bad = "compare.bad={second.ending: data}"
    words = ["compare", "-S", "first.source=../next.txt", "-S", VARIANTS, "-S", bad]
    places = {n: toy.root / f".selectllm/compare/{n}{toy.root}" for n in ("one", "two", "bad")}
    process = toy.start(*words, "-S", "first.naps=6000")
    wait_until((places["one"] / "ran.log").exists)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert kept(toy) == before
    (places["one"] / "ran.log").unlink()

    done = toy.selectllm(*words, check=False)
    assert done.returncode == 1, done.stderr
    assert "failed: bad: second: source.txt:1: expected a number, got a word" in done.stderr
    ran = {name: (place / "ran.log").read_text().split() for name, place in places.items()}
    assert ran == {"one": ["first", "second"], "two": ["second"], "bad": ["second"]}
    assert (places["two"] / "data/second/second.txt").read_text() == "next 1 2"
    assert kept(toy) == before

    runs = toy.logged_runs()
    logged = {run.info.run_name: run for run in runs if "variant" in run.data.tags}
    states = {name: run.info.status for name, run in logged.items()}
    assert states == {"one": "FINISHED", "two": "FINISHED", "bad": "FAILED"}
    ids = {run.data.tags["prefect.flow_run_id"] for run in logged.values()}
    variants = server.ask("flow_runs", flow_runs={"id": {"any_": sorted(ids)}})
    assert {variant["name"] for variant in variants} == set(logged)
    (parent,) = {run.info.run_id for run in runs} - {run.info.run_id for run in logged.values()}
    assert {run.data.tags["mlflow.parentRunId"] for run in logged.values()} == {parent}


@pytest.mark.slow
def test_the_variants_for_a_paper_are_sound_once_they_are_uncommented(tmp_path):
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    shipped, section = text.split("\ncompare:", 1)
    used = re.sub(r"^  # (\w+: \{)", r"  \1", section, flags=re.MULTILINE)
    for name in ("dvc.yaml", "tasks", ".git", ".dvc", "data"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "params.yaml").write_text(f"{shipped}\ncompare:{used}", encoding="utf-8")
    variants = {variant.name: variant for variant in read_variants(tmp_path, [])}
    assert {"take_first", "take_middle", "take_last", "ranks", "no_judge"} <= set(variants)
    assert variants["default_2"].changes == {"seed": 2}
