"""Show the whole run on one page: the pool, the selection, and random selections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_section, load_seed
from tasks.lib.core.records import TEXT_COLUMNS
from tasks.lib.core.schemas import (
    BALLOTS,
    DEDUPE_DROPPED,
    DEDUPE_NEAR,
    INGEST_DROPPED,
    POOL,
    PROMPTS,
    SELECTED,
)
from tasks.lib.core.shown_text import shorten
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.labels import SPACES
from tasks.lib.documents.metrics import Metrics
from tasks.lib.documents.savings import Savings
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows
from tasks.lib.similarity.selections import read_selections
from tasks.report import choice, curves, dropped, judge, methods
from tasks.report.embedding_map import embedding_map
from tasks.report.inputs import ReportInputs, digest
from tasks.report.prompts import prompts
from tasks.report.public_params import public_params

INPUTS = (
    *("ingest/pool.parquet", "ingest/held_out.parquet", "ingest/dropped.parquet"),
    *("dedupe/unique.parquet", "dedupe/dropped.parquet", "dedupe/near.parquet"),
    *("embed/vectors.npy", "cluster/prompts.parquet", "cluster/clusters.json"),
    *("llm_select/ballots.parquet", "llm_select/judgements.jsonl", "llm_select/usage.json"),
    *("choose/selected.parquet", "choose/choice.json", "baseline/selections.parquet"),
    *("measure/metrics.json", "measure/savings.json", "validate/result.json"),
)
MAX_LISTED = 100  # selected records with their texts
MAX_CHARS = 300  # of each listed record


class Report(Params):
    """The report section of params.yaml."""

    max_points: Annotated[int, Field(ge=10, le=20_000)]
    n_prompts: Annotated[int, Field(ge=0, le=50)]
    n_examples: Annotated[int, Field(ge=0, le=50)]


def check(values: Mapping[str, Any]) -> Report:
    """Check the report section and the seed; return the section.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "report", Report)


def report(inputs: ReportInputs, params: Report, seed: int) -> str:
    """Return the report: one HTML page that needs no other file and no network.

    The same inputs give the same text.
    """
    from tasks.report.render import render  # noqa: PLC0415  Jinja

    points = embedding_map(inputs, params.max_points, seed)
    drawn = curves.curves(inputs.metrics)
    view = {
        "usage": inputs.usage,
        "take": inputs.params["llm_select.take"],
        "funnel": dropped.funnel(inputs.validation.funnel),
        "checks": inputs.validation.expectations,
        "points": points,
        "listed": _listed(inputs),
        "choice": choice.view(inputs),
        "tables": methods.tables(inputs.metrics),
        "spaces": SPACES,
        "beaten": methods.beaten(inputs.metrics),
        "savings": inputs.savings,
        "curves": drawn and curves.tables(drawn),
        "sizes": drawn and drawn["sizes"],
        "clusters": inputs.clusters,
        "prompts": prompts(inputs, params.n_prompts),
        "slots": judge.slot_chart(inputs.usage.slots),
        "cost_rows": judge.cost_rows(inputs.usage, len(inputs.selected)),
        "faulty_rows": dropped.faulty_rows(inputs, params.n_examples),
        "duplicates": dropped.duplicates(inputs, params.n_examples),
        "params": public_params(inputs.params),
        "hashes": inputs.hashes,
    }
    data = {"map-data": points, "choice-data": choice.points(inputs)}
    return render(view, data | ({"curves-data": drawn} if drawn else {}))


def work(stage: Stage) -> None:
    """Read the outputs of the earlier stages, and write the page."""
    params, seed = check(stage.values), load_seed(stage.values)
    page = report(_read(stage), params, seed)
    content = page.encode(errors="backslashreplace")  # a column may contain lone surrogates
    stage.out("report/index.html").write_bytes(content)
    log.info("report: wrote one page (%.1f MB)", len(content) / 1e6)


def _read(stage: Stage) -> ReportInputs:
    files = {tail: stage.dep(tail) for tail in INPUTS}
    corpus = Corpus.read(
        files["ingest/pool.parquet"], files["dedupe/unique.parquet"], files["embed/vectors.npy"]
    )
    shown = read_table(files["cluster/prompts.parquet"], PROMPTS)
    selected = read_table(files["choose/selected.parquet"], SELECTED)
    return ReportInputs(
        corpus=corpus,
        originals=pa.concat_tables(
            read_table(files[f"ingest/{name}.parquet"], POOL, ["id", *TEXT_COLUMNS])
            for name in ("pool", "held_out")
        ),
        dropped=read_table(files["ingest/dropped.parquet"], INGEST_DROPPED),
        duplicates=read_table(files["dedupe/dropped.parquet"], DEDUPE_DROPPED),
        kept_near=read_table(files["dedupe/near.parquet"], DEDUPE_NEAR),
        prompts=shown,
        prompt_rows=corpus.rows(shown["id"], files["cluster/prompts.parquet"]),
        ballots=read_table(files["llm_select/ballots.parquet"], BALLOTS),
        selected=selected,
        rows=corpus.rows(selected["id"], files["choose/selected.parquet"]),
        judgements=files["llm_select/judgements.jsonl"],
        others=_others(corpus, files["baseline/selections.parquet"]),
        choice=Choice.read(files["choose/choice.json"]),
        clusters=Clusters.read(files["cluster/clusters.json"]),
        usage=Usage.read(files["llm_select/usage.json"]),
        metrics=Metrics.read(files["measure/metrics.json"]),
        savings=Savings.read(files["measure/savings.json"]),
        validation=ValidationResult.read(files["validate/result.json"]),
        params=stage.params,
        hashes={tail: digest(path) for tail, path in files.items()},
    )


def _others(corpus: Corpus, path: Path) -> dict[str, Rows]:
    """Return the selection of each other method with its first seed."""
    others: dict[str, Rows] = {}
    for selection in read_selections(path, corpus):
        others.setdefault(selection.method, selection.rows)
    return others


def _listed(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the first selected records with their texts."""
    names = ["prompt", "slot", "cluster", "score", "gain", "id"]
    rows = inputs.selected.slice(0, MAX_LISTED).select(names).to_pylist()
    texts = [shorten(text, MAX_CHARS) for text in inputs.shown(row["id"] for row in rows)]
    return [row | {"text": text} for row, text in zip(rows, texts, strict=True)]
