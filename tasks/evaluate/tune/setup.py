"""Read what an evaluation needs: its runs, the tokens of its records, and its model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tasks.evaluate.params import Evaluate, require_ready
from tasks.evaluate.tables import ANSWERS, QUESTIONS, QuestionSet
from tasks.evaluate.tune.language_model import (
    Machine,
    adapter_bytes,
    load_model,
    load_tokenizer,
    weights_digest,
)
from tasks.evaluate.tune.prompts import (
    AskedQuestion,
    Example,
    messages,
    prompt_tokens,
    require_chat_template,
    tokenize,
)
from tasks.evaluate.tune.store import result_key
from tasks.evaluate.tune.train import Recipe
from tasks.evaluate.tune.training_runs import ArmRun, Sources, arm_runs, read_draws
from tasks.lib.core.errors import DataError
from tasks.lib.core.params import load_seed
from tasks.lib.core.schemas import POOL, SELECTED, SELECTIONS, UNIQUE
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table


class TuningSetup(NamedTuple):
    """An evaluation that is ready to start.

    Attributes:
        weights: The hash of the model's weights.
        adapter_bytes: The approximate size of an adapter.
        examples: The training records of all runs, by id.
        questions: All questions, in order.
    """

    params: Evaluate
    seed: int
    machine: Machine
    tokenizer: Any
    weights: str
    adapter_bytes: int
    runs: list[ArmRun]
    examples: Mapping[str, Example]
    questions: list[AskedQuestion]

    @property
    def model(self) -> str:
        """The model's name or folder."""
        return str(self.params.model)

    @property
    def with_loss(self) -> list[Example]:
        """The test records with their reference answers."""
        return [question.example for question in self.questions if question.example]

    @property
    def n_answers(self) -> int:
        """The number of answers that each model writes."""
        return sum(question.n_answers for question in self.questions)

    def load(self) -> Any:
        """Return the untrained model."""
        return load_model(self.model, self.machine)

    def recipe(self, advance: Callable[[], None]) -> Recipe:
        """Return how the models are trained; `advance` is called after each step."""
        return Recipe(self.params, self.machine, self.load, self.tokenizer, advance)

    def training(self, run: ArmRun) -> list[Example]:
        """Return the training records of a run, in order."""
        return [self.examples[id_] for id_ in run.ids]

    def adapter_key(self, run: ArmRun) -> str:
        """Return the key of a run's adapter: a hash of everything that determines its weights."""
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
            questions=self.questions,
            max_tokens=self.params.max_tokens,
            max_new_tokens=self.params.max_new_tokens,
            columns=ANSWERS.names,
        )


def prepare(stage: Stage) -> TuningSetup:
    """Read the inputs of the tune stage; run the quick checks before loading the model.

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
    model = load_model(str(params.model), machine)
    return TuningSetup(
        params,
        load_seed(stage.values),
        machine,
        tokenizer,
        weights_digest(model),
        adapter_bytes(model, params.lora_rank),
        runs,
        {id_: tokenize(record, tokenizer, params.max_tokens) for id_, record in records.items()},
        [_question(n, row, tokenizer, params) for n, row in enumerate(asked)],
    )


def _question(n: int, row: Mapping[str, Any], tokenizer: Any, params: Evaluate) -> AskedQuestion:
    """Return the n-th question; test records come first, and only the first of these are asked."""
    asked = messages(row)
    if row["set"] != QuestionSet.TEST:
        prompt = prompt_tokens(asked, tokenizer, row, params.max_tokens)
        is_graded = row["set"] == QuestionSet.MT_BENCH
        return AskedQuestion(row["id"], None, prompt, asked, row["follow_up"], is_graded)
    example = tokenize(row, tokenizer, params.max_tokens)
    prompt_of_test = example.prompt if n < params.n_answers else None
    return AskedQuestion(row["id"], example, prompt_of_test, asked, None, is_graded=False)


def _sources(stage: Stage) -> Sources:
    selected = read_table(stage.dep("choose/selected.parquet"), SELECTED, ["id"])
    unique = read_table(stage.dep("dedupe/unique.parquet"), UNIQUE)
    tails = ("baseline/selections.parquet", "data/variants.parquet")
    selections = [read_table(stage.dep(tail), SELECTIONS) for tail in tails]
    ids, unique_ids = (list(map(str, table["id"].to_pylist())) for table in (selected, unique))
    return Sources(ids, unique_ids, read_draws(*selections))


def _require_outputs(runs: Iterable[ArmRun], records: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that all training records have outputs: every arm needs the same number of records."""
    for run in runs:
        unknown = [id_ for id_ in run.ids if id_ not in records]
        if unknown:
            raise DataError(
                f"{len(unknown):,} of {len(run.ids):,} records of the arm {run.arm} are not in the "
                "pool",
                where=f"record {unknown[0]}",
                fix="Run `selectllm run`, and `selectllm compare` for a variant, on the same pool.",
            )
        without = [id_ for id_ in run.ids if not (records[id_]["output"] or "").strip()]
        if without:
            raise DataError(
                f"{len(without):,} of {len(run.ids):,} records of the arm {run.arm} have no output "
                "to train on",
                where=f"record {without[0]}, {records[without[0]]['source']}",
                fix="Evaluate on a pool that has outputs, or remove the arm from evaluate.arms.",
            )
