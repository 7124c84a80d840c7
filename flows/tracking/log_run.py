"""Log a run of the graph as an MLflow run: its parameters, its outputs, and its code."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from prefect.runtime import flow_run

from flows.dvc.variants import SECTION
from flows.identity import LOCK, URL_TAG, identify
from flows.stage_task import Done, Run
from flows.tracking import markdown
from flows.tracking.leading_metrics import curve_points, of_selection
from flows.tracking.prompt_and_dataset import register_prompt, write_dataset
from flows.tracking.store import MAX_TAG_CHARS, Store, write
from flows.tracking.traces import write_traces
from flows.tracking.unrecorded import keep, kept_folders, read_kept
from tasks.lib.core.dvc_yaml import Graph, Out, load_yaml
from tasks.lib.core.params import PARAMS_FILE, flatten, lookup, read_params
from tasks.lib.core.stage import STATE_DIR
from tasks.lib.documents.metrics import Metrics
from tasks.lib.documents.traced_answer import TracedAnswer

MAX_PARAM_CHARS = 500
MAX_BATCH = 1000  # metrics in one request, which is MLflow's limit
NOTE = "mlflow.note.content"  # MLflow shows it as the run's description


class LoggedRun(NamedTuple):
    """Where to find a run in MLflow: its id, and the addresses of its page and of all runs.

    They are empty if the store cannot be written. The addresses do not include the server.
    """

    run_id: str = ""
    run_page: str = ""
    runs_page: str = ""


class EndedRun(NamedTuple):
    """A run of the graph that has ended.

    Attributes:
        read_answers: Returns the answers behind the selection in a workspace.
        tags: The tags of a run that ended earlier; None for the current tags.
        failure: Why the run failed; empty if the first failed stage says why, or if none failed.
    """

    graph: Graph
    run: Run
    done: Mapping[str, Done]
    read_answers: Callable[[Graph, Path], Sequence[TracedAnswer]]
    tags: Mapping[str, str] | None = None
    failure: str = ""


def log_run(ended: EndedRun) -> LoggedRun:
    """Log the run to MLflow, and the earlier runs that MLflow could not record.

    If the store cannot be written, this logs a warning and keeps the run for a later one to log.
    """
    logged: list[LoggedRun] = []
    run, workspace = ended.run, ended.run.user_workspace

    name = _name(ended)

    def work(store: Store) -> None:
        with store.run(name, took_s(ended.done)) as run_id:
            log(store, run_id, ended)
        logged.append(LoggedRun(run_id, store.run_page(run_id), store.runs_page))

    if not write(workspace, work):
        with suppress(OSError):  # the disk is full; the selection is complete all the same
            keep(ended.graph, run, ended.done, name, _tags(run, ended.done))
        return LoggedRun()
    for folder in kept_folders(workspace):
        if not write(workspace, partial(_log_kept, folder, run)):
            break
        shutil.rmtree(folder)
    return logged[0]


def _log_kept(folder: Path, later: Run, store: Store) -> None:
    """Log a kept run as of the time it ended, without traces of its answers."""
    kept = read_kept(folder, later)
    ended = EndedRun(kept.graph, kept.run, kept.done, lambda _graph, _workspace: [], kept.tags)
    age_s = time.time() - kept.ended
    with store.run(kept.name, took_s(kept.done) + age_s) as run_id:
        log(store, run_id, ended)


def took_s(done: Mapping[str, Done]) -> float:
    """Return the total time of the stages in seconds."""
    return sum(end.seconds for end in done.values())


def log(store: Store, run_id: str, ended: EndedRun) -> None:
    """Log a run of the graph to the open MLflow run; a failed run has no results."""
    graph, run, done = ended.graph, ended.run, ended.done
    tags = ended.tags or _tags(run, done)
    mlflow = store.mlflow
    failure = ended.failure or _failure(done)
    mlflow.set_tag(NOTE, _note(ended, failure, tags.get(URL_TAG, "")))
    hashes = output_hashes(run.workspace)
    mlflow.set_tags({**tags} | {f"dvc.{path}": md5 for path, md5 in hashes.items()})
    sections = read_params(run.workspace / PARAMS_FILE)
    sections.pop(SECTION, None)
    params = {key: str(value)[:MAX_PARAM_CHARS] for key, value in flatten(sections)}
    mlflow.log_params(params)
    if not failure:
        _log_results(mlflow, graph, run.workspace, hashes)
    ran = {name: end.seconds for name, end in done.items() if end.state.name == "Completed"}
    mlflow.log_metrics({f"seconds.{name}": seconds for name, seconds in ran.items()})
    if failure:
        mlflow.end_run("FAILED")
        return
    with store.optional("the evaluation dataset"):
        for out in graph.outs("selection"):
            write_dataset(store, run_id, run.workspace / out.path, hashes[out.path])
    with store.optional("the traces of its answers"):
        answers = ended.read_answers(graph, run.workspace)
        if answers:
            path = run.workspace / sections["llm_select"]["prompt"]
            write_traces(store, run_id, answers, register_prompt(store, run_id, path))


def _failure(done: Mapping[str, Done]) -> str:
    """Return the message of the first failed stage; empty if no stage failed."""
    failed = (end.state.message or "" for end in done.values() if end.state.is_failed())
    return next(failed, "")


def _note(ended: EndedRun, failure: str, url: str) -> str:
    """Describe a run in Markdown: why it failed or what it selected, and its page in Prefect."""
    page = f"\n\n[This run in Prefect]({url})" if url else ""
    text = f"**Failed:** {markdown.plain(failure)}" if failure else ""
    text = text or markdown.run_summary(ended.graph, ended.run.workspace)
    return text[: MAX_TAG_CHARS - len(page)] + page


def _log_results(mlflow: Any, graph: Graph, workspace: Path, hashes: Mapping[str, str]) -> None:
    """Log the JSON outputs with their metrics, the report, parameters, pool and selection."""
    for stage in reversed(graph.stages):  # so that MLflow shows what a selection is worth first
        for out in stage.outs:
            if out.path.endswith(".json"):
                mlflow.log_metrics(dict(_metrics(workspace, stage.name, out)))
            if out.path.endswith(".json") or out.type == "report":
                mlflow.log_artifact(workspace / out.path, stage.name)
    mlflow.log_artifact(workspace / PARAMS_FILE)
    mlflow.log_artifact(workspace / LOCK)
    docs = workspace / STATE_DIR / "data_docs"
    if docs.is_dir():
        mlflow.log_artifacts(docs, "data_docs")
    for context in ("pool", "selection"):
        for out in graph.outs(context):
            mlflow.log_input(_dataset(mlflow, workspace, out, hashes), context=context)
    for out in graph.outs("metrics"):
        _log_curves(mlflow, Metrics.read(workspace / out.path))


def _log_curves(mlflow: Any, metrics: Metrics) -> None:
    """Log metrics at each size as steps, so that MLflow draws them as curves."""
    run_id, now = mlflow.active_run().info.run_id, int(1000 * time.time())
    values = [
        mlflow.entities.Metric(point.name, point.value, now, point.size)
        for point in curve_points(metrics)
    ]
    for start in range(0, len(values), MAX_BATCH):
        mlflow.MlflowClient().log_batch(run_id, values[start : start + MAX_BATCH])


def _metrics(workspace: Path, stage: str, out: Out) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a JSON output by dotted name; from metrics.json, only our method's."""
    path = workspace / out.path
    if out.type == "metrics":
        yield from of_selection(Metrics.read(path))
        return
    prefix = out.type if out.type == "savings" else stage
    for key, value in flatten(json.loads(path.read_text(encoding="utf-8")), f"{prefix}."):
        if isinstance(value, int | float):  # a list is not a metric
            yield key, float(value)


