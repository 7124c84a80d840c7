"""What an evaluation computes without a model: its checks, its arms, its figures and its page."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import minimize

from flows.cli import show_evaluation
from flows.dvc.evaluation import evaluation_workspace
from flows.dvc.variants import place_of
from tasks.evaluate import params as section
from tasks.evaluate.plan import Pace, run_seconds, visible_difference
from tasks.evaluate.score.answers import rows_of_models, score_arms
from tasks.evaluate.score.bootstrap import NestedBootstrap, Ratio
from tasks.evaluate.score.page import page
from tasks.evaluate.score.step import JudgedArms, evaluate
from tasks.evaluate.score.win_rate import duel, length_controlled, wins
from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.language_model import Machine, load_model
from tasks.evaluate.tune.prompts import AskedQuestion, messages, require_chat_template, tokenize
from tasks.evaluate.tune.setup import TuningSetup
from tasks.evaluate.tune.step import is_done
from tasks.evaluate.tune.store import EvaluationStore, result_key
from tasks.evaluate.tune.training_runs import ArmRun, Sources, arm_runs
from tasks.lib.core.dvc_yaml import read_graph
from tasks.lib.core.errors import Busy, DataError, ParamError
from tasks.lib.core.params import read_params
from tasks.lib.core.schemas import SELECTIONS
from tasks.lib.core.tables import read_table
from tasks.lib.documents.evaluation import Evaluation, JudgeUsage, TrainedArm, Training
from tests.conftest import PROJECT
from tests.tiny_llama import as_pool, useful, write_selections

MISSING = [package for package in section.EXTRA if find_spec(package) is None]
VALUES = read_params(PROJECT / "params.yaml")


def values(**changes):
    return {**VALUES, "evaluate": VALUES["evaluate"] | changes}


def record(instruction, output="yes", source="test.jsonl:1", **context):
    empty = {"input": "", "system": None, "turns": None, "tools": None}
    return {"id": instruction, "instruction": instruction, "output": output, "source": source} | (
        empty | context
    )


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


# The arms

SOURCES = Sources(
    ("a", "b"), ("a", "b", "c"), {"random": [["a", "c"], ["b", "c"]], "longest": [["c", "a"]]}
)


def test_each_seed_of_random_has_its_own_records_and_the_untrained_model_runs_once():
    params = section.check(
        values(arms=["selection", "random", "untrained", "whole", "longest"], n_seeds=2)
    )
    assert arm_runs(params, SOURCES) == [
        ArmRun("selection", 0, ("a", "b")),
        ArmRun("selection", 1, ("a", "b")),
        ArmRun("random", 0, ("a", "c")),
        ArmRun("random", 1, ("b", "c")),
        ArmRun("untrained", 0, ()),
        ArmRun("whole", 0, ("a", "b", "c")),
        ArmRun("whole", 1, ("a", "b", "c")),
        ArmRun("longest", 0, ("c", "a")),
        ArmRun("longest", 1, ("c", "a")),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_seeds": 3}, "found 2 selections of the arm random, expected 3"),
        ({"n_seeds": 1, "arms": ["random", "medoids"]}, "arm medoids, expected at least one"),
        (
            {"n_seeds": 2, "budgets": [1, 5]},
            "budgets contains 5, but the selection has only 2 records",
        ),
    ],
)
def test_an_arm_without_enough_selections_is_refused(changes, reason):
    with pytest.raises(DataError, match=reason):
        arm_runs(section.check(values(**changes)), SOURCES)


def test_every_method_has_the_number_of_records_of_a_partial_selection():
    params = section.check(values(arms=["random"], n_seeds=2))
    runs = arm_runs(params, SOURCES._replace(selected=("a",)))
    assert [run.ids for run in runs] == [("a",), ("b",)]
    with pytest.raises(DataError, match="arm random has 2 records, but 3 are needed"):
        arm_runs(params, SOURCES._replace(selected=("a", "b", "c")))


def test_each_budget_trains_on_the_first_records_of_every_selection():
    params = section.check(values(arms=["untrained", "random", "whole"], n_seeds=2, budgets=[2, 1]))
    assert [(run.arm, run.seed, "".join(run.ids)) for run in arm_runs(params, SOURCES)] == [
        *[("untrained", 0, ""), ("random", 0, "a"), ("random", 1, "b"), ("random", 0, "ac")],
        *[("random", 1, "bc"), ("whole", 0, "abc"), ("whole", 1, "abc")],
    ]


# The prompts


class WordTokenizer:
    """A tokenizer with a token for each word."""

    chat_template = "yes"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt=False):
        text = "".join(f"<{m['role']}> {m['content']} <end> " for m in messages)
        return text + "<assistant> " * add_generation_prompt

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": text.split()}


def test_a_long_prompt_loses_its_middle_and_never_its_answer():
    long = record("q " * 50, output="a b c")
    short = tokenize(record("q", output="a b"), WordTokenizer(), 16)
    assert short.prompt == ["<user>", "q", "<end>", "<assistant>"]
    assert (short.answer, short.is_clipped) == (["a", "b", "<end>"], False)
    example = tokenize(long, WordTokenizer(), 16)
    assert len(example.prompt) + len(example.answer) == 16
    assert (example.prompt[0], example.prompt[-1]) == ("<user>", "<assistant>")
    assert (example.answer, example.is_clipped) == (["a", "b", "c", "<end>"], True)
    endless = tokenize(record("q " * 50, output="a " * 99), WordTokenizer(), 16)
    assert (len(endless.prompt), endless.answer) == (4, ["a"] * 12)


def test_the_prompt_has_the_context_of_a_record():
    turns = json.dumps([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}])
    asked = messages(record("Sum up", input="text", system="Be brief", turns=turns))
    assert [(m["role"], m["content"]) for m in asked] == [
        ("system", "Be brief"),
        ("user", "hi"),
        ("assistant", "ho"),
        ("user", "Sum up\n\ntext"),
    ]


def test_a_model_without_a_chat_template_and_a_record_it_cannot_render_are_refused():
    class Base(WordTokenizer):
        chat_template = None

        def apply_chat_template(self, messages, **_):
            raise ValueError("roles must alternate")

    with pytest.raises(ParamError, match="the tokenizer of m has no chat template"):
        require_chat_template(Base(), "m")
    with pytest.raises(DataError, match="cannot render the record q: roles must alternate"):
        tokenize(record("q"), Base(), 16)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "reason", "fix"),
    [
        (None, "cannot be loaded", "the folder of a causal language model"),
        ({"model_type": "llama"}, "cannot be loaded", "the folder of a causal language model"),
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}},
            "it needs code from its repository, which is never run here",
            "Use a model whose architecture is part of transformers",
        ),
    ],
)
def test_a_folder_that_is_no_model_or_needs_its_own_code_is_refused(tmp_path, config, reason, fix):
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ParamError) as caught:
        load_model(str(tmp_path), Machine("cpu", is_bfloat16=False))
    assert reason in caught.value.what
    assert fix in caught.value.fix


# The store and the plan


def asked(example):
    """Return a test record that the models answer."""
    return AskedQuestion(example.id, example, example.prompt, [], None, is_graded=False)


def test_stored_answers_are_complete_or_absent(tmp_path):
    store = EvaluationStore(tmp_path)
    assert store.answers("k") is None
    (tmp_path / "answers" / "k.part").write_text("half")  # a killed run leaves this
    assert store.answers("k") is None
    store.put_answers("k", answers("selection", 0, [1.0], ["yes"]))
    assert store.answers("k").num_rows == 1
    assert result_key(a=1, b=[2]) == result_key(b=[2], a=1) != result_key(a=1, b=[3])


def test_a_run_is_done_if_its_adapter_and_its_answers_are_stored(tmp_path):
    params, store = section.check(values()), EvaluationStore(tmp_path)
    examples = {i: tokenize(record(i), WordTokenizer(), 16) for i in "ab"}
    setup = TuningSetup(params, 0, None, None, "", 0, [], examples, [asked(examples["b"])])
    trained, untrained = ArmRun("x", 0, ("a",)), ArmRun("untrained", 0, ())
    for run in (trained, untrained):
        assert not is_done(run, setup, store)
        store.put_answers(setup.answers_key(run), answers(run.arm, 0, [1.0], ["yes"]))
    assert is_done(untrained, setup, store)
    assert not is_done(trained, setup, store)  # a user has deleted the adapter
    store.adapter(setup.adapter_key(trained)).mkdir()
    assert is_done(trained, setup, store)
    other = setup._replace(params=params.model_copy(update={"epochs": 9}))
    assert not is_done(trained, other, store)
    assert is_done(untrained, other, store)


def test_a_disk_that_is_too_small_for_the_adapters_is_named_before_training(tmp_path):
    store = EvaluationStore(tmp_path)
    store.require_space(0, 10**18)
    store.require_space(3, 1)
    with pytest.raises(DataError, match=r"MB left, but the adapters need 9,000,000,000,000 MB"):
        store.require_space(3, 10**18)


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


# The figures


def test_a_figure_is_the_ratio_of_sums_and_its_interval_contains_it():
    rng = np.random.default_rng(0)
    sums, sizes = rng.gamma(2, 10, (3, 400)), rng.integers(1, 20, 400).astype(float)
    figure = Ratio("a", sums, sizes)
    assert figure.value == pytest.approx(sums.sum() / (3 * sizes.sum()))
    estimate = NestedBootstrap(400, 500, 0).estimate(figure)
    assert estimate.low < estimate.value < estimate.high
    assert NestedBootstrap(400, 500, 0).estimate(figure) == estimate
    assert NestedBootstrap(400, 500, 1).estimate(figure) != estimate


def test_the_interval_of_a_mean_agrees_with_theory():
    values = np.random.default_rng(1).normal(5, 2, (1, 900))
    estimate = NestedBootstrap(900, 2000, 0).estimate(Ratio("a", values, np.ones(900)))
    standard_error = values.std(ddof=1) / 30
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)


def test_a_difference_is_paired_by_record_and_gains_from_it():
    hardness = np.random.default_rng(2).normal(0, 10, (1, 500))
    ones = np.ones(500)
    a, b = Ratio("a", hardness - 0.1, ones), Ratio("b", hardness, ones)
    difference = NestedBootstrap(500, 500, 0).difference(a, b)
    assert (difference.value, difference.low, difference.high) == pytest.approx((-0.1,) * 3)
    assert difference.visible == pytest.approx(0, abs=1e-9)


def test_seeds_that_disagree_widen_the_interval():
    agreeing = np.zeros((4, 300)) + 1.0
    disagreeing = agreeing + np.array([[-0.5], [0.5], [-0.5], [0.5]])
    widths = []
    for sums in (agreeing, disagreeing):
        found = NestedBootstrap(300, 500, 0).estimate(Ratio("a", sums, np.ones(300)))
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(0)
    assert widths[1] > 0.5


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
def test_the_spread_of_few_seeds_is_not_underestimated(n_seeds):
    by_seed = np.linspace(-1, 1, n_seeds)[:, None] * np.ones(50)
    draws = NestedBootstrap(50, 4000, 0).draws(Ratio("a", by_seed, np.ones(50)))
    expected = by_seed[:, 0].std(ddof=1) / n_seeds**0.5
    assert draws.std() == pytest.approx(expected, rel=0.05)


def test_a_difference_that_is_not_there_is_found_in_about_one_in_twenty_cases():
    rng = np.random.default_rng(3)
    found = 0
    for seed in range(200):
        a, b = (Ratio(name, rng.normal(0, 1, (1, 100)), np.ones(100)) for name in "ab")
        difference = NestedBootstrap(100, 200, seed).difference(a, b)
        found += not difference.low <= 0 <= difference.high
    assert 2 <= found <= 24  # 10 expected


# The duels


def made_up_duels(n, at_equal_length, for_length, seed=0):
    """Return wins and length differences of a known model."""
    rng = np.random.default_rng(seed)
    longer_by = rng.normal(0.5, 1.0, n)
    logits = at_equal_length + for_length * np.tanh(longer_by / longer_by.std(ddof=1))
    return (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(float), longer_by


def fitted_by_scipy(won, longer_by, weights):
    """Return the length-controlled win rate by scipy's minimizer."""
    scaled = np.tanh(longer_by / longer_by.std(ddof=1))

    def loss(theta):
        logits = theta[0] + theta[1] * scaled
        return (weights * (np.logaddexp(0, logits) - won * logits)).sum()

    return 1 / (1 + np.exp(-minimize(loss, np.zeros(2)).x[0]))


