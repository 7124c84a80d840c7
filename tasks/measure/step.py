"""Measure the selection and what other methods would have chosen, each beside chance."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log
from tasks.lib.core.params import Params, load_budgets, load_section, load_seed
from tasks.lib.core.schemas import SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table
from tasks.lib.documents.metrics import CHANCE, OURS, SPACE, BaselineUsage, MethodCost, Metrics
from tasks.lib.documents.usage import Usage
from tasks.lib.similarity.corpus import REMAKE, Corpus
from tasks.lib.similarity.selections import Selection, read_selections
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
from tasks.measure.text_metrics import text_figures
from tasks.measure.vector_metrics import spread_figures

if TYPE_CHECKING:
    from tasks.measure.reference import Rulers


NO_COST = MethodCost(calls=0, prompt_tokens=0, completion_tokens=0, usd=0)


class Measure(Params):
    """Section measure of params.yaml."""

    dimensions: Annotated[int, Field(ge=2, le=4096)]
    shares: list[Annotated[str, Field(min_length=1)]]
    n_test: Annotated[int, Field(ge=0)]
    n_resamples: Annotated[int, Field(ge=100, le=10_000)]  # a byte a record of the pool each


def check(values: Mapping[str, Any]) -> Measure:
    """The checked section; the seed is checked, too.

    Raises:
        ParamError: A key is missing, unknown, of the wrong type or out of range.
    """
    load_seed(values)
    return load_section(values, "measure", Measure)


def measure(rulers: "Rulers", selections: Iterable[Selection]) -> Iterator[Measured]:
    """The figures of each selection of at least one record, in their order.

    Those of the group `text` look at the texts alone; the others are taken in two spaces: `words`,
    in which no method chose, and `vectors`, in which the records were grouped.
    """
    for method, seed, rows in selections:
        figures = {"text": text_figures(rulers.texts, rulers.labels, rows)}
        for name, vectors in rulers.spaces.items():
            spread = spread_figures(rulers.covered[name], vectors[rows])
            figures[name] = spread | rulers.exam.figures(vectors, rows)
        yield Measured(method, seed, rows, figures)


def work(stage: Stage) -> None:
    """Read the selections, write their figures, and tell those of ours beside chance."""
    from tasks.measure.reference import Rulers  # noqa: PLC0415  scikit-learn

    params, seed = check(stage.values), load_seed(stage.values)
    corpus = Corpus.read(
        stage.dep("ingest/pool.parquet"),
        stage.dep("dedupe/unique.parquet"),
        stage.dep("embed/vectors.npy"),
    )
    usage = Usage.read(stage.dep("llm_select/usage.json"))
    costs = {
        **BaselineUsage.read(stage.dep("baseline/usage.json")).costs,
        OURS: MethodCost(**usage.model_dump(include=set(MethodCost.model_fields))),
    }
    selections = [
        *_selected(corpus, stage.dep("llm_select/selected.parquet"), seed, usage),
        *read_selections(stage.dep("baseline/selections.parquet"), corpus),
    ]
    *parts, budget = sizes(load_budgets(stage.values))
    beginnings = [_beginnings(selections, n) for n in parts]
    progress = stage.progress(sum(map(len, [selections, *beginnings])), "selections")
    with threadpool_limits(1):  # a sum's last bits tell how many threads shared it
        rulers = Rulers.of(corpus, params.dimensions, params.shares, params.n_test, seed)

        def measure_all(some: Iterable[Selection]) -> Iterator[Measured]:
            for one in measure(rulers, some):
                progress.advance()
                yield one

        measured, *begun = (list(measure_all(some)) for some in [selections, *beginnings])
    methods = summarise(measured, Bootstrap(params.n_resamples, seed))
    for method, entry in methods.items():
        entry["cost"] = costs.get(method, NO_COST).model_dump()
    whole = [one for one in measured if len(one.rows) == budget]
    document = {
        "methods": methods,
        "curves": curves(dict(zip([*parts, budget], [*begun, whole], strict=True))),
        "overlap": overlap(measured),
        "lower_is_better": LOWER_IS_BETTER,
        "higher_is_better": HIGHER_IS_BETTER,
    }
    Metrics.model_validate(document).write(stage.out("measure/metrics.json"))
    table = as_csv(methods, SPACE)
    stage.out("measure/figures.csv").write_text(table, encoding="utf-8", newline="\n")
    _tell(methods)


def _selected(corpus: Corpus, path: Path, seed: int, usage: Usage) -> Iterator[Selection]:
    """Our own selection; none where the money cap left it empty."""
    ids = read_table(path, SELECTED, ["id"])["id"]
    if len(ids):
        yield Selection(OURS, seed, corpus.rows(ids, path))
    elif not usage.partial:
        raise DataError("the selection is empty", where=str(path), fix=REMAKE)


def _beginnings(selections: Iterable[Selection], n: int) -> list[Selection]:
    """The first n records of each selection that has more."""
    return [one._replace(rows=one.rows[:n]) for one in selections if len(one.rows) > n]


def _tell(methods: Mapping[str, Any]) -> None:
    """The mean coverage of ours and of chance, in the space that no method chose in."""
    if OURS not in methods:
        log.warning("measure: nothing is selected yet, so only the other methods are measured")
        return
    ours = methods[OURS][SPACE]["coverage_mean"]
    told = f"measure: a record is {ours['value']:.4f} from the nearest selected one in words"
    if CHANCE in methods:
        chance = methods[CHANCE][SPACE]["coverage_mean"]
        told += f"; {chance['value']:.4f} at random"
    log.info("%s", told)
