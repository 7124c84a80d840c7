"""Select exactly N of the records that the judge has ranked, by coverage or by rank."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.choose.count_quotas import count_quotas, find_quotas, require_of, warn_of_missed
from tasks.choose.inputs import Inputs
from tasks.choose.order import by_coverage, by_ranks
from tasks.choose.other_weights import compare_weights
from tasks.choose.outputs import write_outputs
from tasks.choose.params import Objective, check
from tasks.choose.targets import Targets, judge_by_targets
from tasks.choose.weights import find_weights
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_budgets, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.coverage.greedy import Cover
from tasks.lib.documents.choice import Choice, TargetFigure, WeightFigure
from tasks.lib.documents.judgement import read_judgements
from tasks.lib.similarity.cosine import Rows
from tasks.lib.unique import read_vectors


def work(stage: Stage) -> None:
    """Read the ballots and the vectors; write the selection and its receipts."""
    choice, budget = choose(stage, stage.out), load_budgets(stage.values)[-1]
    log.info("choose: %s of %s records selected", f"{choice.n_selected:,}", f"{budget:,}")
    if choice.targets:
        log.info("choose: %s", _describe(choice.targets))


def _describe(targets: TargetFigure) -> str:
    n_below, n = targets.n_random_below, targets.n_random
    return (
        f"the mean cosine to the {targets.n_held_out:,} held-out targets is {targets.cosine:.3f}, "
        f"compared with {targets.random_cosine:.3f} for random selections; the selection is closer "
        f"than {n_below} of {n} random ones{'' if n_below == n else ', which may be chance'}"
    )


def choose(stage: Stage, out: Callable[[str], Path]) -> Choice:
    """Select from a stage's inputs and write the selection; return how well it meets its goals.

    The same inputs give byte-identical outputs. The size is the largest budget. It is smaller only
    if llm_select was stopped by its spending limit before it had judged enough records.

    Raises:
        DataError: An input is missing or does not match its schema.
        ParamError: A parameter is wrong, the budget exceeds the number of judged records, or the
            quotas cannot be met.
    """
    params, seed = check(stage.values), load_seed(stage.values)
    inputs, budgets = Inputs.read(stage), load_budgets(stage.values)
    n = _size(inputs, budgets[-1])
    sizes = [*(budget for budget in budgets if budget < n), n]
    targets = Targets.split(read_vectors(stage.dep("embed/targets.npy")), seed)
    weights = find_weights(inputs, params.weight_column, targets)
    candidates = inputs.candidates._replace(weights=weights)
    wanted = find_quotas(params.quotas, inputs, sizes)
    quotas = require_of(wanted, n)
    others: tuple[WeightFigure, ...] = ()
    if params.objective is Objective.COVERAGE:
        cover = by_coverage(candidates, n, params.judge_weight, seed, quotas)
        others = compare_weights(candidates, cover, params.judge_weight, seed, quotas)
    else:
        cover = by_ranks(candidates, n, seed, quotas)
    places = np.empty(len(candidates.vectors), np.intp)  # in `judged`, by unique record
    places[candidates.rows] = np.arange(len(candidates.rows))
    counts = count_quotas(wanted, places[cover.rows], sizes)
    warn_of_missed(counts)
    _write(stage, out, inputs, places[cover.rows], cover, weights, list(params.quotas))
    choice = Choice(
        n_selected=n,
        n_annotated=len(candidates.annotated),
        n_known=int(inputs.is_known.sum()),
        quotas=counts,
        targets=judge_by_targets(inputs, targets, cover.rows, seed),
        weights=others,
    )
    choice.write(out("choose/choice.json"))
    return choice


def _write(  # noqa: PLR0913, PLR0917
    stage: Stage,
    out: Callable[[str], Path],
    inputs: Inputs,
    places: Rows,
    cover: Cover,
    weights: NDArray[np.float64],
    quota_columns: list[str],
) -> None:
    """Write the selected records, given their places among the judged records."""
    chosen = inputs.judged.take(places)
    chosen = chosen.append_column("gain", pa.array(cover.gains))
    chosen = chosen.append_column("weight", pa.array(weights[cover.rows]))
    numbers = set(chosen["prompt"].to_pylist())
    lines = read_judgements(stage.dep("llm_select/judgements.jsonl"))
    judgements = {line.prompt: line for line in lines if line.prompt in numbers}
    pool_rows = inputs.pool_rows[cover.rows]
    write_outputs(out, inputs.pool_file, pool_rows, chosen, judgements, quota_columns=quota_columns)


def _size(inputs: Inputs, budget: int) -> int:
    """Return the number of records to select.

    Raises:
        ParamError: The budget exceeds the number of judged records, and no more will be judged.
    """
    n_judged, n_known = len(inputs.judged), int(inputs.is_known.sum())
    if budget <= n_judged or inputs.is_partial:
        return min(budget, n_judged)
    raise ParamError(
        f"llm_select.budget is {budget:,}, but only {n_judged:,} records are available: the judge "
        f"set {inputs.n_set_aside:,} aside (the set_aside column of ballots.parquet says why)"
        + (f", and {n_known:,} repeat records in choose.annotated" if n_known else ""),
        where=PARAMS_FILE,
        fix=f"Set it to {n_judged} or less, or add a fallback route that accepts these records.",
    )
