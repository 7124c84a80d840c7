"""Fine-tune the model on each arm, and let it answer the test records."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.evaluate.tables import ANSWERS
from tasks.evaluate.tune.arms import ArmRun
from tasks.evaluate.tune.language_model import free_memory
from tasks.evaluate.tune.respond import Respondent, reference_losses, replies
from tasks.evaluate.tune.setup import TuningSetup, prepare
from tasks.evaluate.tune.store import EvaluationStore
from tasks.evaluate.tune.train import n_steps, save_adapter, train
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
    """Return the number of steps, losses and answers of a run."""
    n_questions = len(setup.questions)
    return (
        n_steps(len(run.ids), setup.params) + n_questions + min(setup.params.n_answers, n_questions)
    )


def trained_arm(run: ArmRun, setup: TuningSetup, store: EvaluationStore) -> TrainedArm:
    """Describe a model that has been trained."""
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
        recipe = setup.recipe(progress.advance)
        save_adapter(train(setup.training(run), setup.seed + run.seed, recipe), folder)
        free_memory()
    elif run.ids:
        progress.advance(n_steps(len(run.ids), setup.params))
    # The adapter is read from the disk even if it is new, so a resumed run answers the same.
    model = _with_adapter(setup.load(), folder) if run.ids else setup.load()
    respondent = Respondent(model.eval(), setup.tokenizer, setup.machine, progress.advance)
    store.put_answers(setup.answers_key(run), respond(respondent, run, setup))
    del model, respondent
    free_memory()
    log.info("tune: %s, seed %s is done", run.arm, run.seed)


def respond(respondent: Respondent, run: ArmRun, setup: TuningSetup) -> list[dict[str, Any]]:
    """Return a row of the table of answers for each question.

    Raises:
        DataError: The GPU has too little memory.
    """
    import torch  # noqa: PLC0415  takes seconds

    asked = [question.prompt for question in setup.questions[: setup.params.n_answers]]
    try:
        losses = reference_losses(respondent, setup.questions)
        answers = replies(respondent, asked, setup.params.max_new_tokens)
    except torch.OutOfMemoryError:
        raise DataError(
            "the GPU has too little memory for the answers to the test records",
            where="evaluate.model",
            fix="Use a smaller model, or lower evaluate.max_tokens and evaluate.max_new_tokens.",
        ) from None
    unasked = [None] * (len(losses) - len(answers))
    return [
        {
            "arm": run.arm,
            "seed": run.seed,
            "id": question.id,
            "nll": loss,
            "n_tokens": len(question.answer),
            "answer": answer and answer.text,
            "n_new_tokens": answer and answer.n_tokens,
            "stopped": answer and answer.stopped,
        }
        for question, loss, answer in zip(
            setup.questions, losses, [*answers, *unasked], strict=True
        )
    ]


def _with_adapter(model: Any, folder: Path) -> Any:
    from peft import PeftModel  # noqa: PLC0415  takes seconds

    return PeftModel.from_pretrained(model, str(folder))
