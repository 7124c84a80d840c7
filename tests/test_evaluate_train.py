"""`selectllm evaluate` on a tiny model, from a selection to its result; needs selectllm[train]."""

import json
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from tasks.evaluate.params import EXTRA, check
from tasks.evaluate.tune.language_model import Machine, load_model, load_tokenizer
from tasks.evaluate.tune.prompts import tokenize
from tasks.evaluate.tune.train import ADAPTER_FILE, Recipe, save_adapter, train
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import read_params
from tasks.lib.documents.evaluation import Evaluation, EvaluationPlan, Training
from tests.behaviours import says
from tests.conftest import FIRST_PARTY
from tests.fake_provider import FakeProvider
from tests.tiny_llama import as_pool, build_model, useful, useless, write_selections
from tests.workspaces import Workspace, lay_out, wait_until

MISSING = [package for package in EXTRA if find_spec(package) is None]
pytestmark = [
    pytest.mark.timeout(3600),  # for the fixture, on a busy machine
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"selectllm[train] lacks {', '.join(MISSING)}"),
]
SETTINGS = (
    *("evaluate.model=model", "evaluate.test=test.jsonl", "evaluate.n_test=40"),
    *("evaluate.n_answers=4", "evaluate.max_new_tokens=16", "evaluate.max_tokens=96"),
    *("evaluate.n_seeds=2", "evaluate.learning_rate=0.005", "evaluate.precision=float32"),
    *("evaluate.batch_records=8", "evaluate.arms=[selection, random, shortest, untrained]"),
    *("evaluate.budgets=[16, 48]", "evaluate.mt_bench=mt_bench", "evaluate.route=mine"),
)
BENCH = {"question_id": 111, "category": "math", "turns": ["What is 1 + 1?", "And 2 + 2?"]}
GPT4 = {"question_id": 111, "choices": [{"index": 0, "turns": ["2", "4"]}]}
TEST, CHOSEN, LEFT = (useful(120, 0)[a:b] for a, b in ((0, 40), (40, 88), (88, 120)))


@pytest.fixture(scope="module")
def space(tmp_path_factory, prefect_home, server):
    """A workspace with a tiny model, and a selection that is planted to be better than random."""
    root = tmp_path_factory.mktemp("evaluate")
    lay_out(root, *FIRST_PARTY)
    rows = [{"instruction": question, "output": answer} for question, answer in TEST]
    (root / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    noise = useless(200, 0)
    build_model(root / "model", [f"{q} {a}" for q, a in [*useless(200, 1), *LEFT[:8]]])
    pool, chosen = as_pool([*CHOSEN, *LEFT, *noise]), as_pool(CHOSEN)
    write_selections(root, pool, chosen, n_draws=3)
    (root / ".gitignore").write_text("/model\n")
    (root / "mt_bench/reference_answer").mkdir(parents=True)
    (root / "mt_bench/question.jsonl").write_text(json.dumps(BENCH))
    (root / "mt_bench/reference_answer/gpt-4.jsonl").write_text(json.dumps(GPT4))
    space = Workspace.commit(root, prefect_home)
    space.env.update(server.env)
    with FakeProvider(shorter_wins) as provider:
        space.set(*SETTINGS, f"models.mine={json.dumps(provider.deployment())}")
        yield space


def shorter_wins(call):
    """Prefer the shorter answer, and grade every answer alike."""
    text = call.messages[-1]["content"]
    if "Grade the assistant" in text:
        return says('{"reason": "so", "rating": 4}')(call)
    first, second = (text.partition(f" answer {x} -----")[2].partition("\n-----")[0] for x in "AB")
    return says(json.dumps({"winner": "A" if len(first) < len(second) else "B"}))(call)


@pytest.fixture(scope="module")
def evaluated(space):
    """The workspace after an evaluation that was killed in a training, and resumed."""
    process = space.start("evaluate")
    folder = space.root / ".selectllm/evaluate"
    checkpoints = "adapters/*.training/*/checkpoint-*/trainer_state.json"
    wait_until(
        lambda: any(folder.glob(checkpoints)) or process.poll() is not None,
        within_s=900,
        poll_s=0.05,
    )
    for ours in space.processes():
        with suppress(psutil.NoSuchProcess):
            ours.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not space.processes(), within_s=60, poll_s=0.1)
    assert any(folder.glob(checkpoints))
    answers = folder / "answers"
    kept = {path.name: path.stat().st_mtime_ns for path in answers.glob("*.parquet")}
    done = space.selectllm("evaluate", "--json")
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in answers.glob("*")}.items()
    return json.loads(done.stdout)


