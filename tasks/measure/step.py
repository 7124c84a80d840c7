"""Measure the selection and those of other methods, and compare them with random ones."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.lib.core.errors import DataError, nearest
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_budgets, load_section, load_seed
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.metrics import OURS, RANDOM, SPACE, BaselineUsage, MethodCost, Metrics
from tasks.lib.documents.usage import Usage
from tasks.lib.similarity.corpus import REMAKE, Corpus
from tasks.lib.similarity.selections import MethodSelection, read_selections
from tasks.measure.curves import curves, sizes
from tasks.measure.intervals import Bootstrap
from tasks.measure.summary import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Measured,
    as_csv,
    overlap,
    summarise,
)
from tasks.measure.text_metrics import text_metrics
from tasks.measure.vector_metrics import vector_metrics

if TYPE_CHECKING:
    from tasks.measure.reference import Reference


N_SAMPLED = 1000  # records from which the names of columns are taken
NO_COST = MethodCost(calls=0, prompt_tokens=0, completion_tokens=0, usd=0)


class Measure(Params):
    """Section measure of params.yaml."""

    dimensions: Annotated[int, Field(ge=2, le=4096)]
    shares: list[Annotated[str, Field(min_length=1)]]
    n_test: Annotated[int, Field(ge=0)]
    n_resamples: Annotated[int, Field(ge=100, le=10_000)]  # each takes a byte per record


def check(values: Mapping[str, Any]) -> Measure:
    """Return the checked section measure; the seed is checked too.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "measure", Measure)


def measure(reference: "Reference", selections: Iterable[MethodSelection]) -> Iterator[Measured]:
    """Yield the figures of each selection of at least one record, in their order.

    The figures of the group `text` depend on the texts alone. The others are taken in two spaces:
    `words`, which no method selects in, and `vectors`, in which the records were grouped.
    """
    for method, seed, rows in selections:
        figures = {"text": text_metrics(reference.texts, reference.labels, rows)}
        for name, vectors in reference.spaces.items():
            in_space = vector_metrics(reference.covered[name], vectors[rows])
            figures[name] = in_space | reference.probe.figures(vectors, rows)
        yield Measured(method, seed, rows, figures)


def work(stage: Stage) -> None:
    """Read the selections and write their figures; log our coverage and that of random ones."""
    from tasks.measure.reference import Reference  # noqa: PLC0415  scikit-learn

    params, seed = check(stage.values), load_seed(stage.values)
    corpus = Corpus.read(
        stage.dep("ingest/pool.parquet"),
        stage.dep("dedupe/unique.parquet"),
        stage.dep("embed/vectors.npy"),
    )
    for column in params.shares:
        _report_missing(column, corpus.extra)
    usage = Usage.read(stage.dep("llm_select/usage.json"))
    costs = {
        **BaselineUsage.read(stage.dep("baseline/usage.json")).costs,
        OURS: MethodCost(**usage.model_dump(include=set(MethodCost.model_fields))),
    }
    selections = [
        *_selected(corpus, stage.dep("choose/selected.parquet"), seed, usage),
        *read_selections(stage.dep("baseline/selections.parquet"), corpus),
    ]
    *parts, budget = sizes(load_budgets(stage.values))
    groups = [selections, *(_prefixes(selections, n) for n in parts)]
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        reference = Reference.of(corpus, params.dimensions, params.shares, params.n_test, seed)
        measured, *by_part = _measure_groups(stage, reference, groups)
    methods = summarise(measured, Bootstrap(params.n_resamples, seed))
    for method, entry in methods.items():
        entry["cost"] = costs.get(method, NO_COST).model_dump()
    whole = [run for run in measured if len(run.rows) == budget]
    document = {
        "methods": methods,
        "curves": curves(dict(zip([*parts, budget], [*by_part, whole], strict=True))),
        "overlap": overlap(measured),
        "lower_is_better": LOWER_IS_BETTER,
        "higher_is_better": HIGHER_IS_BETTER,
    }
    Metrics.model_validate(document).write(stage.out("measure/metrics.json"))
    table = as_csv(methods, SPACE)
    stage.out("measure/figures.csv").write_text(table, encoding="utf-8", newline="\n")
    _log_coverage(methods)


def _report_missing(column: str, extra: Sequence[str]) -> None:
    """Log that no record has a column of ``measure.shares``, and a column with a similar name."""
    if any(f"{json.dumps(column, ensure_ascii=False)}: " in cells for cells in extra):
        return
    names = {name for cells in extra[:N_SAMPLED] for name in json.loads(cells)}
    similar = nearest(column, names)
    level = logging.WARNING if similar else logging.INFO
    known = ", ".join(sorted(names)) or "none"
    text = "measure.shares: the pool has no column %s%s; its other columns: %s"
    log.log(level, text, column, similar, known)


def _measure_groups(
    stage: Stage, reference: "Reference", groups: Sequence[Sequence[MethodSelection]]
) -> list[list[Measured]]:
    progress = stage.progress(sum(map(len, groups)), "selections")
    measured: list[list[Measured]] = [[] for _ in groups]
    for runs, selections in zip(measured, groups, strict=True):
        for run in measure(reference, selections):
            runs.append(run)
            progress.advance()
    return measured


def _prefixes(selections: Sequence[MethodSelection], n: int) -> list[MethodSelection]:
    """Return the first n records of each selection that has more."""
    return [s._replace(rows=s.rows[:n]) for s in selections if len(s.rows) > n]


def _selected(corpus: Corpus, path: Path, seed: int, usage: Usage) -> Iterator[MethodSelection]:
    """Yield our own selection, unless the spending limit left it empty."""
    ids = read_table(path, SELECTED, ["id"])["id"]
    if len(ids):
        yield MethodSelection(OURS, seed, corpus.rows(ids, path))
    elif not usage.partial:
        raise DataError("the selection is empty", where=str(path), fix=REMAKE)


def _log_coverage(methods: Mapping[str, Any]) -> None:
    """Log the mean coverage of our selection and of random ones, in the space of words."""
    if OURS not in methods:
        log.warning("measure: nothing is selected yet, so only the other methods are measured")
        return
    ours = methods[OURS][SPACE]["coverage_mean"]["value"]
    by_random = ""
    if RANDOM in methods:
        by_random = f"; {methods[RANDOM][SPACE]['coverage_mean']['value']:.4f} if chosen at random"
    log.info(
        "measure: on average a record is %.4f from the nearest selected record in words%s",
        ours,
        by_random,
    )
