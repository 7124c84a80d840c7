"""Fine-tune the model on each arm, and have it answer the test records."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.language_model import free_memory
from tasks.evaluate.tune.prompts import AskedQuestion, prompt_tokens
from tasks.evaluate.tune.respond import OwnAnswer, Respondent, reference_losses, replies
from tasks.evaluate.tune.setup import TuningSetup, prepare
from tasks.evaluate.tune.store import EvaluationStore
from tasks.evaluate.tune.train import n_steps, save_adapter, train
from tasks.evaluate.tune.training_runs import ArmRun
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import Progress, log
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import write_table
from tasks.lib.documents.evaluation import TrainedArm, Training

FOLDER = "evaluate"  # in the state folder


def work(stage: Stage) -> None:
    """Write the losses and answers of all models, and how each was trained."""
    setup = prepare(stage)
    store = EvaluationStore(stage.state / FOLDER)
    todo = [run for run in setup.runs if not is_done(run, setup, store)]
    if len(todo) < len(setup.runs):
        log.info("tune: %s of %s models are done", len(setup.runs) - len(todo), len(setup.runs))
    missing = {setup.adapter_key(run) for run in todo if run.ids}
    n_missing = sum(not store.adapter(key).exists() for key in missing)
    store.require_space(n_missing, setup.adapter_bytes)
    progress = stage.progress(sum(units(run, setup) for run in todo), "steps and answers")
    for run in todo:
        _evaluate(run, setup, store, progress)
    answers = [store.answers(setup.answers_key(run)) for run in setup.runs]
    table = pa.concat_tables([table for table in answers if table is not None])
    write_table(stage.out("tune/answers.parquet"), table, ANSWERS)
    trained = tuple(trained_arm(run, setup, store) for run in setup.runs)
    Training(model=setup.model, runs=trained).write(stage.out("tune/training.json"))


def is_done(run: ArmRun, setup: TuningSetup, store: EvaluationStore) -> bool:
    """Return whether a run's adapter, if it has one, and its answers are stored."""
    has_adapter = not run.ids or store.adapter(setup.adapter_key(run)).exists()
    return has_adapter and store.answers(setup.answers_key(run)) is not None


def units(run: ArmRun, setup: TuningSetup) -> int:
    """Return the total number of steps, losses and answers in a run."""
    return n_steps(len(run.ids), setup.params) + len(setup.with_loss) + setup.n_answers


def trained_arm(run: ArmRun, setup: TuningSetup, store: EvaluationStore) -> TrainedArm:
    """Return a description of a trained model."""
    examples = setup.training(run)
    return TrainedArm(
        arm=run.arm,
        seed=run.seed,
        n_records=len(examples),
        n_steps=n_steps(len(examples), setup.params),
        n_tokens=sum(len(e.prompt) + len(e.answer) for e in examples),
        n_answer_tokens=sum(len(e.answer) for e in examples),
        n_clipped=sum(e.is_clipped for e in examples),
        adapter=store.adapter_hash(setup.adapter_key(run)) if examples else "",
    )


def _evaluate(run: ArmRun, setup: TuningSetup, store: EvaluationStore, progress: Progress) -> None:
    """Train a model unless its adapter is stored, and store its losses and answers."""
    folder = store.adapter(setup.adapter_key(run))
    if run.ids and not folder.exists():
        checkpoints = store.checkpoints(setup.adapter_key(run))
        recipe = setup.recipe(progress.advance)._replace(checkpoints=checkpoints)
        save_adapter(train(setup.training(run), setup.seed + run.seed, recipe), folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        free_memory()
    elif run.ids:
        progress.advance(n_steps(len(run.ids), setup.params))
    # The adapter is read from disk even if it is new, so that a resumed run gives the same answers.
    model = _with_adapter(setup.load(), folder) if run.ids else setup.load()
    respondent = Respondent(model.eval(), setup.tokenizer, setup.machine, progress.advance)
    store.put_answers(setup.answers_key(run), respond(respondent, run, setup))
    del model, respondent
    free_memory()
    log.info("tune: %s, %s records, seed %s is done", run.arm, f"{len(run.ids):,}", run.seed)


def respond(respondent: Respondent, run: ArmRun, setup: TuningSetup) -> list[dict[str, Any]]:
    """Return a row of the answers table for each question, in order.

    Raises:
        DataError: The GPU has too little memory.
    """
    import torch  # noqa: PLC0415  takes seconds

    asked = [question for question in setup.questions if question.prompt is not None]
    try:
        losses = dict(
            zip(
                (example.id for example in setup.with_loss),
                reference_losses(respondent, setup.with_loss),
                strict=True,
            )
        )
        first = _answers(respondent, {q.id: q.prompt or [] for q in asked}, setup)
        second = _answers(respondent, _second_turns(asked, first, setup), setup)
    except torch.OutOfMemoryError:
        raise DataError(
            "the GPU has too little memory for the answers to the test records",
            where="evaluate.model",
            fix="Use a smaller model, or lower evaluate.max_tokens and evaluate.max_new_tokens.",
        ) from None
    return [
        {
            "arm": run.arm,
            "n_records": len(run.ids),
            "seed": run.seed,
            "id": question.id,
            "nll": losses.get(question.id),
            "n_tokens": len(question.example.answer) if question.example else 0,
            **_columns(first.get(question.id)),
            "follow_up_answer": second[question.id].text if question.id in second else None,
        }
        for question in setup.questions
    ]


def _answers(
    respondent: Respondent, prompts: Mapping[str, list[int]], setup: TuningSetup
) -> dict[str, OwnAnswer]:
    """Return the model's answer to each prompt, by the id of its question."""
    found = replies(respondent, list(prompts.values()), setup.params.max_new_tokens)
    return dict(zip(prompts, found, strict=True))


def _second_turns(
    asked: Sequence[AskedQuestion], first: Mapping[str, OwnAnswer], setup: TuningSetup
) -> dict[str, list[int]]:
    """Return the prompts of the second turns, each after the model's own first answer."""
    return {
        question.id: prompt_tokens(
            question.after(first[question.id].text),
            setup.tokenizer,
            {"id": question.id, "source": "evaluate.mt_bench"},
            setup.params.max_tokens,
        )
        for question in asked
        if question.follow_up
    }


def _columns(answer: OwnAnswer | None) -> dict[str, Any]:
    """Return the columns of an answer, which are null if the model was not asked."""
    if answer is None:
        return {"answer": None, "n_new_tokens": None, "stopped": None}
    return {"answer": answer.text, "n_new_tokens": answer.n_tokens, "stopped": answer.stopped}


def _with_adapter(model: Any, folder: Path) -> Any:
    from peft import PeftModel  # noqa: PLC0415  takes seconds

    return PeftModel.from_pretrained(model, str(folder))
