"""The evaluate section of params.yaml, and what must be set before an evaluation starts."""

from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from tasks.lib.core.errors import ParamError, nearest
from tasks.lib.core.params import (
    PARAMS_FILE,
    Params,
    has_no_records,
    load_section,
    load_seed,
    lookup,
)

SELECTION, RANDOM, WHOLE, UNTRAINED = "selection", "random", "whole", "untrained"
EXTRA = ("trl", "peft", "accelerate", "datasets")


class TuningPrecision(StrEnum):
    """The number format in which the model computes."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def _budgets(budgets: list[int]) -> list[int]:
    if any(size < 1 for size in budgets) or len(set(budgets)) < len(budgets):
        raise PydanticCustomError("budgets", "expected distinct positive integers")
    return sorted(budgets)


def _arms(arms: list[str]) -> list[str]:
    if RANDOM not in arms:
        raise PydanticCustomError(
            "arms", "expected random among the arms, since every arm is compared with it"
        )
    if len(set(arms)) < len(arms):
        raise PydanticCustomError("arms", "expected each arm only once")
    return arms


class Evaluate(Params):
    """The evaluate section of params.yaml."""

    model: str | None
    test: str = Field(min_length=1)
    arms: Annotated[list[str], AfterValidator(_arms)]
    budgets: Annotated[list[int], AfterValidator(_budgets)]
    n_seeds: int = Field(ge=1, le=100)
    n_test: int = Field(ge=2)
    n_answers: int = Field(ge=0)
    mt_bench: str = Field(min_length=1)
    alpaca_eval: str = Field(min_length=1)
    epochs: int = Field(ge=1, le=1000)
    learning_rate: float = Field(gt=0, le=1)
    lora_rank: int = Field(ge=1, le=1024)
    batch_records: int = Field(ge=1)
    max_tokens: int = Field(ge=16)
    max_new_tokens: int = Field(ge=1)
    precision: Annotated[TuningPrecision, Field(strict=False)]
    encoder: str | None
    route: str
    max_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_judge_tokens: int = Field(ge=64)  # schema-bound answers may contain whitespace
    n_resamples: int = Field(ge=100)


class _JudgeCalls(Params):
    """The call settings of the llm_select section, which apply to all steps."""

    model_config = ConfigDict(extra="ignore")

    max_attempts: Annotated[int, Field(ge=1)]
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    concurrency: Annotated[int, Field(ge=1)]


def call_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the judge's call settings: those of llm_select, with a separate answer length limit.

    Raises:
        ParamError: The llm_select section is wrong.
    """
    calls = load_section(values, "llm_select", _JudgeCalls)
    room = check(values).max_judge_tokens
    return {"seed": load_seed(values), "max_answer_tokens": room, **calls.model_dump()}


def check(values: Mapping[str, Any]) -> Evaluate:
    """Return the evaluate section, after checking it.

    A model and test records may be missing, since no other command needs them.

    Raises:
        ParamError: A value is wrong.
    """
    load_seed(values)
    return load_section(values, "evaluate", Evaluate)


def require_ready(values: Mapping[str, Any]) -> Evaluate:
    """Return the evaluate section, after checking that an evaluation can start.

    Raises:
        ParamError: The extra is not installed, the model or the test file is not set, or an arm
            is unknown.
    """
    params = check(values)
    missing = [package for package in EXTRA if find_spec(package) is None]
    if missing:
        raise ParamError(
            f"packages for fine-tuning are not installed: {', '.join(missing)}",
            where="selectllm evaluate",
            fix="Run `pip install -c constraints.txt -e '.[train]'`.",
        )
    if not params.model:
        raise ParamError(
            "evaluate.model is not set",
            where=PARAMS_FILE,
            fix="Set it to a causal language model with a chat template: its name on the hub, or "
            "its folder, with -S evaluate.model=MODEL.",
        )
    test = Path(params.test)
    if not test.exists() or has_no_records(test):
        state = "has no records" if test.exists() else "does not exist"
        raise ParamError(
            f"evaluate.test: the file {test} {state}",
            where=PARAMS_FILE,
            fix="Set it to a file of instructions with outputs that are not in the pool, with "
            "-S evaluate.test=FILE.",
        )
    _check_arms(params, values)
    _check_encoder(params, values)
    return params


def _check_encoder(params: Evaluate, values: Mapping[str, Any]) -> None:
    chooser = str(lookup(values, "embed.model"))
    if params.encoder and _bare(params.encoder) == _bare(chooser):
        raise ParamError(
            f"evaluate.encoder is {params.encoder}, which is embed.model: it chose the records, so "
            "its cosine would favour the selection",
            where=PARAMS_FILE,
            fix="Set it to another sentence encoder, or to null for no cosine.",
        )


def _bare(model: str) -> str:
    """Return a model's name, normalised so that all ways to write it are equal."""
    if Path(model).is_dir():
        return str(Path(model).resolve())
    return model.casefold().removeprefix("sentence-transformers/")


def _check_arms(params: Evaluate, values: Mapping[str, Any]) -> None:
    methods = lookup(values, "baseline.methods") or []
    variants = lookup(values, "compare") or {}
    known = [SELECTION, WHOLE, UNTRAINED, *methods, *variants]
    for arm in params.arms:
        if arm not in known:
            raise ParamError(
                f"evaluate.arms: there is no arm {arm}{nearest(arm, known)}",
                where=PARAMS_FILE,
                fix=f"Use {SELECTION}, {WHOLE}, {UNTRAINED}, a method in baseline.methods "
                f"({', '.join(methods)}) or a variant in compare ({', '.join(variants)}).",
            )
    n_draws = lookup(values, "baseline.n_seeds")
    if n_draws < params.n_seeds:
        raise ParamError(
            f"evaluate.n_seeds is {params.n_seeds}, but baseline.n_seeds is {n_draws}, and each "
            "seed needs its own random selection",
            where=PARAMS_FILE,
            fix=f"Set evaluate.n_seeds to at most {n_draws}, or raise baseline.n_seeds and run "
            "`selectllm run`.",
        )
