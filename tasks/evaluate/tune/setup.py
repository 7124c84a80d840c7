"""Read what an evaluation needs: its runs, the tokens of its records, and its model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tasks.evaluate.params import Evaluate, require_ready
from tasks.evaluate.tables import QUESTIONS
from tasks.evaluate.tune.arms import ArmRun, Sources, arm_runs, read_draws
from tasks.evaluate.tune.language_model import (
    Machine,
    load_model,
    load_tokenizer,
    weights_digest,
)
from tasks.evaluate.tune.prompts import Example, require_chat_template, tokenize
from tasks.evaluate.tune.store import result_key
from tasks.evaluate.tune.train import Recipe
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import load_seed
from tasks.lib.core.schemas import POOL, SELECTED, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table


class TuningSetup(NamedTuple):
    """An evaluation that is ready to start.

    Attributes:
        weights: The hash of the model's weights.
        examples: The training records of all runs, by id.
        questions: The test records that are asked, in order.
    """

    params: Evaluate
    seed: int
    machine: Machine
    tokenizer: Any
    weights: str
    runs: list[ArmRun]
    examples: Mapping[str, Example]
    questions: list[Example]

    @property
    def model(self) -> str:
        """The model's name or folder."""
        return str(self.params.model)

    def load(self) -> Any:
        """Return the untrained model."""
        return load_model(self.model, self.machine)

    def recipe(self, advance: Callable[[], None], max_steps: int = -1) -> Recipe:
        """Return how the models are trained."""
        return Recipe(self.params, self.machine, self.load, self.tokenizer, advance, max_steps)

    def training(self, run: ArmRun) -> list[Example]:
        """Return the training records of a run, in order."""
        return [self.examples[id_] for id_ in run.ids]

    def adapter_key(self, run: ArmRun) -> str:
        """Return the key of a run's adapter: a hash of all that determines its weights."""
        params = self.params
        if not run.ids:
            return result_key(weights=self.weights, machine=self.machine)
        return result_key(
            weights=self.weights,
            machine=self.machine,
            epochs=params.epochs,
            learning_rate=params.learning_rate,
            lora_rank=params.lora_rank,
            batch_records=params.batch_records,
            seed=self.seed + run.seed,
            records=[(e.prompt, e.answer) for e in self.training(run)],
        )

    def answers_key(self, run: ArmRun) -> str:
        """Return the key of a run's answers."""
        return result_key(
            adapter=self.adapter_key(run),
            arm=(run.arm, run.seed),
            questions=[(q.id, q.prompt, q.answer) for q in self.questions],
            n_answers=self.params.n_answers,
            max_new_tokens=self.params.max_new_tokens,
        )


def prepare(stage: Stage) -> TuningSetup:
    """Read the inputs of the tune stage; the quick checks come before the model is loaded.

    Raises:
        ParamError: The parameters are not ready, or the model cannot be used.
        DataError: A training record has no output, or the chat template cannot render it.
    """
    params = require_ready(stage.values)
    tokenizer = load_tokenizer(str(params.model))
    require_chat_template(tokenizer, str(params.model))
    runs = arm_runs(params, _sources(stage))
    needed = {id_ for run in runs for id_ in run.ids}
    pool = read_table(stage.dep("ingest/pool.parquet"), POOL).to_pylist()
    records = {record["id"]: record for record in pool if record["id"] in needed}
    _require_outputs(runs, records)
    asked = read_table(stage.dep("questions/questions.parquet"), QUESTIONS).to_pylist()
    machine = Machine.find(params.precision)
    return TuningSetup(
        params,
        load_seed(stage.values),
        machine,
        tokenizer,
        weights_digest(load_model(str(params.model), machine)),
        runs,
        {id_: tokenize(record, tokenizer, params.max_tokens) for id_, record in records.items()},
        [tokenize(record, tokenizer, params.max_tokens) for record in asked],
    )


def _sources(stage: Stage) -> Sources:
    selected = read_table(stage.dep("choose/selected.parquet"), SELECTED, ["id"])
    unique = read_table(stage.dep("dedupe/unique.parquet"), UNIQUE)
    selections = read_table(stage.dep("baseline/selections.parquet"), SELECTIONS)
    ids, unique_ids = (list(map(str, table["id"].to_pylist())) for table in (selected, unique))
    return Sources(ids, unique_ids, read_draws(selections))


def _require_outputs(runs: Iterable[ArmRun], records: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that every training record has an output, since arms must have equal numbers."""
    for run in runs:
        without = [id_ for id_ in run.ids if not (records[id_]["output"] or "").strip()]
        if without:
            raise DataError(
                f"{len(without):,} of {len(run.ids):,} records of the arm {run.arm} have no output "
                "to train on",
                where=f"record {without[0]}, {records[without[0]]['source']}",
                fix="Evaluate on a pool that has outputs, or remove the arm from evaluate.arms.",
            )