@pytest.mark.parametrize("n", [40, 300, 2000])
@pytest.mark.parametrize(("at_equal_length", "for_length"), [(0, 0), (-0.3, 1.5), (0.8, -1)])
def test_the_length_controlled_win_rate_is_the_fit_of_maximum_likelihood(
    n, at_equal_length, for_length
):
    won, longer_by = made_up_duels(n, at_equal_length, for_length)
    won[:5] = 0.5  # ties
    weights = np.random.default_rng(1).integers(0, 4, n).astype(float)
    for counts in (np.ones(n), weights):
        ours = length_controlled(won, longer_by, counts)
        assert ours == pytest.approx(fitted_by_scipy(won, longer_by, counts), abs=1e-3)


def test_the_length_controlled_win_rate_finds_the_known_value_where_the_raw_one_does_not():
    won, longer_by = made_up_duels(20_000, at_equal_length=-0.3, for_length=1.5)
    assert length_controlled(won, longer_by) == pytest.approx(1 / (1 + np.exp(0.3)), abs=0.012)
    assert won.mean() > 0.5


def test_the_length_controlled_win_rate_of_the_rival_is_the_rest():
    won, longer_by = made_up_duels(300, 0.4, 1.0)
    ours, theirs = length_controlled(won, longer_by), length_controlled(1 - won, -longer_by)
    assert ours + theirs == pytest.approx(1)


