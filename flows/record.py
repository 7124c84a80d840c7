"""One run of the graph becomes one MLflow run: what went in, what came out, and from which code."""

import importlib
import json
import os
import subprocess
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows.graph import Graph, Out, load_yaml
from flows.run import Done, Run

EXPERIMENT = "selectllm"
MAX_PARAM_CHARS = 500


def warm_up() -> None:
    """Import MLflow beside the first stages: it takes seconds, and they leave a core idle."""
    threading.Thread(target=importlib.import_module, args=("mlflow",), daemon=True).start()


def record(graph: Graph, run: Run, done: Mapping[str, Done]) -> None:
    """Write the MLflow run; a store that cannot be written is a warning, never a lost selection."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from_pandas warns of sources and integer columns
            _record(graph, run, done)
    except Exception as error:
        get_run_logger().warning(
            "This run is not in MLflow: %s\nThe selection is whole; try `selectllm doctor`.", error
        )


def tracking_uri(root: Path) -> str:
    """Where runs are recorded: MLFLOW_TRACKING_URI, or the database that `mlflow ui` opens here."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def _record(graph: Graph, run: Run, done: Mapping[str, Done]) -> None:
    import mlflow  # noqa: PLC0415  two seconds, see warm_up

    uri = tracking_uri(run.root)
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        local = uri.startswith("sqlite")
        location = (run.root / "mlruns").as_uri() if local else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location)
    mlflow.set_experiment(EXPERIMENT)
    hashes = dict(_hashes(run.root))
    with mlflow.start_run(run_name=flow_run.name):
        mlflow.set_tags(_tags(run, done) | {f"dvc.{path}": md5 for path, md5 in hashes.items()})
        params = dict(_flat(load_yaml(run.root / "params.yaml")))
        mlflow.log_params({key: str(value)[:MAX_PARAM_CHARS] for key, value in params.items()})
        mlflow.log_metrics({f"seconds.{name}": end.seconds for name, end in done.items()})
        if all(end.state.is_completed() for end in done.values()):
            _log_results(mlflow, graph, run.root, hashes)
        else:
            mlflow.end_run("FAILED")


def _log_results(mlflow: Any, graph: Graph, root: Path, hashes: Mapping[str, str]) -> None:
    """Metrics and files of every JSON output, the report, and what dvc.yaml calls datasets."""
    for stage in graph.stages:
        for out in stage.outs:
            if out.path.endswith(".json"):
                document = json.loads((root / out.path).read_text(encoding="utf-8"))
                mlflow.log_metrics(dict(_numbers(document, stage.name)))
            if out.path.endswith(".json") or out.type == "report":
                mlflow.log_artifact(root / out.path, stage.name)
    mlflow.log_artifact(root / "params.yaml")
    mlflow.log_artifact(root / "dvc.lock")
    docs = root / ".selectllm" / "data_docs"
    if docs.is_dir():
        mlflow.log_artifacts(docs, "data_docs")
    for context in ("pool", "selection"):
        for out in graph.outs(context):
            mlflow.log_input(_dataset(mlflow, root, out, hashes), context=context)


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
    return tags


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _hashes(root: Path) -> Iterator[tuple[str, str]]:
    """Path and DVC hash of every output that dvc.lock knows."""
    lock = root / "dvc.lock"
    for entry in (load_yaml(lock)["stages"] if lock.exists() else {}).values():
        for out in entry.get("outs", []):
            yield out["path"], out["md5"]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _numbers(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """The numbers of a JSON document under dotted names; lists are no metrics."""
    for key, value in _flat(document, f"{prefix}."):
        if isinstance(value, int | float):
            yield key, float(value)
