"""Print the plan and the result of an evaluation."""

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from flows.cli import console
from tasks.lib.documents.evaluation import FIGURES, ArmFigures, Evaluation, EvaluationPlan

HEADINGS = ("arm", "seeds", "records", "steps", "tokens", "held-out loss", "against random")


def plan(planned: EvaluationPlan) -> None:
    """Print what an evaluation would do, and how long it would take."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("arm", "models", "records", "steps", "tokens", "minutes"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm in planned.arms:
        models = f"{arm.n_models} ({arm.n_done} done)" if arm.n_done else str(arm.n_models)
        numbers = (f"{n:,}" for n in (arm.n_records, arm.n_steps, arm.n_tokens))
        table.add_row(arm.name, models, *numbers, f"{arm.minutes:,.1f}")
    console.out.print(table)
    console.out.print(
        f"{planned.model} on {planned.device}, {planned.n_test:,} test records, "
        f"{planned.n_answers:,} answers from each model: about {planned.minutes:,.0f} min",
        soft_wrap=True,
        markup=False,
    )
    for sentence in plan_sentences(planned):
        console.out.print(sentence, soft_wrap=True, markup=False)
    if console.out.stderr:
        console.as_json(planned.model_dump(mode="json"))


def plan_sentences(planned: EvaluationPlan) -> Iterator[str]:
    """Yield what the evaluation could detect, and what the judge would cost."""
    if planned.visible is not None:
        yield (
            f"With {planned.n_seeds} seeds and {planned.n_test:,} test records, a difference of "
            f"about {planned.visible:.4f} nats per token would be visible (estimated from "
            "a few steps; differences between seeds raise it)."
        )
    if planned.judge:
        judge = planned.judge
        low, high = judge.usd
        yield (
            f"Judge {judge.route} ({judge.model}): at most {judge.calls:,} calls, {low:.2f} to "
            f"{high:.2f} USD, never more than {judge.max_usd:g} USD (evaluate.max_usd)."
        )


def result(evaluation: Evaluation, folder: Path) -> None:
    """Print the arms with their loss, what it means, and where the results are."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm in evaluation.arms:
        table.add_row(*_row(arm))
    console.out.print(table)
    for sentence in sentences(evaluation):
        console.out.print(sentence, soft_wrap=True, markup=False)
    console.out.print(f"\nresults: {folder}/index.html", soft_wrap=True, markup=False)
    if console.out.stderr:
        console.as_json(evaluation.model_dump(mode="json") | {"folder": str(folder)})


def markdown(evaluation: Evaluation) -> str:
    """Return the arms with their loss as a Markdown table, and what it means."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *map(_row, evaluation.arms)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([table, *sentences(evaluation)])


def sentences(evaluation: Evaluation) -> Iterator[str]:
    """Yield a sentence for each arm: how its loss differs from that of random records."""
    for arm in evaluation.arms:
        if "loss" in arm.differences:
            difference = arm.differences["loss"]
            yield (
                f"{arm.name}: {evaluation.verdict(arm)} by {FIGURES['loss']}, "
                f"{difference.value:+.4f} nats per token ({difference.low:+.4f} to "
                f"{difference.high:+.4f}; a difference of {difference.visible:.4f} is visible)"
            )
        won = arm.duels.get("judge")
        if won and won.length_controlled:
            yield (
                f"{arm.name}: wins {won.win_rate.value:.0%} ({won.win_rate.low:.0%} to "
                f"{won.win_rate.high:.0%}) of {won.n_questions:,} comparisons with random, judged "
                f"by {evaluation.judge.model}, {won.length_controlled.value:.0%} at equal length"
            )
    if evaluation.judge.n_questions:
        judge = evaluation.judge
        yield (
            f"judge: {judge.n_answered:,} of {judge.n_questions:,} questions answered, "
            f"{judge.usd:.4f} USD"
        )
    if evaluation.has_one_seed:
        yield "Other seeds may give another verdict: set evaluate.n_seeds to 3 or more."


def _row(arm: ArmFigures) -> tuple[str, ...]:
    numbers = (f"{n:,.0f}" for n in (arm.n_records, arm.n_steps, arm.n_tokens))
    loss, difference = arm.figures["loss"], arm.differences.get("loss")
    against = f"{difference.value:+.4f}" if difference else ""
    return arm.name, str(arm.n_seeds), *numbers, f"{loss.value:.4f}", against