def test_a_selection_that_is_planted_to_be_better_is_found_better_and_a_random_one_is_not(
    space, evaluated
):
    result = Evaluation.read(space.root / "data/evaluate/result.json")
    arms = {arm.name: arm for arm in result.arms}
    assert list(arms) == [
        *(f"{arm}, {n} records" for arm in ("selection", "random", "shortest") for n in (16, 48)),
        "untrained",
    ]
    selection, random = arms["selection, 48 records"], arms["random, 48 records"]
    assert selection.verdict() == "better than random"
    assert selection.figures["loss"].value < random.figures["loss"].value
    assert arms["shortest, 48 records"].verdict() == "no different from random"
    assert arms["untrained"].verdict() == "worse than random"
    assert (random.verdict(), result.n_test, result.n_answers) == ("", 40, 4)
    assert evaluated["arms"][1]["differences"]["loss"]["high"] < 0
    page = (space.root / "data/evaluate/index.html").read_text()
    for shown in ("better than random", "by number of training records", "Answers side by side"):
        assert shown in page


def test_the_judge_compares_and_grades_within_its_limit(space, evaluated):
    result = Evaluation.read(space.root / "data/evaluate/result.json")
    judge = result.judge
    assert judge.n_answered == judge.n_questions > 0
    assert 0 < judge.usd < 5
    graded = [arm.mt_bench for arm in result.arms]
    assert {(grades.n_graded, grades.mean.value, grades.second) for grades in graded} == {(1, 4, 4)}
    won = result.arms[0].duels["judge"]
    assert won.n_questions == 4
    assert won.win_rate.low <= won.win_rate.value <= won.win_rate.high
    names = {path.name for path in (space.root / "data/evaluate/outputs").rglob("*.json*")}
    assert {"reference.json", "selection-48-seed1.json", "random-16-seed0.jsonl"} <= names


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_shows_the_evaluation_with_a_run_for_each_arm(space, evaluated):
    parent, *arms = space.logged_runs()
    assert parent.info.run_name == "evaluate model"
    assert parent.data.params["evaluate.batch_records"] == "8"
    assert parent.data.metrics["selection 48 records/against_random.loss.high"] < 0
    assert len({run.info.run_name for run in arms}) == 7
    assert {run.data.tags["mlflow.parentRunId"] for run in arms} == {parent.info.run_id}
    assert {"result.json", "index.html"} <= space.artifacts(parent)


def test_each_model_has_the_same_number_of_records_and_steps(space, evaluated):
    runs = Training.read(space.root / "data/evaluate/training.json").runs
    trained = [run for run in runs if run.arm != "untrained"]
    assert {(run.n_records, run.n_steps) for run in trained} == {(16, 6), (48, 18)}
    assert [(run.n_records, run.adapter) for run in runs if run.arm == "untrained"] == [(0, "")]
    # Two budgets and seeds of three arms, of which two share the records of their first seed.
    assert len({run.adapter for run in trained}) == 10


def test_the_same_seed_gives_the_same_bytes_of_the_adapter_and_the_answers(space, evaluated):
    files = [space.root / "data/evaluate" / name for name in ("training.json", "answers.parquet")]
    before = [file.read_bytes() for file in files]
    for folder in ("adapters", "answers", "workspace"):
        shutil.rmtree(space.root / ".selectllm/evaluate" / folder)
    shutil.rmtree(space.root / ".dvc/cache")
    space.selectllm("evaluate")
    assert [file.read_bytes() for file in files] == before


def test_a_second_evaluation_is_cached_and_the_plan_has_nothing_to_do(space, evaluated):
    assert "would" not in space.selectllm("evaluate").stdout
    planned = EvaluationPlan.parse(space.selectllm("evaluate", "--plan", "--json").stdout, "plan")
    assert [(arm.n_models, arm.n_done) for arm in planned.arms] == [(2, 2)] * 6 + [(1, 1)]
    assert (planned.minutes, planned.visible) == (0, None)
    # Two orders of 4 answers by 9 models that have a rival, and two turns of 13 models.
    assert planned.judge.calls == 2 * 4 * 9 + 2 * 13


