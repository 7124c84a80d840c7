"""Measure our selection and those of other methods, and compare them with random selections."""

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
from tasks.lib.documents import paper_table
from tasks.lib.documents.labels import LEADING, method_name
from tasks.lib.documents.metrics import OURS, RANDOM, SPACE, BaselineUsage, MethodCost, Metrics
from tasks.lib.documents.savings import Equivalent
from tasks.lib.documents.usage import Usage
from tasks.lib.similarity.corpus import REMAKE, Corpus
from tasks.lib.similarity.novelty import novel_sum
from tasks.lib.similarity.selections import MethodSelection, read_selections
from tasks.measure.curves import curves, sizes
from tasks.measure.intervals import Bootstrap, Figure, Whole
from tasks.measure.selection_spaces import chosen_in
from tasks.measure.summary import (
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    Measured,
    as_csv,
    group,
    overlap,
    summarise,
)
from tasks.measure.text_metrics import text_metrics

if TYPE_CHECKING:
    from tasks.measure.evaluation_data import Reference


BY_TYPICALITY = ("offline", "fallback")  # pick methods
N_SAMPLED = 1000  # records from which column names are taken
NO_COST = MethodCost(calls=0, prompt_tokens=0, completion_tokens=0, usd=0)


class Measure(Params):
    """The measure section of params.yaml."""

    dimensions: Annotated[int, Field(ge=2, le=4096)]
    shares: list[Annotated[str, Field(min_length=1)]]
    n_test: Annotated[int, Field(ge=0)]
    n_resamples: Annotated[int, Field(ge=100, le=10_000)]  # each takes a byte per record