@pytest.mark.parametrize(("won", "rate"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_the_length_controlled_win_rate_is_finite_without_a_single_loss_or_length(won, rate):
    for longer_by in (np.arange(30.0), np.zeros(30)):
        found = length_controlled(np.full(30, won), longer_by)
        assert found == pytest.approx(rate, abs=0.01)


def test_models_with_other_numbers_of_seeds_meet_in_turn_and_a_tie_counts_half():
    ours, theirs = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 2.0, 4.0], [2.0, 2.0, 2.0]])
    assert wins(ours, theirs).tolist() == [[1, 0.5, 0], [0, 0.5, 1]]


def test_the_interval_of_a_win_rate_stays_between_never_and_always():
    won = np.array([[1.0] * 10, [0.0] * 10])
    rate = duel("a", won, NestedBootstrap(10, 200, 0)).win_rate
    assert (rate.low, rate.value, rate.high) == (0, 0.5, 1)


# The result


def answers(arm, seed, losses, texts):
    """Return the answers of one model to questions with references of 2 tokens."""
    texts = [*texts, *[None] * (len(losses) - len(texts))]
    return [
        {
            **{"arm": arm, "n_records": 5, "seed": seed, "id": str(i), "nll": loss},
            **{"n_tokens": 2, "follow_up_answer": None},
            **{"answer": text, "n_new_tokens": text and 3, "stopped": text and text != "a"},
        }
        for i, (loss, text) in enumerate(zip(losses, texts, strict=True))
    ]


