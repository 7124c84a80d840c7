"""Log an evaluation as an MLflow run, with each arm as a child run."""

from collections.abc import Iterator
from pathlib import Path

from flows.identity import identify
from flows.stage_task import Run
from flows.tracking.log_run import MAX_PARAM_CHARS, NOTE
from flows.tracking.store import Store, write
from tasks.lib.core.params import PARAMS_FILE, flatten, read_params
from tasks.lib.documents.evaluation import ArmFigures, Evaluation

SECTION = "evaluate"


def log_evaluation(run: Run, result: Evaluation, files: Path, note: str, took_s: float) -> None:
    """Log an evaluation; if the store cannot be written, log a warning.

    Args:
        run: The run, in the workspace of the evaluation.
        result: The figures of every arm.
        files: The folder of the results, whose small files are logged too.
        note: The description of the run, in Markdown.
        took_s: The time of the evaluation in seconds.
    """
    values = read_params(run.workspace / PARAMS_FILE)
    settings = dict(flatten({SECTION: values[SECTION], "seed": values["seed"]}))

    identity = identify(run.id, run.workspace)

    def work(store: Store) -> None:
        mlflow = store.mlflow
        with store.run(f"{SECTION} {Path(result.model).name}", took_s):
            mlflow.log_params({key: str(v)[:MAX_PARAM_CHARS] for key, v in settings.items()})
            mlflow.set_tags({**identity.tags(), NOTE: note})
            mlflow.log_metrics({"judge.usd": result.judge.usd, "judge.calls": result.judge.calls})
            for name in ("result.json", "training.json", "index.html"):
                mlflow.log_artifact(files / name)
            for arm in result.arms:
                label = arm.name.replace(",", "")  # MLflow refuses commas
                mlflow.log_metrics({f"{label}/{name}": v for name, v in _metrics(arm)})
                with store.run(label, took_s):
                    mlflow.log_metrics(dict(_metrics(arm)))

    write(run.user_workspace, work)


def _metrics(arm: ArmFigures) -> Iterator[tuple[str, float]]:
    """Yield an arm's numbers, win rates, figures and differences, the last two with intervals."""
    for name in ("n_seeds", "n_records", "n_steps", "n_tokens"):
        yield name, getattr(arm, name)
    for decider, won in arm.duels.items():
        yield f"win_rate.{decider}", won.win_rate.value
    if arm.mt_bench:
        yield "mt_bench", arm.mt_bench.mean.value
    for group, estimates in (("", arm.figures), ("against_random.", arm.differences)):
        for figure, estimate in estimates.items():
            for end in ("value", "low", "high"):
                suffix = "" if end == "value" else f".{end}"
                yield f"{group}{figure}{suffix}", getattr(estimate, end)
