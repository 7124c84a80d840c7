"""What an evaluation refuses, copies and plans before it trains anything."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from flows.cli import show_evaluation
from flows.dvc.evaluation import evaluation_workspace
from flows.dvc.variants import place_of
from tasks.evaluate import params as section
from tasks.evaluate.judge_cost import judge_plan, ready_judge
from tasks.evaluate.plan import Pace, run_seconds, visible_difference
from tasks.evaluate.tune.prompts import AskedQuestion, tokenize
from tasks.evaluate.tune.setup import TuningSetup
from tasks.evaluate.tune.training_runs import ArmRun
from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.core.errors import Busy, DataError, ParamError
from tasks.lib.core.schemas import SELECTIONS
from tasks.lib.core.tables import read_table
from tasks.lib.documents.evaluation import EvaluationPlan, PlannedArm
from tests.conftest import PROJECT
from tests.evaluation import VALUES, WordTokenizer, asked, record, values
from tests.tiny_llama import as_pool, useful, write_selections

MISSING = [package for package in section.EXTRA if find_spec(package) is None]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("arms", ["selection"], "expected random among the arms"),
        ("arms", ["random", "random"], "expected each arm only once"),
        ("n_seeds", 0, "greater than or equal to 1"),
        ("learning_rate", 0.0, "greater than 0"),
        ("precision", "float16", "'auto', 'float32' or 'bfloat16'"),
        ("modle", "x", "evaluate.modle is unknown; did you mean model?"),
        ("n_test", 10.5, "valid integer"),
    ],
)
def test_a_wrong_value_is_refused(key, value, reason):
    with pytest.raises(ParamError) as caught:
        section.check(values(**{key: value}))
    assert reason in caught.value.what


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "evaluate.model is not set"),
        ({"model": "m"}, "the file data/none.jsonl has no records"),
        ({"model": "m", "test": "nowhere.jsonl"}, "the file nowhere.jsonl does not exist"),
        (
            {"model": "m", "test": "README.md", "arms": ["random", "longst"]},
            "there is no arm longst; did you mean longest?",
        ),
        ({"model": "m", "test": "README.md", "n_seeds": 30}, "baseline.n_seeds is 20"),
    ],
)
def test_an_evaluation_that_cannot_start_says_why(changes, reason, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(section, "EXTRA", ())
    with pytest.raises(ParamError) as caught:
        section.require_ready(values(**changes))
    assert reason in caught.value.what


def test_a_missing_extra_is_named_first(monkeypatch):
    monkeypatch.setattr(section, "EXTRA", ("json", "no_such_trainer"))
    with pytest.raises(ParamError) as caught:
        section.require_ready(values())
    assert "not installed: no_such_trainer" in caught.value.what
    assert ".[train]" in caught.value.fix


@pytest.mark.slow
def test_the_command_refuses_what_cannot_start_before_a_server_starts(clone):
    space = clone("unready")
    for words, reason in (
        (["-S", "llm_select.budget=9"], "uses the existing selection"),
        (["-S", "evaluate.epoch=9"], "evaluate.epoch is unknown; did you mean epochs?"),
        ([], "packages for fine-tuning" if MISSING else "evaluate.model is not set"),
    ):
        ended = space.call("evaluate", *words)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert reason in " ".join(ended.stderr.split())


@pytest.mark.slow
def test_an_evaluation_works_on_copies_in_its_own_workspace(clone, monkeypatch):
    space = clone("evaluated")
    stubs = space.root / "stubs"  # so that the extra seems to be installed
    for package in section.EXTRA:
        (stubs / package).mkdir(parents=True)
        (stubs / package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", f"{stubs}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    pool = as_pool(useful(8, 0))
    write_selections(space.root, pool, pool[:4], n_draws=3)
    (space.root / "test.jsonl").write_text('{"instruction": "Name it", "output": "It"}\n')
    (space.root / "model").mkdir()
    (space.root / "model" / "config.json").write_text("{}")
    sets = ["evaluate.model=model", "evaluate.test=test.jsonl", "evaluate.n_test=9"]
    before = (space.root / "params.yaml").read_bytes()
    with evaluation_workspace(space.root, sets) as made:
        graph = read_graph(made.path)
        assert [stage.name for stage in graph.stages] == ["questions", "tune", "judge", "score"]
        assert "choose" in made.stale
        outs = {out.path for stage in graph.stages for out in stage.outs}
        deps = {dep for stage in graph.stages for dep in stage.deps}
        assert [dep for dep in deps - outs if not (made.path / dep).exists()] == []
        selected = made.path / "data/choose/selected.parquet"
        assert not selected.is_symlink()
        assert selected.read_bytes() == (space.root / "data/choose/selected.parquet").read_bytes()
        assert "config.json 2 " in (made.path / "data/model.txt").read_text()
        with pytest.raises(Busy), evaluation_workspace(space.root, sets):
            pass
    assert (space.root / "params.yaml").read_bytes() == before
    sets.append("evaluate.arms=[random, within]")
    with (
        pytest.raises(DataError, match="the variant within has made no selection yet"),
        evaluation_workspace(space.root, sets),
    ):
        pass
    variant = place_of(space.root, space.root / ".selectllm/compare/within")
    shutil.copytree(space.root / "data/choose", variant / "data/choose")
    for mode, expected in (("within", []), ("paper", ["variant within"])):
        text = before.decode().replace("mode: within #", f"mode: {mode} #")
        (variant / "params.yaml").write_text(text)
        with evaluation_workspace(space.root, sets) as made:
            assert [name for name in made.stale if "variant" in name] == expected
            copied = read_table(made.path / "data/variants.parquet", SELECTIONS)
            assert copied["method"].to_pylist() == ["within"] * 4
            assert copied["id"].to_pylist() == [row["id"] for row in pool[:4]]


def test_the_graph_of_an_evaluation_is_packaged():
    assert (Path(section.__file__).parent / "graph.yaml").is_file()


NO_PRICE = {"input_cost_per_token": None, "output_cost_per_token": None}


def values_with(provider, monkeypatch, **route):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    mine = {"mine": provider.deployment() | route}
    return values(route="mine", n_seeds=2) | {"models": VALUES["models"] | mine}


@pytest.mark.parametrize(
    ("evaluate", "route", "reason"),
    [
        ({"route": "mien"}, {}, "evaluate.route: there is no route mien; did you mean mine?"),
        ({"route": "chatgpt"}, {}, "OPENAI_API_KEY is not set"),
        ({}, NO_PRICE, "the price of this model is unknown"),
    ],
)
def test_a_judge_that_cannot_be_called_or_paid_for_is_refused_before_hours_of_training(
    provider, monkeypatch, evaluate, route, reason
):
    values = values_with(provider, monkeypatch, **route)
    values["models"]["mine"] = {k: v for k, v in values["models"]["mine"].items() if v is not None}
    values["evaluate"] |= evaluate
    with pytest.raises(ParamError, match=reason.replace("?", r"\?")):
        ready_judge(values)
    assert not provider.calls


def test_the_plan_has_the_judges_calls_and_what_they_cost_at_most(provider, monkeypatch):
    values = values_with(provider, monkeypatch)
    route = ready_judge(values)
    runs = [ArmRun(arm, seed, ("a",)) for arm in ("selection", "random") for seed in (0, 1)]
    said = [{"role": "user", "content": "Ask"}]
    bench = AskedQuestion("b", None, [1], said, "And then?", is_graded=True)
    test = AskedQuestion("t", None, [1], said, None, is_graded=False)
    unasked = test._replace(prompt=None)
    setup = TuningSetup(
        section.check(values), 0, None, None, "", 0, runs, {}, [test, test, unasked, bench]
    )
    planned = judge_plan(route, setup, values)
    assert planned.calls == 2 * (2 * 2) + 4 * 2
    assert 0 < planned.usd[0] < planned.usd[1]
    assert planned.max_usd == values["evaluate"]["max_usd"]
    arm = {"name": "random", "n_models": 2, "n_done": 0, "n_records": 1, "n_steps": 1}
    whole = EvaluationPlan(
        **{"model": "m", "device": "cpu", "n_test": 1000, "n_answers": 4, "minutes": 1.0},
        **{"n_seeds": 3, "visible": 0.004, "judge": planned},
        arms=(PlannedArm(**arm, n_tokens=9, minutes=1.0),),
    )
    power, money = show_evaluation.plan_sentences(whole)
    assert power.startswith("With 3 seeds and 1,000 test records, a difference of about 0.0040")
    assert money.startswith("Judge mine (openai/fake): at most 16 calls, 0.00 to ")
    assert money.endswith("never more than 5 USD (evaluate.max_usd).")


def test_the_visible_difference_falls_with_records_and_seeds_and_needs_no_equal_change():
    params = section.check(values(n_seeds=4))
    example = tokenize(record("a", output="b c d"), WordTokenizer(), 64)
    setup = TuningSetup(params, 0, None, None, "", 0, [], {}, [asked(example)] * 100)
    tested = [example] * 50
    changes = np.random.default_rng(0).normal(-1, 0.4, 50)
    before = np.full(50, 8.0)
    found = visible_difference(before, before + changes, tested, setup)
    assert found == pytest.approx(2.8 * changes.std(ddof=1) / 4 / 400**0.5)
    assert visible_difference(before, before - 1, tested, setup) == pytest.approx(0, abs=1e-9)


def test_the_time_of_a_run_counts_its_tokens_losses_and_answers():
    params = section.check(values(epochs=2, n_answers=1))
    examples = {i: tokenize(record(i), WordTokenizer(), 16) for i in "ab"}  # 6 tokens each
    questions = [asked(examples["a"]), asked(examples["b"])._replace(prompt=None)]
    setup = TuningSetup(params, 0, None, None, "", 0, [], examples, questions)
    pace = Pace(per_token=0.5, per_loss=3.0, per_answer=10.0)
    assert run_seconds(ArmRun("x", 0, ("a", "b")), setup, pace) == 2 * 12 * 0.5 + 2 * 3 + 10
    assert run_seconds(ArmRun("untrained", 0, ()), setup, pace) == 2 * 3 + 10