def test_a_plan_measures_the_time_of_the_models_that_are_missing(space, evaluated):
    words = ("evaluate", "--plan", "--json", "-S", "evaluate.epochs=4")
    planned = EvaluationPlan.parse(space.selectllm(*words).stdout, "plan")
    assert [(arm.n_done, arm.n_steps) for arm in planned.arms] == [(0, 8), (0, 24)] * 3 + [(1, 0)]
    assert 0 < planned.minutes < 60
    assert planned.arms[-1].minutes == 0
    assert 0 < planned.visible < 1


def test_other_commands_do_not_see_the_evaluation(space, evaluated):
    assert "tune" not in space.dvc("status").stdout
    assert space.run("git", "status", "--porcelain", "dvc.yaml", "tasks").stdout == ""


def test_a_model_that_cannot_be_used_is_refused_before_anything_is_trained(space):
    base = space.root / "base"
    shutil.copytree(space.root / "model", base, dirs_exist_ok=True)
    (base / "chat_template.jinja").unlink()
    for model, reason in (("base", "has no chat template"), ("nowhere", "cannot be loaded")):
        ended = space.selectllm("evaluate", "-S", f"evaluate.model={model}", check=False)
        assert ended.returncode == 2
        assert reason in " ".join(ended.stderr.split()), ended.stderr


class Trainer:
    """Trains the tiny model in this process, and counts steps and attempts to load it."""

    def __init__(self, space, device="cpu"):
        self.model = str(space.root / "model")
        self.tokenizer = load_tokenizer(self.model)
        params = check(read_params(space.root / "params.yaml"))
        machine = Machine(device, is_bfloat16=False)
        self.recipe = Recipe(params, machine, self.load, self.tokenizer, self.advance)
        self.n_steps = self.n_loads = 0
        self.stop_at, self.n_failures = 0, 0

    def load(self):
        import torch  # noqa: PLC0415  takes seconds

        self.n_loads += 1
        if self.n_loads <= self.n_failures:
            raise torch.OutOfMemoryError
        return load_model(self.model, Machine("cpu", is_bfloat16=False))

    def advance(self):
        self.n_steps += 1
        if self.n_steps == self.stop_at:
            raise KeyboardInterrupt

    def __call__(self, n_records, **changes):
        """Train, and return the number of steps and the bytes of the adapter."""
        self.n_steps = self.n_loads = 0
        examples = [tokenize(row, self.tokenizer, 96) for row in as_pool(CHOSEN[:n_records])]
        model = train(examples, 0, self.recipe._replace(**changes))
        with TemporaryDirectory() as folder:
            save_adapter(model, Path(folder) / "adapter")
            return self.n_steps, (Path(folder) / "adapter" / ADAPTER_FILE).read_bytes()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of TRL about transformers
def test_a_training_that_was_stopped_continues_after_its_last_epoch_to_the_same_bytes(
    space, tmp_path
):
    trainer = Trainer(space)
    trainer.stop_at = 5  # of 6: 2 in each epoch
    with pytest.raises(KeyboardInterrupt):
        trainer(16, checkpoints=tmp_path / "state")
    half = tmp_path / "state/1/checkpoint-6"
    half.mkdir()  # a process that was killed while it saved leaves such a folder
    trainer.stop_at = 0
    n_steps, resumed = trainer(16, checkpoints=tmp_path / "state")
    assert n_steps == 2 + 4  # those of the two complete epochs are counted at once
    assert resumed == trainer(16)[1]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of TRL about transformers
@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")
def test_if_a_gpu_has_too_little_memory_fewer_records_go_through_it_at_once(space, caplog):
    trainer = Trainer(space, device="cuda")  # there is none here, so the processor computes
    trainer.n_failures = 2
    assert trainer(8)[0] == 3  # a step still has 8 records
    said = [r.getMessage() for r in caplog.records if "out of memory" in r.getMessage()]
    assert said == [f"tune: out of memory; trying {n} records at once" for n in (4, 2)]
    trainer.n_failures = 9
    with pytest.raises(DataError, match="too little memory to train on one record at a time"):
        trainer(8)


def test_without_a_selection_the_error_says_how_to_make_one(space):
    selected = space.root / "data/choose/selected.parquet"
    selected.rename(selected.with_suffix(".kept"))
    ended = space.selectllm("evaluate", check=False)
    selected.with_suffix(".kept").rename(selected)
    assert ended.returncode == 2
    assert "there is no selection to evaluate yet" in " ".join(ended.stderr.split())