def _dataset(mlflow: Any, workspace: Path, out: Out, hashes: Mapping[str, str]) -> Any:
    """Return one of our tables as an MLflow dataset, with DVC's hash as its digest."""
    import pandas as pd  # noqa: PLC0415  comes with mlflow

    frame = pd.read_parquet(workspace / out.path)
    return mlflow.data.from_pandas(
        frame, source=str(workspace / out.path), name=out.type, digest=hashes.get(out.path)
    )


def _name(ended: EndedRun) -> str | None:
    """Return a name that describes the run; the flow run's name if the graph has no judge."""
    values = read_params(ended.run.workspace / PARAMS_FILE)
    budget, route, mode = (
        lookup(values, key) for key in ("llm_select.budget", "llm_select.route", "cluster.mode")
    )
    if budget is None:
        name: str | None = flow_run.name
        return name
    text = f"{budget} by {route}, {mode}"
    failed = [stage for stage, end in ended.done.items() if end.state.is_failed()]
    return f"{text}: {failed[0]} failed" if failed else text


def _tags(run: Run, done: Mapping[str, Done]) -> dict[str, str]:
    tags = identify(run.id, run.workspace).tags() | {"workspace": str(run.workspace)}
    if run.sets:
        tags["sets"] = run.sets[:MAX_TAG_CHARS]
    return tags | {f"state.{name}": end.state.name or "" for name, end in done.items()}


def output_hashes(workspace: Path) -> dict[str, str]:
    """Return the DVC hash of every output in dvc.lock, by path."""
    lock = workspace / LOCK
    stages = load_yaml(lock)["stages"].values() if lock.exists() else ()
    return {out["path"]: out["md5"] for entry in stages for out in entry.get("outs", [])}
