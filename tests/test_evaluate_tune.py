"""What an evaluation trains: its arms, its prompts, and what it stores of each run."""

import json

import pytest

from tasks.evaluate import params as section
from tasks.evaluate.tune.language_model import Machine, load_model
from tasks.evaluate.tune.prompts import messages, require_chat_template, tokenize
from tasks.evaluate.tune.setup import TuningSetup
from tasks.evaluate.tune.step import is_done
from tasks.evaluate.tune.store import EvaluationStore, result_key
from tasks.evaluate.tune.training_runs import ArmRun, Sources, arm_runs
from tasks.lib.core.errors import DataError, ParamError
from tests.evaluation import WordTokenizer, answers, asked, record, values

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
