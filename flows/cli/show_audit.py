"""Print a proof, and the story of a record."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.cli.console import err, out
from tasks.lib.core.wording import usd_text

OTHER_CHARS = 40  # on a candidate's line, in addition to its text

FATES = {
    "selected": "[bold green]selected[/]",
    "rejected": "[bold]not selected[/]: other records in its prompt were picked",
    "undecided": "[bold]not selected[/]: its prompt has not been decided",
    "duplicate": "[bold]not shown to any model[/]: it duplicates another record",
}


def proof(result: Any) -> None:
    """Print that the selection is proven, or each difference and its fix."""
    for difference in result.differences:
        err.print(f"[red]{escape(difference.file)}[/]: {escape(difference.what)}", soft_wrap=True)
        err.print(f"  {difference.fix}", markup=False, soft_wrap=True)
    if result.differences:
        n = len(result.differences)
        out.print(f"[bold red]not proven[/]: {n:,} difference{'s' if n > 1 else ''}")
        return
    part = f" (partial: {result.partial} was reached)" if result.partial else ""
    out.print(
        f"[bold green]proven[/]: {result.n_selected:,} records{part} follow from "
        f"{result.n_answers:,} answers in the journal; {result.n_files:,} files are unchanged",
        soft_wrap=True,
    )


def story(facts: Mapping[str, Any]) -> None:
    """Print what happened to a row of the source, and why."""
    if facts["fate"] == "dropped":
        row = facts["dropped"]
        out.print(
            f"line {row['line']:,}: [bold]dropped[/], {row['reason']}: {escape(row['detail'])}"
        )
        return
    record = facts["record"]
    receipt = facts.get("receipt")
    place = f", number {receipt['place']:,} of the selection" if receipt else ""
    out.print(f"{facts['id']}  {FATES[facts['fate']]}{place}", soft_wrap=True)
    out.print(f"[dim]{escape(record['source'])}[/]")
    text = "\n\n".join(filter(None, (record["instruction"], record["input"])))
    out.print(text, markup=False, soft_wrap=True)
    if facts["duplicate_of"]:
        _original(facts["duplicate_of"])
    for copy in facts["duplicates"]:
        reason = f"({copy['reason']}, similarity {copy['similarity']:.2f})"
        out.print(f"duplicated by {copy['id']} {reason}")
    for prompt in facts.get("rounds", []):
        _prompt(prompt, facts["id"])
    if receipt:
        _receipt(receipt)


def _original(of: Mapping[str, Any]) -> None:
    reason = f"({of['reason']}, similarity {of['similarity']:.2f})"
    out.print(f"\nit duplicates {of['id']} {reason}  [dim]{escape(of['source'])}[/]")
    out.print(of["text"], markup=False, soft_wrap=True)


def _prompt(prompt: Mapping[str, Any], record_id: str) -> None:
    """Print a prompt's candidates: picked candidates by rank, then the others by slot."""
    n = len(prompt["candidates"])
    candidates = sorted(prompt["candidates"], key=lambda candidate: candidate["rank"] or n)
    n_picked = sum(candidate["rank"] is not None for candidate in candidates)
    head = f"round {prompt['round']}, prompt {prompt['prompt']:,}: {n_picked} of {n} picked"
    out.print(f"\n[bold]{head}[/]" if n_picked else f"\n[bold]{head}[/] (not decided)")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("rank", "slot", "votes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("text", no_wrap=True)
    for candidate in candidates:
        numbers = [candidate[name] for name in ("rank", "slot", "votes")]
        line = Text(" ".join(candidate["text"].split()))
        line.truncate(max(OTHER_CHARS, out.width - OTHER_CHARS), overflow="ellipsis")
        style = "bold" if candidate["id"] == record_id else "" if candidate["rank"] else "dim"
        cells = ("" if number is None else str(number) for number in numbers)
        table.add_row(*cells, candidate["id"], line, style=style)
    out.print(table)


def _receipt(receipt: Mapping[str, Any]) -> None:
    """Print the model that picked the record, its reason, and the answers behind the pick."""
    out.print(f"\npicked by {receipt['model']} (route {receipt['route']}, {receipt['method']})")
    if receipt["reason"]:
        out.print(f"because: {receipt['reason']}", markup=False, soft_wrap=True)
    for answer in receipt["answers"]:
        usd = f"{'up to ' if answer['is_upper_bound'] else ''}{usd_text(answer['usd'])}"
        tokens = f"{answer['prompt_tokens']:,} input, {answer['completion_tokens']:,} output tokens"
        out.print(f"answer {answer['key']}\n  by {answer['model']}, {tokens}, {usd}", markup=False)
        text = "not in this journal" if answer["text"] is None else answer["text"]
        out.print(f"  {text}", markup=False, soft_wrap=True)