def check(values: Mapping[str, Any]) -> Measure:
    """Check the measure section and the seed; return the section.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "measure", Measure)


def measure(
    reference: "Reference", selections: Iterable[MethodSelection], parts: Sequence[int] = ()
) -> Iterator[list[Measured]]:
    """Yield the figures of each selection, in order, with its prefixes first.

    The figures of the `text` group depend only on the texts. The others are computed in each space.

    Args:
        reference: The data that selections are measured against.
        selections: The selections to measure, each of at least one record.
        parts: The sizes of the prefixes to measure as well, ascending. A size is skipped if the
            selection is not larger.
    """
    for method, seed, rows in selections:
        sizes = [*(n for n in parts if n < len(rows)), len(rows)]
        figures: list[dict[str, dict[str, Figure]]] = [
            {"text": text_metrics(reference.texts, reference.labels, rows[:n])} for n in sizes
        ]
        for name, space in reference.spaces.items():
            in_space = space.figures(rows, sizes)
            probed: Iterable[dict[str, Figure]] = [{} for _ in sizes]
            if name != "outputs":  # in that space, the probe would know the answers
                probed = reference.probe.figures(space.vectors, rows, sizes)
            for groups, spread, answered in zip(figures, in_space, probed, strict=True):
                groups[name] = spread | answered
        for groups, n in zip(figures, sizes, strict=True):
            if n > 1:
                chosen = reference.spaces["vectors"].vectors[rows[:n]]
                novelty = novel_sum(chosen, reference.densities[rows[:n]])
                groups["vectors"]["novel_sum"] = Whole(novelty)
        yield [
            Measured(method, seed, rows[:n], groups)
            for n, groups in zip(sizes, figures, strict=True)
        ]


def work(stage: Stage) -> None:
    """Read the selections and write their figures; log our coverage and that of random ones."""
    from tasks.measure.evaluation_data import Reference  # noqa: PLC0415  scikit-learn
    from tasks.measure.savings import draw_curves, equivalents, savings  # noqa: PLC0415

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
    with threadpool_limits(1):  # the last bits of a sum depend on the number of threads
        reference = Reference.of(corpus, params.dimensions, params.shares, params.n_test, seed)
        runs = _measure_all(stage, reference, selections, parts)
        by_method = group(run[-1] for run in runs)
        ours = by_method.get(OURS, [])
        random = draw_curves(reference, len(ours[0].rows) if ours else budget, seed)
        saved = savings(reference, random, ours)
        worth = {name: equivalents(reference, random, ms) for name, ms in by_method.items()}
    methods = summarise(by_method, Bootstrap(params.n_resamples, seed))
    is_typical = any(usage.methods.get(name) for name in BY_TYPICALITY)
    for method, entry in methods.items():
        entry["cost"] = costs.get(method, NO_COST).model_dump()
        entry["chose_in"] = chosen_in(method, is_typical_judge=is_typical)
    by_size = {n: [m for run in runs for m in run if len(m.rows) == n] for n in [*parts, budget]}
    document = {
        "methods": methods,
        "curves": curves(by_size),
        "overlap": overlap(by_method),
        "lower_is_better": LOWER_IS_BETTER,
        "higher_is_better": HIGHER_IS_BETTER,
    }
    metrics = Metrics.model_validate(document)
    metrics.write(stage.out("measure/metrics.json"))
    saved.write(stage.out("measure/savings.json"))
    table = table_rows(metrics, worth, saved.max_size)
    _write(stage.out("measure/figures.csv"), as_csv(methods, SPACE))
    _write(stage.out("measure/table.csv"), paper_table.as_csv(table))
    _write(stage.out("measure/table.tex"), paper_table.as_latex(table))
    _log_coverage(methods)
    log.info("measure: %s", saved.sentence)


def table_rows(
    metrics: Metrics, worth: Mapping[str, Mapping[str, Equivalent]], max_size: int
) -> list[paper_table.TableRow]:
    """Return the rows of the paper table: our method, then the others, with random last."""
    order = sorted(metrics.methods, key=lambda m: (m != OURS, m == RANDOM))
    return [
        paper_table.TableRow(
            name=method_name(method),
            n_records=entry.n_records,
            n_seeds=entry.n_seeds,
            metrics={name: found for name in LEADING if (found := entry.find(name))},
            n_random=worth[method],
            max_size=max_size,
            calls=entry.cost.calls,
            usd=entry.cost.usd,
            chose_in=entry.chose_in or (),
        )
        for method in order
        for entry in [metrics.methods[method]]
    ]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _report_missing(column: str, extra: Sequence[str]) -> None:
    """Log a message if no record has a column in ``measure.shares``; suggest a similar name."""
    if any(f"{json.dumps(column, ensure_ascii=False)}: " in cells for cells in extra):
        return
    names = {name for cells in extra[:N_SAMPLED] for name in json.loads(cells)}
    similar = nearest(column, names)
    level = logging.WARNING if similar else logging.INFO
    known = ", ".join(sorted(names)) or "none"
    text = "measure.shares: the pool has no column %s%s; its columns are: %s"
    log.log(level, text, column, similar, known)


def _measure_all(
    stage: Stage,
    reference: "Reference",
    selections: Sequence[MethodSelection],
    parts: Sequence[int],
) -> list[list[Measured]]:
    progress = stage.progress(len(selections), "selections")
    runs = []
    for run in measure(reference, selections, parts):
        runs.append(run)
        progress.advance()
    return runs


def _selected(corpus: Corpus, path: Path, seed: int, usage: Usage) -> Iterator[MethodSelection]:
    """Yield our own selection, unless the spending limit left it empty."""
    ids = read_table(path, SELECTED, ["id"])["id"]
    if len(ids):
        yield MethodSelection(OURS, seed, corpus.rows(ids, path))
    elif not usage.partial:
        raise DataError("the selection is empty", where=str(path), fix=REMAKE)


def _log_coverage(methods: Mapping[str, Any]) -> None:
    """Log the mean coverage of our selection and of random selections, in the space of words."""
    if OURS not in methods:
        log.warning(
            "measure: nothing has been selected yet, so only the other methods are measured"
        )
        return
    ours = methods[OURS][SPACE]["coverage_mean"]["value"]
    by_random = ""
    if RANDOM in methods:
        by_random = f"; {methods[RANDOM][SPACE]['coverage_mean']['value']:.4f} for random ones"
    log.info(
        "measure: mean distance to the nearest selected record in the word space: %.4f%s",
        ours,
        by_random,
    )
