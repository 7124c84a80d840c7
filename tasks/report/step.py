"""Tell the whole run on one page: what came in, what was chosen, and what chance would choose."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.core.events import log
from tasks.lib.core.json_files import read_document
from tasks.lib.core.params import Params, load_section, load_seed
from tasks.lib.core.schemas import (
    DEDUPE_DROPPED,
    INGEST_DROPPED,
    PICKS,
    POOL,
    PROMPTS,
    SELECTED,
)
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.similarity.corpus import Corpus
from tasks.lib.similarity.cosine import Rows
from tasks.lib.similarity.selections import read_selections
from tasks.report import curves, judge, methods, provenance
from tasks.report import dropped as losses
from tasks.report.embedding_map import atlas
from tasks.report.funnel import funnel
from tasks.report.inputs import Evidence
from tasks.report.labels import shorten
from tasks.report.prompts import prompts

INPUTS = (
    *("ingest/pool.parquet", "ingest/dropped.parquet"),
    *("dedupe/unique.parquet", "dedupe/dropped.parquet"),
    *("embed/vectors.npy", "cluster/prompts.parquet", "cluster/clusters.json"),
    *("llm_select/picks.parquet", "llm_select/selected.parquet", "llm_select/receipt.jsonl"),
    *("llm_select/usage.json", "baseline/selections.parquet", "measure/metrics.json"),
    "validate/result.json",
)
USAGE_KEYS = (
    *("route", "fallback_routes", "model", "budget", "selected", "partial", "calls"),
    *("prompt_tokens", "completion_tokens", "usd", "n_unknown_usage", "answers", "dropped_params"),
    *("methods", "set_aside", "slots", "agreement", "attention_checks", "rounds"),
)
CLUSTERS_KEYS = ("n_records", "n_prompts", "n_clusters", "solver", "solver_reason")
METRICS_KEYS = ("methods", "overlap", "lower_is_better", "higher_is_better")
VERDICT_KEYS = ("funnel", "expectations")
MAX_LISTED = 100  # selected records in words
MAX_CHARS = 300  # of each


class Report(Params):
    """Section report of params.yaml."""

    max_points: Annotated[int, Field(ge=10, le=20_000)]
    n_prompts: Annotated[int, Field(ge=0, le=50)]
    n_examples: Annotated[int, Field(ge=0, le=50)]


def check(values: Mapping[str, Any]) -> Report:
    """The checked section; the seed is checked, too.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "report", Report)


def report(evidence: Evidence, params: Report, seed: int) -> str:
    """The report as one HTML page that needs no other file and no network.

    The same evidence gives the same text. Of a selection that is a part, or empty, it says so.
    """
    from tasks.report.page import render  # noqa: PLC0415  Jinja

    usage, metrics = evidence.usage, evidence.metrics
    world = atlas(evidence, params.max_points, seed)
    drawn = curves.curves(metrics)
    view = {
        "usage": usage,
        "take": evidence.params["llm_select.take"],
        "funnel": funnel(evidence.verdict["funnel"]),
        "checks": evidence.verdict["expectations"],
        "atlas": world,
        "listed": _listed(evidence),
        "tables": methods.tables(metrics),
        "beaten": methods.beaten(metrics),
        "curves": drawn and curves.table(drawn),
        "sizes": drawn and drawn["sizes"],
        "clusters": evidence.clusters,
        "prompts": prompts(evidence, params.n_prompts),
        "slots": judge.slots(usage),
        "attention_checks": judge.attention_checks(usage),
        "ledger": judge.ledger(usage),
        "faulty": losses.faulty(evidence, params.n_examples),
        "duplicates": losses.duplicates(evidence, params.n_examples),
        "params": provenance.params(evidence.params),
        "hashes": evidence.hashes,
    }
    return render(view, {"atlas-data": world} | ({"curves-data": drawn} if drawn else {}))


def work(stage: Stage) -> None:
    """Read what the stages before wrote; write the page."""
    params, seed = check(stage.values), load_seed(stage.values)
    page = report(_read(stage), params, seed)
    stage.out("report/index.html").write_text(page, encoding="utf-8", newline="\n")
    log.info("report: one page of %.1f MB", len(page.encode()) / 1e6)


def _read(stage: Stage) -> Evidence:
    files = {tail: stage.dep(tail) for tail in INPUTS}
    corpus = Corpus.read(
        files["ingest/pool.parquet"], files["dedupe/unique.parquet"], files["embed/vectors.npy"]
    )
    shown = read_table(files["cluster/prompts.parquet"], PROMPTS)
    selected = read_table(files["llm_select/selected.parquet"], SELECTED)
    return Evidence(
        corpus=corpus,
        pool=read_table(files["ingest/pool.parquet"], POOL, ["id", "instruction", "input"]),
        dropped=read_table(files["ingest/dropped.parquet"], INGEST_DROPPED),
        duplicates=read_table(files["dedupe/dropped.parquet"], DEDUPE_DROPPED),
        prompts=shown,
        shown=corpus.rows(shown["id"], files["cluster/prompts.parquet"]),
        picks=read_table(files["llm_select/picks.parquet"], PICKS),
        selected=selected,
        rows=corpus.rows(selected["id"], files["llm_select/selected.parquet"]),
        receipt=files["llm_select/receipt.jsonl"],
        others=_others(corpus, stage.dep("baseline/selections.parquet")),
        clusters=read_document(files["cluster/clusters.json"], CLUSTERS_KEYS),
        usage=read_document(files["llm_select/usage.json"], USAGE_KEYS),
        metrics=read_document(files["measure/metrics.json"], METRICS_KEYS),
        verdict=read_document(files["validate/result.json"], VERDICT_KEYS),
        params=stage.params,
        hashes={tail: provenance.digest(path) for tail, path in files.items()},
    )


def _others(corpus: Corpus, path: Path) -> dict[str, Rows]:
    """What each other method would choose with its first seed."""
    found: dict[str, Rows] = {}
    for one in read_selections(path, corpus):
        found.setdefault(one.method, one.rows)
    return found


def _listed(evidence: Evidence) -> list[dict[str, Any]]:
    """The first selected records in words."""
    rows = evidence.selected.slice(0, MAX_LISTED).select(["prompt", "slot", "cluster", "id"])
    texts = [shorten(evidence.corpus.texts[row], MAX_CHARS) for row in evidence.rows[:MAX_LISTED]]
    return [row | {"text": text} for row, text in zip(rows.to_pylist(), texts, strict=True)]
