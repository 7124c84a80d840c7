"""Select exactly N of the judged records: the judge has ranked them, and coverage decides."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.choose.inputs import Inputs
from tasks.choose.order import by_coverage, by_ranks
from tasks.choose.outputs import write_outputs
from tasks.choose.params import Objective, check
from tasks.lib.core.errors import ParamError
from tasks.lib.core.events import log
from tasks.lib.core.params import PARAMS_FILE, load_budgets, load_seed
from tasks.lib.core.stage import Stage
from tasks.lib.documents.judgement import read_judgements


def work(stage: Stage) -> None:
    """Read the ballots and the vectors; write the selection and its receipts."""
    n_selected, budget = choose(stage, stage.out), load_budgets(stage.values)[-1]
    log.info("choose: %s of %s records selected", f"{n_selected:,}", f"{budget:,}")


def choose(stage: Stage, out: Callable[[str], Path]) -> int:
    """Write the selection that follows from the inputs of a stage; return its size.

    The same inputs give the same bytes. The size is the largest budget. It is smaller only if
    llm_select was stopped by its spending limit before it had judged enough records.

    Raises:
        DataError: An input is missing or does not match its schema.
        ParamError: A parameter is wrong, or the budget exceeds the number of judged records.
    """
    params, seed = check(stage.values), load_seed(stage.values)
    inputs = Inputs.read(stage)
    n = _size(inputs, load_budgets(stage.values)[-1])
    candidates = inputs.candidates
    if params.objective is Objective.COVERAGE:
        cover = by_coverage(candidates, n, params.judge_weight, seed)
    else:
        cover = by_ranks(candidates, n, seed)
    places = np.empty(len(candidates.vectors), np.intp)  # in `judged`, by unique record
    places[candidates.rows] = np.arange(len(candidates.rows))
    chosen = inputs.judged.take(places[cover.rows]).append_column("gain", pa.array(cover.gains))
    numbers = set(chosen["prompt"].to_pylist())
    lines = read_judgements(stage.dep("llm_select/judgements.jsonl"))
    judgements = {line.prompt: line for line in lines if line.prompt in numbers}
    write_outputs(out, inputs.pool_file, inputs.pool_rows[cover.rows], chosen, judgements)
    return n


def _size(inputs: Inputs, budget: int) -> int:
    """Return the number of records to select.

    Raises:
        ParamError: The budget exceeds the number of judged records, and no more will be judged.
    """
    n_judged = len(inputs.judged)
    if budget <= n_judged or inputs.is_partial:
        return min(budget, n_judged)
    raise ParamError(
        f"llm_select.budget is {budget:,}, but only {n_judged:,} records are judged: the judge set "
        f"{inputs.n_set_aside:,} aside (the set_aside column of ballots.parquet says why)",
        where=PARAMS_FILE,
        fix=f"Set it to {n_judged} or less, or add a fallback route that accepts these records.",
    )
