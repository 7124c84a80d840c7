"""Parameters, records, answers and a result of an evaluation."""

import numpy as np
import pyarrow as pa

from tasks.evaluate.score.answers import rows_of_models, score_arms
from tasks.evaluate.score.step import JudgedArms, evaluate
from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.prompts import AskedQuestion
from tasks.lib.core.params import read_params
from tasks.lib.documents.evaluation import JudgeUsage, TrainedArm, Training
from tests.conftest import PROJECT

VALUES = read_params(PROJECT / "params.yaml")


def values(**changes):
    return {**VALUES, "evaluate": VALUES["evaluate"] | changes}


def record(instruction, output="yes", source="test.jsonl:1", **context):
    empty = {"input": "", "system": None, "turns": None, "tools": None}
    return {"id": instruction, "instruction": instruction, "output": output, "source": source} | (
        empty | context
    )


class WordTokenizer:
    """A tokenizer with a token for each word."""

    chat_template = "yes"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt=False):
        text = "".join(f"<{m['role']}> {m['content']} <end> " for m in messages)
        return text + "<assistant> " * add_generation_prompt

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": text.split()}


def asked(example):
    """Return a test record that the models answer."""
    return AskedQuestion(example.id, example, example.prompt, [], None, is_graded=False)


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
    """Return the result of an evaluation in which these are the losses of the selection."""
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
