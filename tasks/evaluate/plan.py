"""Plan an evaluation: its models, their steps and time on this machine, and the judge's price."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tasks.evaluate.judge_cost import judge_plan, ready_judge
from tasks.evaluate.tune.prompts import Example
from tasks.evaluate.tune.respond import BATCH, Respondent, reference_losses, replies
from tasks.evaluate.tune.setup import TuningSetup, prepare
from tasks.evaluate.tune.step import FOLDER, is_done
from tasks.evaluate.tune.store import EvaluationStore
from tasks.evaluate.tune.train import n_steps, train
from tasks.evaluate.tune.training_runs import ArmRun
from tasks.lib.core.stage import Stage
from tasks.lib.documents.evaluation import EvaluationPlan, PlannedArm

PROBE_STEPS = 3  # the first one also sets up the optimizer, so it does not count
PROBE_LOSSES = 32
POWER_SDS = 2.8  # a difference of as many standard errors is found 8 times in 10 at 5 %


class Pace(NamedTuple):
    """The seconds that a model takes per training token, per loss and per answer."""

    per_token: float = 0.0
    per_loss: float = 0.0
    per_answer: float = 0.0


class Probe(NamedTuple):
    """What a few steps show: the pace, and the smallest visible difference in held-out loss."""

    pace: Pace = Pace()
    visible: float | None = None


def plan(stage: Stage) -> EvaluationPlan:
    """Return the plan for the next evaluation, after a few probe steps; nothing is stored."""
    route = ready_judge(stage.values)
    setup, store = prepare(stage), EvaluationStore(stage.state / FOLDER)
    done = {run for run in setup.runs if is_done(run, setup, store)}
    todo = [run for run in setup.runs if run not in done]
    pace, visible = probe(setup, todo) if todo else Probe()
    arms = []
    for name, n_records in dict.fromkeys((run.arm, len(run.ids)) for run in setup.runs):
        runs = [run for run in setup.runs if (run.arm, len(run.ids)) == (name, n_records)]
        seconds = sum(run_seconds(run, setup, pace) for run in runs if run not in done)
        arms.append(
            PlannedArm(
                name=name,
                n_models=len(runs),
                n_done=sum(run in done for run in runs),
                n_records=n_records,
                n_steps=n_steps(n_records, setup.params),
                n_tokens=round(sum(_n_tokens(run, setup) for run in runs) / len(runs)),
                minutes=seconds / 60,
            )
        )
    return EvaluationPlan(
        model=setup.model,
        device=setup.machine.device,
        n_test=len(setup.with_loss),
        n_answers=setup.n_answers,
        arms=tuple(arms),
        minutes=sum(arm.minutes for arm in arms),
        n_seeds=setup.params.n_seeds,
        visible=visible,
        judge=judge_plan(route, setup, stage.values) if route else None,
    )


def probe(setup: TuningSetup, todo: Sequence[ArmRun]) -> Probe:
    """Return what a little training and answering shows, assuming that all answers are long."""
    tested = setup.with_loss[:PROBE_LOSSES]
    pace, losses = _probe_answers(setup, tested)
    trained = next((run for run in todo if run.ids), None)
    if trained is None:
        return Probe(pace)
    per_token, model = _probe_training(setup, trained)
    after = reference_losses(Respondent(model, setup.tokenizer, setup.machine, _ignore), tested)
    return Probe(
        pace._replace(per_token=per_token), visible_difference(losses, after, tested, setup)
    )


def visible_difference(
    before: Sequence[float], after: Sequence[float], tested: Sequence[Example], setup: TuningSetup
) -> float | None:
    """Return the smallest difference in loss per token that would be found 8 times out of 10.

    How much two trained models differ is estimated from how unevenly a few steps change the losses
    of different records. Differences between seeds, which no probe shows, come on top.
    """
    if len(tested) < 2:
        return None
    sizes = np.array([len(example.answer) for example in tested], np.float64)
    changes = np.array(after) - np.array(before)
    residuals = changes - changes.sum() / sizes.sum() * sizes
    of_one = float(residuals.std(ddof=1) / sizes.mean())
    n_losses = len(setup.with_loss) * setup.params.n_seeds
    return float(POWER_SDS * of_one / n_losses**0.5)


def run_seconds(run: ArmRun, setup: TuningSetup, pace: Pace) -> float:
    """Return how long a run takes at this pace."""
    return (
        _n_tokens(run, setup) * setup.params.epochs * pace.per_token
        + len(setup.with_loss) * pace.per_loss
        + setup.n_answers * pace.per_answer
    )


def _probe_answers(setup: TuningSetup, tested: Sequence[Example]) -> tuple[Pace, list[float]]:
    """Have the untrained model answer a few questions; return its pace and its losses."""
    respondent = Respondent(setup.load().eval(), setup.tokenizer, setup.machine, _ignore)
    asked = [q.prompt for q in setup.questions if q.prompt is not None][:BATCH]
    losses = list[float]()
    loss_s = _seconds(lambda: losses.extend(reference_losses(respondent, tested)))
    answer_s = _seconds(lambda: replies(respondent, asked, setup.params.max_new_tokens))
    pace = Pace(per_loss=loss_s / len(tested), per_answer=answer_s / max(len(asked), 1))
    return pace, losses


def _probe_training(setup: TuningSetup, run: ArmRun) -> tuple[float, object]:
    """Train for a few steps; return the seconds per token, and the model."""
    ticks = [time.monotonic()]
    recipe = setup.recipe(lambda: ticks.append(time.monotonic()))._replace(max_steps=PROBE_STEPS)
    model = train(setup.training(run), setup.seed, recipe)
    first = 1 if len(ticks) > 2 else 0
    step_s = (ticks[-1] - ticks[first]) / (len(ticks) - 1 - first)
    steps = n_steps(len(run.ids), setup.params)
    return step_s * steps / (_n_tokens(run, setup) * setup.params.epochs), model


def _n_tokens(run: ArmRun, setup: TuningSetup) -> int:
    return sum(len(e.prompt) + len(e.answer) for e in setup.training(run))


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _ignore() -> None:
    """Ignore the progress of a probe."""
