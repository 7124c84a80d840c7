"""Check that the selection is as requested, and that no record was lost on the way."""

import warnings
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow.compute as pc
from pydantic import Field

from tasks.lib.core.errors import CheckFailed
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_budgets, load_section
from tasks.lib.core.schemas import (
    ANNOTATED,
    BALLOTS,
    DEDUPE_DROPPED,
    HELD_OUT,
    INGEST_DROPPED,
    KNOWN,
    POOL,
    PROMPTS,
    SELECTED,
    UNIQUE,
)
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_batches, read_table
from tasks.lib.documents.choice import Choice
from tasks.lib.documents.clusters import Clusters
from tasks.lib.documents.usage import Usage
from tasks.lib.documents.validation import ValidationResult
from tasks.validate.artifacts import (
    Artifacts,
    Limits,
    row_norms,
    source_rows,
    summarise,
)
from tasks.validate.funnel import count_dropped, count_funnel

MAX_LISTED = 10  # findings in a message
BATCH_ROWS = 8192  # pool rows in memory at a time


class Validated(NamedTuple):
    """The result, and a function that writes the Data Docs and returns their first page."""

    result: ValidationResult
    write_docs: Callable[[Path], Path]


class OnFault(StrEnum):
    """What to do if the judge has a position bias, decides at random or fails attention checks."""

    WARN = "warn"
    FAIL = "fail"


class Validate(Params):
    """The validate section of params.yaml."""

    max_near_rate: Annotated[float, Field(ge=0, le=1)]
    max_fallback_rate: Annotated[float, Field(ge=0, le=1)]
    max_position_bias: Annotated[float, Field(ge=0, le=1)]
    max_attention_failures: Annotated[float, Field(ge=0, le=1)]
    min_agreement: Annotated[float, Field(ge=-1, le=1)]
    on_judge_fault: Annotated[OnFault, Field(strict=False)]
    max_chars: Annotated[int, Field(gt=0)]


def check(values: Mapping[str, Any]) -> Validate:
    """Return the validate section, after checking it.

    Raises:
        ParamError: A key is unknown, missing or out of range.
    """
    return load_section(values, "validate", Validate)


def validate(artifacts: Artifacts, limits: Limits) -> Validated:
    """Check all guarantees about a run.

    This covers every record, not only a sample, and recounts every number that can be counted.
    """
    with warnings.catch_warnings():
        # Great Expectations imports two modules that Python has deprecated.
        warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
        # Imported here: it takes seconds, and `check` must not wait for it.
        from tasks.validate.expectations import suites  # noqa: PLC0415
        from tasks.validate.gx import run_gx, write_docs  # noqa: PLC0415
        from tasks.validate.pool_tables import pool_tables  # noqa: PLC0415
        from tasks.validate.selection_tables import selection_tables  # noqa: PLC0415

    tables = pool_tables(artifacts, limits) | selection_tables(artifacts, limits)
    run = run_gx(tables, suites(limits))
    result = ValidationResult(
        success=all(finding.success or finding.is_warning for finding in run.findings),
        partial=artifacts.usage.partial,
        funnel=count_funnel(artifacts),
        dropped=count_dropped(artifacts),
        expectations=tuple(run.findings),
    )
    return Validated(result, partial(write_docs, run))


def work(stage: Stage) -> None:
    """Check the outputs of the earlier stages; write the result, or fail with a list of faults."""
    artifacts = _read(stage)
    result, write_docs = validate(artifacts, _limits(stage.values, artifacts))
    docs = write_docs(stage.scratch / "data_docs")
    log.info("validate: Data Docs are in %s", docs)
    # A step that fails publishes no output, so a bad result is also written to a scratch file.
    failed_file = stage.scratch / "failed_validation.json"
    result.write(stage.out("validate/result.json"))
    if not result.success:
        result.write(failed_file)
        raise CheckFailed(
            _summary(result),
            where="validate",
            fix=f"Open {docs} to browse the result, or read {failed_file}. Fix the cause, then "
            "run this again.",
        )
    failed_file.unlink(missing_ok=True)
    for finding in result.warnings:
        log.warning("validate: %s: %s", finding.expectation, finding.detail)
    n_met = len(result.expectations) - len(result.warnings)
    log.info("validate: %d of %d expectations are met", n_met, len(result.expectations))
    if result.partial:
        log.warning("validate: the selection is PARTIAL (%s)", result.partial)


def _limits(values: Mapping[str, Any], artifacts: Artifacts) -> Limits:
    params, budget = check(values), load_budgets(values)[-1]
    could_judge = artifacts.ballots.filter(pc.is_null(artifacts.ballots["set_aside"]))
    is_known = pc.is_in(could_judge["id"], value_set=artifacts.known["id"])
    n_judged = len(could_judge.filter(pc.invert(is_known)))
    return Limits(
        n_selected=min(budget, n_judged) if artifacts.usage.partial else budget,
        near_threshold=values["dedupe"]["near_threshold"],
        max_near_rate=params.max_near_rate if values["dedupe"]["near"] == "merge" else None,
        is_judge_strict=params.on_judge_fault is OnFault.FAIL,
        **params.model_dump(exclude={"on_judge_fault", "max_near_rate"}),
    )


def _read(stage: Stage) -> Artifacts:
    pool = stage.dep("ingest/pool.parquet")
    return Artifacts(
        pool=summarise(POOL, read_batches(pool, POOL, POOL.names, BATCH_ROWS)),
        n_rows=source_rows(pool),
        annotated=read_table(stage.dep("ingest/annotated.parquet"), ANNOTATED),
        held_out=read_table(stage.dep("ingest/held_out.parquet"), HELD_OUT),
        ingest_dropped=read_table(stage.dep("ingest/dropped.parquet"), INGEST_DROPPED),
        unique=read_table(stage.dep("dedupe/unique.parquet"), UNIQUE),
        dedupe_dropped=read_table(stage.dep("dedupe/dropped.parquet"), DEDUPE_DROPPED),
        known=read_table(stage.dep("dedupe/known.parquet"), KNOWN),
        norms=row_norms(stage.dep("embed/vectors.npy")),
        prompts=read_table(stage.dep("cluster/prompts.parquet"), PROMPTS),
        clusters=Clusters.read(stage.dep("cluster/clusters.json")),
        ballots=read_table(stage.dep("llm_select/ballots.parquet"), BALLOTS),
        selected=read_table(stage.dep("choose/selected.parquet"), SELECTED),
        choice=Choice.read(stage.dep("choose/choice.json")),
        usage=Usage.read(stage.dep("llm_select/usage.json")),
    )


def _summary(result: ValidationResult) -> str:
    lines = [
        f"  {finding.table}: {finding.expectation}: {finding.detail}"
        for finding in result.failed[:MAX_LISTED]
    ]
    n_more = len(result.failed) - len(lines)
    head = f"{len(result.failed)} of {len(result.expectations)} expectations are not met"
    return "\n".join([head, *lines, *([f"  and {n_more} more"] if n_more else [])])
