"""Plan an evaluation: its models, their steps, and the time they take on this machine."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tasks.evaluate.tune.arms import ArmRun
from tasks.evaluate.tune.respond import BATCH, Respondent, reference_losses, replies
from tasks.evaluate.tune.setup import TuningSetup, prepare
from tasks.evaluate.tune.step import FOLDER, is_done
from tasks.evaluate.tune.store import EvaluationStore
from tasks.evaluate.tune.train import n_steps, train
from tasks.lib.core.stage import Stage
from tasks.lib.documents.evaluation import EvaluationPlan, PlannedArm

PROBE_STEPS = 3  # the first one also sets up the optimizer, so it does not count
PROBE_LOSSES = 8


class Pace(NamedTuple):
    """The seconds that a model takes: for each training token, for each loss and each answer."""

    per_token: float = 0.0
    per_loss: float = 0.0
    per_answer: float = 0.0


def plan(stage: Stage) -> EvaluationPlan:
    """Return the plan of the next evaluation; a few probe steps are run, and nothing is stored."""
    setup, store = prepare(stage), EvaluationStore(stage.state / FOLDER)
    done = {run for run in setup.runs if is_done(run, setup, store)}
    todo = [run for run in setup.runs if run not in done]
    pace = probe(setup, todo) if todo else Pace()
    arms = []
    for name in dict.fromkeys(run.arm for run in setup.runs):
        runs = [run for run in setup.runs if run.arm == name]
        seconds = sum(run_seconds(run, setup, pace) for run in runs if run not in done)
        arms.append(
            PlannedArm(
                name=name,
                n_models=len(runs),
                n_done=sum(run in done for run in runs),
                n_records=len(runs[0].ids),
                n_steps=n_steps(len(runs[0].ids), setup.params),
                n_tokens=round(sum(_n_tokens(run, setup) for run in runs) / len(runs)),
                minutes=seconds / 60,
            )
        )
    return EvaluationPlan(
        model=setup.model,
        device=setup.machine.device,
        n_test=len(setup.questions),
        n_answers=min(setup.params.n_answers, len(setup.questions)),
        arms=tuple(arms),
        minutes=sum(arm.minutes for arm in arms),
    )


def probe(setup: TuningSetup, todo: list[ArmRun]) -> Pace:
    """Train and answer a little, and return the pace; all answers are taken to be long ones."""
    respondent = Respondent(setup.load().eval(), setup.tokenizer, setup.machine, _ignore)
    losses = setup.questions[:PROBE_LOSSES]
    asked = setup.questions[: min(setup.params.n_answers, BATCH)]
    loss_s = _seconds(lambda: reference_losses(respondent, losses))
    prompts = [question.prompt for question in asked]
    limit = setup.params.max_new_tokens
    answer_s = _seconds(lambda: replies(respondent, prompts, limit))
    trained = next((run for run in todo if run.ids), None)
    return Pace(
        _token_seconds(setup, trained) if trained else 0.0,
        loss_s / len(losses),
        answer_s / len(asked) if asked else 0.0,
    )


def run_seconds(run: ArmRun, setup: TuningSetup, pace: Pace) -> float:
    """Return how long a run takes at this pace."""
    n_answers = min(setup.params.n_answers, len(setup.questions))
    return (
        _n_tokens(run, setup) * setup.params.epochs * pace.per_token
        + len(setup.questions) * pace.per_loss
        + n_answers * pace.per_answer
    )


def _token_seconds(setup: TuningSetup, run: ArmRun) -> float:
    ticks = [time.monotonic()]
    recipe = setup.recipe(lambda: ticks.append(time.monotonic()), PROBE_STEPS)
    train(setup.training(run), setup.seed, recipe)
    first = 1 if len(ticks) > 2 else 0
    step_s = (ticks[-1] - ticks[first]) / (len(ticks) - 1 - first)
    steps = n_steps(len(run.ids), setup.params)
    return step_s * steps / (_n_tokens(run, setup) * setup.params.epochs)


def _n_tokens(run: ArmRun, setup: TuningSetup) -> int:
    return sum(len(e.prompt) + len(e.answer) for e in setup.training(run))


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _ignore() -> None:
    """Ignore the progress of a probe."""
