"""Register the criteria as an MLflow prompt, and a selection as an evaluation dataset."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.tracking.store import Store

PROMPT = "selectllm-criteria"
MAX_RECORDS = 1000
"""How many records of a selection MLflow gets, best first; more would delay a run."""
CONTEXT = ("system", "turns", "tools")


def register_prompt(store: Store, run_id: str, path: Path) -> dict[str, Any]:
    """Register the text of a prompt file, link its version to a run, and return the version.

    A text that is already registered keeps its version.

    Returns:
        The name and the version, as MLflow links them.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  two seconds, see store.prepare

    text = path.read_text(encoding="utf-8")
    client = store.mlflow.MlflowClient()
    try:
        known = client.search_prompt_versions(PROMPT, max_results=1000)
    except MlflowException:  # there is no such prompt yet
        known = []
    version = next((version for version in known if version.template == text), None)
    if version is None:
        version = client.register_prompt(PROMPT, text, commit_message=path.name)
    client.link_prompt_version_to_run(run_id, version)
    return {"name": PROMPT, "version": str(version.version)}


def write_dataset(store: Store, run_id: str, selection: Path, digest: str) -> None:
    """Write a selection as an evaluation dataset if it is new, and record its name in the run.

    Args:
        store: The open store.
        run_id: The run.
        selection: The file of the selection.
        digest: The hash of the file; the same selection has one dataset.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415

    client = store.mlflow.MlflowClient()
    rows = pq.read_table(selection).slice(0, MAX_RECORDS).to_pylist()
    name = f"selection {digest[:8]}: {len(rows):,} records"
    if not client.search_datasets([store.experiment_id], f"name = '{name}'"):
        dataset = store.mlflow.genai.datasets.create_dataset(
            name, store.experiment_id, {"digest": digest}
        )
        dataset.merge_records(list(_records(rows)))
    client.set_tag(run_id, "evaluation_dataset", name)


def _records(rows: list[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the records in MLflow's form; an output becomes the expected response."""
    for row in rows:
        context = {name: row[name] for name in CONTEXT if row[name]}
        record = {
            "inputs": {"instruction": row["instruction"], "input": row["input"], **context},
            "tags": {"id": row["id"], "source": row["source"], "score": str(row["score"])},
        }
        if row["output"]:
            record["expectations"] = {"expected_response": row["output"]}
        yield record
