"""The judge of an evaluation: its calls, its cost, and the figures that its verdicts give."""

import json
import logging

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluate.judge.step import work
from tasks.evaluate.score.answers import rows_of_models
from tasks.evaluate.score.judge_scores import judged_duels, mt_bench_grades
from tasks.evaluate.score.outputs import write_outputs
from tasks.evaluate.score.page import page, shown_examples
from tasks.evaluate.tables import ANSWERS, COMPARISONS, GRADES, QUESTIONS
from tasks.lib.core.errors import LLMError
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.evaluation import Evaluation, JudgeUsage
from tests.behaviours import fails, says
from tests.conftest import PROJECT
from tests.evaluation import result
from tests.workspaces import StepWorkspace

EMPTY = {"input": "", "system": None, "turns": None, "tools": None, "extra": "{}"}


def question(n, of="test", **more):
    row = {"id": f"q{n}", "instruction": f"Ask {n}", "output": f"Reference {n}", "source": "t:1"}
    empty = {"category": None, "follow_up": None, "follow_up_reference": None}
    return {**EMPTY, **row, "set": of, **empty, **more}


def answer(arm, seed, id_, text, n_records=2, *, follow_up=None):
    model = {"arm": arm, "n_records": n_records, "seed": seed, "id": id_, "nll": 1.0}
    said = {"n_tokens": 2, "answer": text, "n_new_tokens": 1, "stopped": True}
    return {**model, **said, "follow_up_answer": follow_up}


BENCH = {"id": "mt_bench-101", "category": "math", "follow_up": "And then?"}
QUESTIONS_ASKED = [
    *(question(n) for n in range(4)),
    question(9, "mt_bench", **BENCH, follow_up_reference="Second reference"),
]
MODELS = {
    ("random", 2): ["bad answer", "bad answer", "same", "bad answer"],
    ("selection", 2): ["good answer", "good answer", "same", None],
    ("untrained", 0): ["bad answer 0"] * 4,
}


def table_of(models, seeds=(0, 1)):
    rows = []
    for (arm, n_records), texts in models.items():
        for seed in seeds if n_records else (0,):
            rows += [
                answer(arm, seed, f"q{n}", text, n_records)
                for n, text in enumerate(texts)
                if text is not None or arm != "selection"
            ]
            rows += [answer(arm, seed, "q3", None, n_records)] * (None in texts)
            rows.append(
                answer(arm, seed, BENCH["id"], f"{arm} one", n_records, follow_up=f"{arm} two")
            )
    return rows


def fair(call):
    """Prefer a good answer wherever it is shown; give a selection's answers to MT-Bench a 8."""
    text = call.messages[-1]["content"]
    if "Grade the assistant" in text:
        rating = 8 if "selection one" in text else 5
        return says(json.dumps({"reason": "so", "rating": rating}))(call)
    first, second = text.partition(" answer B -----")[::2]
    winner = "A" if "good answer" in first else "B" if "good answer" in second else "tie"
    return says(json.dumps({"winner": winner}))(call)


class JudgeWorkspace(StepWorkspace):
    def __init__(self, root, provider):
        (root / "dvc.yaml").write_bytes((PROJECT / "tasks/evaluate/graph.yaml").read_bytes())
        super().__init__(root)
        self.provider = provider
        self.write("questions/questions.parquet", QUESTIONS_ASKED, QUESTIONS)
        self.write("tune/answers.parquet", table_of(MODELS), ANSWERS)

    def run(self, route="mine", **evaluate):
        usual = {"max_attempts": 3, "timeout_s": 20.0, "concurrency": 4}
        models = {"mine": self.provider.deployment()}
        models["offline"] = {"model": "offline/typical", "schema": "never"}
        self.update(evaluate={"route": route, **evaluate}, llm_select=usual, models=models)
        Stage("judge", self.root).run(work)
        folder = self.root / "data/judge"
        return (
            read_table(folder / "comparisons.parquet", COMPARISONS),
            read_table(folder / "grades.parquet", GRADES),
            JudgeUsage.read(folder / "usage.json"),
        )


