"""Prove that the selection is what was asked for, and that no record was lost on the way."""

import warnings
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.core.errors import CheckFailed
from tasks.lib.core.events import log
from tasks.lib.core.json_files import read_document
from tasks.lib.core.params import Params, load_budgets, load_section
from tasks.lib.core.schemas import (
    DEDUPE_DROPPED,
    INGEST_DROPPED,
    PICKS,
    POOL,
    PROMPTS,
    SELECTED,
    UNIQUE,
)
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_batches, read_table
from tasks.validate.artifacts import (
    Artifacts,
    Limits,
    outline,
    row_norms,
    source_rows,
)
from tasks.validate.result import Verdict, count_dropped, count_funnel

MAX_FAILED_TOLD = 10
BATCH_ROWS = 8192  # of the pool's texts in memory at a time
USAGE_KEYS = ("selected", "partial", "methods", "rounds", "slots", "agreement", "attention_checks")


class OnFault(StrEnum):
    """What happens when the judge goes by position or chance, or fails attention checks."""

    WARN = "warn"
    FAIL = "fail"


class Validate(Params):
    """The section validate of params.yaml."""

    max_near_rate: Annotated[float, Field(ge=0, le=1)]
    max_fallback_rate: Annotated[float, Field(ge=0, le=1)]
    max_position_bias: Annotated[float, Field(ge=0, le=1)]
    max_attention_failures: Annotated[float, Field(ge=0, le=1)]
    min_agreement: Annotated[float, Field(ge=-1, le=1)]
    on_judge_fault: Annotated[OnFault, Field(strict=False)]
    max_chars: Annotated[int, Field(gt=0)]


def check(values: Mapping[str, Any]) -> Validate:
    """The section validate, checked.

    Raises:
        ParamError: A key is unknown, missing or out of range.
    """
    return load_section(values, "validate", Validate)


def validate(artifacts: Artifacts, limits: Limits) -> Verdict:
    """What holds and what does not of all that is promised about a run.

    Looks at every record, not at a sample, and trusts no number that can be counted again.
    """
    with warnings.catch_warnings():
        # Great Expectations imports two modules that Python deprecates.
        warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
        # Imported here, since that takes seconds and `check` must not wait for it.
        from tasks.validate.gx import examine, write_docs  # noqa: PLC0415
        from tasks.validate.pool_tables import pool_tables  # noqa: PLC0415
        from tasks.validate.selection_tables import selection_tables  # noqa: PLC0415
        from tasks.validate.suite import suites  # noqa: PLC0415

    tables = pool_tables(artifacts, limits) | selection_tables(artifacts, limits)
    examination = examine(tables, suites(limits))
    return Verdict(
        funnel=count_funnel(artifacts),
        dropped=count_dropped(artifacts),
        findings=tuple(examination.findings),
        partial=artifacts.usage["partial"],
        write_docs=lambda folder: write_docs(examination.context, folder),
    )


def work(stage: Stage) -> None:
    """Read what the stages before wrote; write the verdict, or stop with what is wrong."""
    params = check(stage.values)
    artifacts = _read(stage)
    is_partial = artifacts.usage["partial"] is not None
    budgets = load_budgets(stage.values)
    limits = Limits(
        n_selected=artifacts.usage["selected"] if is_partial else budgets[-1],
        budgets=budgets,
        is_partial=is_partial,
        near_threshold=stage.values["dedupe"]["near_threshold"],
        is_judge_strict=params.on_judge_fault is OnFault.FAIL,
        **params.model_dump(exclude={"on_judge_fault"}),
    )
    verdict = validate(artifacts, limits)
    docs = verdict.write_docs(stage.scratch / "data_docs")
    log.info("validate: Data Docs are in %s", docs)
    # The shell publishes nothing of a step that fails: a bad verdict gets a place of its own.
    failed_file = stage.scratch / "failed_validation.json"
    stage.out("validate/result.json").write_text(verdict.to_json(), encoding="utf-8", newline="\n")
    if verdict.failed:
        failed_file.write_text(verdict.to_json(), encoding="utf-8", newline="\n")
        raise CheckFailed(
            _what_failed(verdict),
            where="validate",
            fix=f"The whole verdict is in {failed_file}; open {docs} to see it as pages.",
        )
    failed_file.unlink(missing_ok=True)
    for finding in verdict.warnings:
        log.warning("validate: %s: %s", finding.expectation, finding.detail)
    n_met = len(verdict.findings) - len(verdict.warnings)
    log.info("validate: %d of %d expectations are met", n_met, len(verdict.findings))
    if is_partial:
        log.warning("validate: the selection is PARTIAL (%s)", verdict.partial)


def _read(stage: Stage) -> Artifacts:
    pool = stage.dep("ingest/pool.parquet")
    return Artifacts(
        pool=outline(POOL, read_batches(pool, POOL, POOL.names, BATCH_ROWS)),
        n_rows=source_rows(pool),
        ingest_dropped=read_table(stage.dep("ingest/dropped.parquet"), INGEST_DROPPED),
        unique=read_table(stage.dep("dedupe/unique.parquet"), UNIQUE),
        dedupe_dropped=read_table(stage.dep("dedupe/dropped.parquet"), DEDUPE_DROPPED),
        norms=row_norms(stage.dep("embed/vectors.npy")),
        prompts=read_table(stage.dep("cluster/prompts.parquet"), PROMPTS),
        clusters=read_document(stage.dep("cluster/clusters.json"), ["n_records", "n_prompts"]),
        picks=read_table(stage.dep("llm_select/picks.parquet"), PICKS),
        selected=read_table(stage.dep("llm_select/selected.parquet"), SELECTED),
        usage=read_document(stage.dep("llm_select/usage.json"), USAGE_KEYS),
    )


def _what_failed(verdict: Verdict) -> str:
    lines = [
        f"  {table}: {expectation}: {detail}"
        for table, expectation, _, detail, _ in verdict.failed[:MAX_FAILED_TOLD]
    ]
    n_untold = len(verdict.failed) - len(lines)
    more = [f"  and {n_untold} more"] if n_untold else []
    head = f"{len(verdict.failed)} of {len(verdict.findings)} expectations are not met"
    return "\n".join([head, *lines, *more])
