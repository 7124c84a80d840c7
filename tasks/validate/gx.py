"""Run Great Expectations over tables in memory, and write its Data Docs.

Nothing else is written to disk; telemetry and progress bars are turned off.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import great_expectations as gx
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.store.store import DataDocsSiteConfigTypedDict
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from tasks.lib.documents.validation import Finding
from tasks.validate.data_docs import make_static
from tasks.validate.table import Table

MAX_ROWS_NAMED = 10  # in the detail of a finding; Data Docs show the same number
MAX_VALUE_CHARS = 60


class GxRun(NamedTuple):
    """The findings in suite order, and the context that can render them."""

    findings: list[Finding]
    context: EphemeralDataContext


def run_gx(tables: Mapping[str, Table], suites: Mapping[str, Sequence[Expectation]]) -> GxRun:
    """Check each table against its suite; expectations that cannot be evaluated count as unmet."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    source = context.data_sources.add_pandas("run")
    findings: list[Finding] = []
    for name, suite in suites.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        definition = gx.ValidationDefinition(
            name=name,
            data=batch,
            suite=context.suites.add(gx.ExpectationSuite(name=name, expectations=list(suite))),
        )
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": tables[name].frame},
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": MAX_ROWS_NAMED,
                "unexpected_index_column_names": tables[name].key,
            },
        )
        # GX puts expectations that could not be evaluated first; we keep the suite's order.
        by_text = {_text(outcome): outcome for outcome in result.results}
        ordered = [by_text[expectation.description or ""] for expectation in suite]
        findings += [_finding(name, outcome, tables[name].key) for outcome in ordered]
    return GxRun(findings, context)


def write_docs(run: GxRun, folder: Path) -> Path:
    """Write the Data Docs of a run as static pages, replacing what is in `folder`.

    Returns:
        The page to open first.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    site: DataDocsSiteConfigTypedDict = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(part)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    run.context.add_data_docs_site("local", site)
    try:
        run.context.build_data_docs()
        make_static(part, run.findings)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / "index.html"


def _text(result: ExpectationValidationResult) -> str:
    """Return the sentence of an expectation."""
    config = result.expectation_config
    return (config and config.description) or ""


def _finding(table: str, result: ExpectationValidationResult, key: Sequence[str]) -> Finding:
    config = result.expectation_config
    return Finding(
        table=table,
        expectation=_text(result),
        success=bool(result.success),
        detail="" if result.success else _detail(result, key),
        is_warning=config is not None and config.severity == FailureSeverity.WARNING,
    )


def _detail(result: ExpectationValidationResult, key: Sequence[str]) -> str:
    """Describe the rows that break an expectation: how many there are, and the first of them."""
    facts: Any = result.to_json_dict()["result"]
    if "unexpected_count" in facts:
        named = "; ".join(_row(row, key) for row in facts["partial_unexpected_index_list"])
        return f"{facts['unexpected_count']:,} of {facts['element_count']:,} rows: {named}"
    if "observed_value" in facts:
        return f"found {facts['observed_value']}"
    return f"could not be evaluated: {_reason(result.exception_info)}"


def _row(row: Mapping[str, Any], key: Sequence[str]) -> str:
    columns = [*key, *sorted(row.keys() - set(key))]
    return ", ".join(f"{column} {_value(row[column])}" for column in columns)


def _value(value: Any) -> str:
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."


def _reason(exception_info: Mapping[str, Any]) -> str:
    """Return the first message in GX's exception info: one exception, or one for each metric."""
    infos = [exception_info] if "exception_message" in exception_info else exception_info.values()
    return next(str(info["exception_message"]) for info in infos if info["exception_message"])
