"""Fine-tune a model with LoRA on the tokens of its training records."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.evaluate.params import Evaluate
from tasks.evaluate.tune.language_model import Machine, free_memory
from tasks.evaluate.tune.prompts import Example
from tasks.lib.core.errors import DataError
from tasks.lib.core.events import log

IGNORED = -100  # the label of a token that the model does not learn to write
GPU_BATCH = 8  # records that go through a GPU at once; padding makes this slower on a processor
ADAPTER_FILE = "adapter_model.safetensors"
STATE_FILE = "trainer_state.json"
_UNSTABLE_FILES = ("training_args.bin", "README.md", "optimizer.pt")
"""Files next to the adapter that differ between runs, and that nothing reads."""


class Recipe(NamedTuple):
    """How models are trained.

    Attributes:
        load: Returns the untrained model.
        advance: Called after each optimizer step.
        checkpoints: Where to store the state after each epoch, from which an interrupted run
            continues; None to store nothing.
        max_steps: The step after which to stop; -1 to run all steps.
    """

    params: Evaluate
    machine: Machine
    load: Callable[[], Any]
    tokenizer: Any
    advance: Callable[[], None]
    checkpoints: Path | None = None
    max_steps: int = -1


def n_steps(n_records: int, params: Evaluate) -> int:
    """Return the number of optimizer steps for this number of records."""
    return -(-n_records // params.batch_records) * params.epochs


def train(examples: Sequence[Example], seed: int, recipe: Recipe) -> Any:
    """Return a model with a LoRA adapter, trained on the examples.

    The same seed and machine give the same weights, even if training was interrupted and continued
    after the last complete epoch. If a GPU has too little memory, fewer records go through it at
    once; an optimizer step still uses `batch_records` records.

    Raises:
        DataError: A GPU has too little memory for one record.
    """
    import torch  # noqa: PLC0415  takes seconds

    n_at_once = GPU_BATCH if recipe.machine.device == "cuda" else 1
    while recipe.params.batch_records % n_at_once:
        n_at_once //= 2
    while True:
        try:
            return _train(examples, seed, recipe, n_at_once)
        except torch.OutOfMemoryError:
            if n_at_once == 1:
                raise DataError(
                    "the GPU has too little memory to train on one record at a time",
                    where="evaluate.model",
                    fix="Use a smaller model, or lower evaluate.max_tokens.",
                ) from None
            n_at_once //= 2
            free_memory()
            log.warning("tune: out of memory; trying %s records at once", n_at_once)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter to a folder, all of it or nothing."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    for name in _UNSTABLE_FILES:
        (part / name).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _last_checkpoint(folder: Path) -> str | None:
    """Return the folder of the last complete checkpoint, or None."""
    from transformers.trainer_utils import get_last_checkpoint  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for checkpoint in folder.glob("checkpoint-*"):
        if not (checkpoint / STATE_FILE).exists():  # it is written last
            shutil.rmtree(checkpoint)
    found: str | None = get_last_checkpoint(str(folder))  # type: ignore[no-untyped-call]
    return found


def _train(examples: Sequence[Example], seed: int, recipe: Recipe, n_at_once: int) -> Any:
    import datasets  # noqa: PLC0415  takes seconds, as do the next ones
    from peft import LoraConfig  # noqa: PLC0415
    from transformers import set_seed  # noqa: PLC0415
    from trl import SFTTrainer  # noqa: PLC0415

    datasets.disable_progress_bars()
    set_seed(seed)  # the adapter's initial weights are drawn before the trainer sets its seed
    rank = recipe.params.lora_rank
    trainer = SFTTrainer(
        model=recipe.load(),
        args=_config(seed, recipe, n_at_once),
        train_dataset=datasets.Dataset.from_list([_row(example) for example in examples]),
        processing_class=recipe.tokenizer,
        peft_config=LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[_advancing(recipe.advance)],
    )
    if len(trainer.train_dataset) != len(examples):
        raise RuntimeError(
            "TRL dropped records, so the arms would differ in their numbers of records"
        )
    folder = recipe.checkpoints
    trainer.train(resume_from_checkpoint=folder and _last_checkpoint(folder / str(n_at_once)))
    trained: Any = trainer.model
    return trained.eval()


def _config(seed: int, recipe: Recipe, n_at_once: int) -> Any:
    from trl import SFTConfig  # noqa: PLC0415

    params, machine = recipe.params, recipe.machine
    return SFTConfig(
        output_dir=str((recipe.checkpoints or Path("unused")) / str(n_at_once)),
        save_strategy="epoch" if recipe.checkpoints else "no",
        save_total_limit=1,
        per_device_train_batch_size=n_at_once,
        gradient_accumulation_steps=params.batch_records // n_at_once,
        num_train_epochs=params.epochs,
        max_steps=recipe.max_steps,
        learning_rate=params.learning_rate,
        seed=seed,
        data_seed=seed,
        bf16=machine.is_bfloat16,
        use_cpu=machine.device == "cpu",
        gradient_checkpointing=False,
        max_length=None,  # the examples are clipped already
        packing=False,
        dataloader_pin_memory=machine.device == "cuda",
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
    )


def _row(example: Example) -> dict[str, list[int]]:
    return {
        "input_ids": example.prompt + example.answer,
        "labels": [IGNORED] * len(example.prompt) + example.answer,
    }


def _advancing(advance: Callable[[], None]) -> Any:
    from transformers import TrainerCallback  # noqa: PLC0415

    class Advancing(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for _step in range(state.global_step):  # the steps of the interrupted run
                advance()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            advance()

    return Advancing()