def result(selection, n_answers=2, seeds=(0, 1)):
    texts = ["one two", "three four"][:n_answers]
    rows = [row for seed in seeds for row in answers("random", seed, [4.0, 4.0, 4.0], texts)]
    rows += [row for seed in seeds for row in answers("selection", seed, selection, texts)]
    models = rows_of_models(pa.Table.from_pylist(rows, ANSWERS))
    arms = score_arms(models, ["one two", "three", "four"])
    counts = {"n_records": 5, "n_steps": 3, "n_tokens": 70, "n_answer_tokens": 9, "n_clipped": 0}
    runs = tuple(
        TrainedArm(arm=arm, seed=seed, adapter="", **counts)
        for arm in ("random", "selection")
        for seed in seeds
    )
    judged = JudgedArms({}, {}, JudgeUsage.none("offline", "offline/typical"))
    training = Training(model="m<b>", runs=runs)
    return evaluate(arms, np.full(3, 2.0), training, judged, (100, 0))


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ([3.0, 3.0, 3.0], "better than random"),
        ([5.0, 5.0, 5.0], "worse than random"),
        ([3.0, 4.0, 5.0], "no different from random"),
    ],
)
def test_the_verdict_follows_from_the_interval_of_the_difference(losses, verdict):
    random, selection = result(losses).arms
    assert (random.verdict(), selection.verdict()) == ("", verdict)
    assert selection.figures["loss"].value == pytest.approx(sum(losses) / 6)


def test_with_one_seed_the_verdict_the_page_and_the_terminal_say_so():
    one, two = (result([3.0, 3.0, 3.0], seeds=seeds) for seeds in ((0,), (0, 1)))
    assert one.verdict(one.arms[1]) == "better than random with this seed"
    assert two.verdict(two.arms[1]) == "better than random"
    assert one.verdict(one.arms[0]) == ""
    assert "other seeds may give another verdict" in page(one)
    assert "other seeds" not in page(two)
    said = [list(show_evaluation.sentences(found)) for found in (one, two)]
    assert [len(sentences) for sentences in said] == [2, 1]
    assert said[1][0].startswith("selection: better than random by held-out loss, -0.5000 nats")


def test_the_result_has_the_numbers_of_each_arm_and_the_figures_of_its_answers():
    random, selection = result([3.0, 3.0, 3.0]).arms
    assert (selection.n_seeds, selection.n_records, selection.n_steps) == (2, 5, 3)
    assert random.figures["rouge_l"].value == pytest.approx((1 + 2 / 3) / 2)
    assert random.figures["words"].value == 2
    assert random.figures["stopped"].value == 1
    assert selection.differences["rouge_l"].value == 0
    assert selection.duels["loss"].win_rate.value == 1
    assert selection.duels["rouge_l"].length_controlled.value == pytest.approx(0.5)
    assert random.duels == {}


def test_an_evaluation_may_have_losses_only(tmp_path):
    found = result([3.0, 3.0, 3.0], n_answers=0)
    assert set(found.arms[0].figures) == {"loss"}
    path = tmp_path / "result.json"
    found.write(path)
    assert Evaluation.read(path) == found
    assert "own answers" not in page(found)


def test_the_page_shows_every_arm_and_escapes_the_name_of_the_model():
    text = page(result([3.0, 3.0, 3.0]))
    assert "better than random" in text
    assert "m&lt;b&gt;" in text
    assert "m<b>" not in text
    assert text.count("<tr><td>") == 4


def test_the_graph_of_an_evaluation_is_packaged():
    assert (Path(section.__file__).parent / "graph.yaml").is_file()
