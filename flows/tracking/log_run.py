"""One run of the graph becomes one MLflow run: what went in, what came out, and from which code."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.runtime import flow_run

from flows.dvc.graph import Graph, Out, load_yaml
from flows.dvc.variants import SECTION
from flows.stage_task import Done, Run
from flows.tracking import markdown
from flows.tracking import metrics as figures
from flows.tracking.store import MAX_TAG_CHARS, Store, write

MAX_PARAM_CHARS = 500
NOTE = "mlflow.note.content"  # what its page shows as the run's description
SHOWN = "report"  # dvc.yaml's type of a page to look at


def record(graph: Graph, run: Run, done: Mapping[str, Done]) -> None:
    """Write the MLflow run; a store that cannot be written is a warning, never a lost selection."""

    def work(store: Store) -> None:
        with store.run(flow_run.name, took_s(done)):
            log(store.mlflow, graph, run, done)

    write(run.home, work)


def took_s(done: Mapping[str, Done]) -> float:
    """How long the stages took together."""
    return sum(end.seconds for end in done.values())


def log(mlflow: Any, graph: Graph, run: Run, done: Mapping[str, Done]) -> None:
    """Tell the open MLflow run all about a run of ours; one that failed has no results."""
    hashes = output_hashes(run.root)
    mlflow.set_tags(_tags(run, done) | {f"dvc.{path}": md5 for path, md5 in hashes.items()})
    sections = load_yaml(run.root / "params.yaml")
    sections.pop(SECTION, None)
    params = {key: str(value)[:MAX_PARAM_CHARS] for key, value in _flat(sections)}
    mlflow.log_params(params)
    worked = {name: end.seconds for name, end in done.items() if end.state.name == "Completed"}
    mlflow.log_metrics({f"seconds.{name}": seconds for name, seconds in worked.items()})
    if all(end.state.is_completed() for end in done.values()):
        _log_results(mlflow, graph, run.root, hashes)
    else:
        mlflow.end_run("FAILED")


def _log_results(mlflow: Any, graph: Graph, root: Path, hashes: Mapping[str, str]) -> None:
    """Metrics and files of every JSON output, pages, and the tables dvc.yaml calls datasets."""
    for stage in graph.stages:
        for out in stage.outs:
            if out.path.endswith(".json"):
                mlflow.log_metrics(dict(_metrics(root, stage.name, out)))
            if out.path.endswith(".json") or out.type == SHOWN:
                mlflow.log_artifact(root / out.path, stage.name)
    mlflow.log_artifact(root / "params.yaml")
    mlflow.log_artifact(root / "dvc.lock")
    docs = root / ".selectllm" / "data_docs"
    if docs.is_dir():
        mlflow.log_artifacts(docs, "data_docs")
    for context in ("pool", "selection"):
        for out in graph.outs(context):
            mlflow.log_input(_dataset(mlflow, root, out, hashes), context=context)
    mlflow.set_tag(NOTE, markdown.run_summary(graph, root))


def _metrics(root: Path, stage: str, out: Out) -> Iterator[tuple[str, float]]:
    """The numbers of a JSON output under dotted names; of the measures, those of the selection."""
    document = json.loads((root / out.path).read_text(encoding="utf-8"))
    if out.type == "metrics":
        yield from figures.of_selection(document)
        return
    for key, value in _flat(document, f"{stage}."):
        if isinstance(value, int | float):  # lists are no metrics
            yield key, float(value)


def _dataset(mlflow: Any, root: Path, out: Out, hashes: Mapping[str, str]) -> Any:
    """A table of ours as an MLflow dataset; its digest is DVC's, so that either finds the other."""
    import pandas as pd  # noqa: PLC0415  comes with mlflow

    frame = pd.read_parquet(root / out.path)
    return mlflow.data.from_pandas(
        frame, source=str(root / out.path), name=out.type, digest=hashes.get(out.path)
    )


def _tags(run: Run, done: Mapping[str, Done]) -> dict[str, str]:
    tags = {f"state.{name}": end.state.name or "" for name, end in done.items()}
    tags |= {"prefect.flow_run_id": run.id, "git.commit": _git(run.root, "rev-parse", "HEAD")}
    tags["git.dirty"] = str(bool(_git(run.root, "status", "--porcelain"))).lower()
    tags["workspace"] = str(run.root)
    if run.sets:
        tags["sets"] = run.sets[:MAX_TAG_CHARS]
    return tags


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def output_hashes(root: Path) -> dict[str, str]:
    """Path and DVC hash of every output that dvc.lock knows."""
    lock = root / "dvc.lock"
    stages = load_yaml(lock)["stages"].values() if lock.exists() else ()
    return {out["path"]: out["md5"] for entry in stages for out in entry.get("outs", [])}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