@pytest.fixture
def space(tmp_path, provider, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    provider.behave = fair
    return JudgeWorkspace(tmp_path, provider)


def points_of(comparisons):
    return {
        (row["arm"], row["seed"], row["id"]): (row["shown_first"], row["shown_second"])
        for row in comparisons.to_pylist()
    }


def test_each_pair_is_judged_in_both_orders_equal_answers_are_ties_and_all_is_paid_once(space):
    comparisons, grades, usage = space.run()
    points = points_of(comparisons)
    assert points["selection", 1, "q0"] == (1, 1)
    assert points["selection", 0, "q2"] == (0.5, 0.5)
    assert points["untrained", 0, "q1"] == (0.5, 0.5)
    assert not [key for key in points if key[0] == "random" or key[2] == BENCH["id"]]
    assert ("selection", 0, "q3") not in points  # the model was not asked
    ratings = {(r["arm"], r["seed"], r["turn"]): r["rating"] for r in grades.to_pylist()}
    assert ratings["selection", 0, 1] == ratings["selection", 1, 2] == 8
    assert ratings["random", 0, 1] == 5
    # Equal questions share a call: both seeds of an arm say the same here.
    assert usage.calls == len(space.provider.calls) < usage.n_questions == usage.n_answered
    assert usage.usd == pytest.approx(space.provider.usd)
    space.provider.behave = fails(500)
    assert space.run()[0].equals(comparisons)


def test_a_judge_that_always_prefers_the_first_answer_decides_nothing(space):
    space.provider.behave = says('{"winner": "A"}')
    comparisons, _, _ = space.run()
    assert points_of(comparisons)["selection", 0, "q0"] == (1, 0)
    models = rows_of_models(read_table(space.root / "data/tune/answers.parquet", ANSWERS))
    duels = judged_duels(comparisons, QUESTIONS_ASKED, models, 100, 0)
    assert [duel["judge"].win_rate.value for duel in duels.values()] == [0.5, 0.5]


def test_the_grader_sees_references_of_mathematics_and_both_turns_for_the_second_one(space):
    space.run()
    shown = [call.messages[-1]["content"] for call in space.provider.calls]
    graded = [text for text in shown if "Grade the assistant" in text and "random one" in text]
    first, second = sorted(graded, key=len)
    assert "Reference 9" in first
    assert "And then?" not in first
    for text in ("Ask 9", "random one", "And then?", "Second reference", "random two"):
        assert text in second


def test_the_spending_limit_ends_the_judging_and_a_higher_one_continues_it(space, caplog):
    _, grades, usage = space.run(max_usd=0.004)
    n_paid = len(space.provider.calls)
    assert 0 < usage.n_answered < usage.n_questions
    assert space.provider.usd <= 0.004
    assert None in grades["rating"].to_pylist()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "evaluate.max_usd (0.004 USD). Raise this limit" in warning
    usage = space.run(max_usd=5.0)[2]
    assert usage.n_answered == usage.n_questions
    assert len(space.provider.calls) == usage.calls
    assert n_paid < usage.calls


def test_a_question_without_a_verdict_is_left_out_and_reported(space, caplog):
    useless = says("I would rather not.")
    space.provider.behave = lambda call: (
        useless if "Ask 1" in call.messages[1]["content"] else fair
    )(call)
    comparisons, _, usage = space.run()
    assert points_of(comparisons)["selection", 0, "q1"] == (None, None)
    assert usage.n_answered < usage.n_questions
    assert "questions have no verdict; the win rates leave them out" in caplog.text
    models = rows_of_models(read_table(space.root / "data/tune/answers.parquet", ANSWERS))
    duels = judged_duels(comparisons, QUESTIONS_ASKED, models, 100, 0)
    assert [duel["judge"].n_questions for duel in duels.values()] == [2, 3]


def test_without_a_judge_nothing_is_sent_and_a_refusal_is_in_the_providers_words(space):
    comparisons, grades, usage = space.run(route="offline")
    assert (len(comparisons), len(grades), usage.n_questions) == (0, 0, 0)
    assert not space.provider.calls
    space.provider.behave = fails(401, "Incorrect API key provided")
    with pytest.raises(LLMError, match="Incorrect API key provided"):
        space.run()


def test_win_rates_and_grades_have_intervals_and_the_page_shows_them_with_examples(space):
    comparisons, grades, usage = space.run()
    rows = read_table(space.root / "data/tune/answers.parquet", ANSWERS)
    models = rows_of_models(rows)
    duels = judged_duels(comparisons, QUESTIONS_ASKED, models, 200, 0)
    (selection, untrained) = duels.values()
    assert selection["judge"].win_rate.value == pytest.approx((1 + 1 + 0.5) / 3)
    assert selection["judge"].win_rate.low < selection["judge"].win_rate.high
    assert untrained["judge"].n_questions == 4
    graded = mt_bench_grades(grades, list(models), 200, 0)
    means = [found.mean.value for found in graded.values()]
    assert means == [5, 8, 5]
    assert [found.difference and found.difference.value for found in graded.values()] == [
        None,
        3,
        0,
    ]
    found = result([3.0, 3.0, 3.0])
    random, ours = found.arms
    ours = ours.model_copy(
        update={"duels": ours.duels | selection, "mt_bench": list(graded.values())[1]}
    )
    found = Evaluation.model_validate(
        found.model_dump() | {"arms": [random.model_dump(), ours.model_dump()]}
    ).model_copy(update={"judge": usage})
    verdicts = {("selection", 2, 0, "q0"): 1.0}
    text = page(found, shown_examples(QUESTIONS_ASKED[:2], models, verdicts))
    for shown in ("What openai/fake says", "MT-Bench, 1 to 10", "judge: preferred to random"):
        assert shown in text
    assert "<svg" in text


def test_answers_are_written_in_the_layouts_of_both_official_tools(tmp_path):
    models = rows_of_models(pa.Table.from_pylist(table_of(MODELS), ANSWERS))
    extra = question(7, "alpaca_eval", category="koala")
    asked = [*QUESTIONS_ASKED, extra]
    for (arm, n_records), seeds in models.items():
        for seed, rows in enumerate(seeds):
            rows.append(answer(arm, seed, "q7", f"{arm} said", n_records))
    write_outputs(tmp_path, asked, models)
    outputs = json.loads((tmp_path / "alpaca_eval/selection-2-seed1.json").read_text())
    assert outputs == [
        {
            "dataset": "koala",
            "instruction": "Ask 7",
            "output": "selection said",
            "generator": "selection-2-seed1",
        }
    ]
    reference = json.loads((tmp_path / "alpaca_eval/reference.json").read_text())
    assert reference[0]["output"] == "Reference 7"
    (line,) = (tmp_path / "mt_bench/model_answer/random-2-seed0.jsonl").read_text().splitlines()
    line_of_one = json.loads(line)
    assert (line_of_one["question_id"], line_of_one["model_id"]) == (101, "random-2-seed0")
    assert line_of_one["choices"] == [{"index": 0, "turns": ["random one", "random two"]}]
    assert len(json.loads((tmp_path / "test/random-2-seed0.json").read_text())) == 4


def test_grades_need_every_turn_by_every_model():
    rows = [
        {"arm": arm, "n_records": 2, "seed": 0, "id": f"q{n}", "turn": turn, "rating": rating}
        for arm, ratings in (("random", [5, 6, None, 4]), ("selection", [7, 7, 8, 8]))
        for (n, turn), rating in zip([(1, 1), (1, 2), (2, 1), (2, 2)], ratings, strict=True)
    ]
    keys = list(rows_of_models(pa.Table.from_pylist(table_of(MODELS), ANSWERS)))
    graded = mt_bench_grades(pa.Table.from_pylist(rows, GRADES), keys, 100, 0)
    assert [found.n_graded for found in graded.values()] == [1, 1]
    assert np.isclose([g.first for g in graded.values()], [5, 7]).all()
