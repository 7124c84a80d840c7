"""What a person sees of a proof, and of a record's story."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.cli.console import err, out

OTHER_CHARS = 40  # on a candidate's line, beside its text

FATES = {
    "selected": "[bold green]selected[/]",
    "rejected": "[bold]not selected[/]: others of its prompt were picked",
    "undecided": "[bold]not selected[/]: no prompt that shows it was decided",
    "duplicate": "[bold]not shown to any model[/]: it repeats another record",
}


def proof(found: Any) -> None:
    """That the selection is proven, or a line on each difference and on the next how to mend it."""
    for each in found.differences:
        err.print(f"[red]{escape(each.file)}[/]: {escape(each.what)}", soft_wrap=True)
        err.print(f"  {each.fix}", markup=False, soft_wrap=True)
    if found.differences:
        n = len(found.differences)
        out.print(f"[bold red]not proven[/]: {n:,} difference{'s' if n > 1 else ''}")
        return
    part = f" (partial: {found.partial} was reached)" if found.partial else ""
    out.print(
        f"[bold green]proven[/]: {found.n_selected:,} records{part} follow from "
        f"{found.n_answers:,} answers of the journal; {found.n_files:,} files are as they were "
        "written",
        soft_wrap=True,
    )


def story(told: Mapping[str, Any]) -> None:
    """What became of a row of the source, and why."""
    if told["fate"] == "dropped":
        row = told["dropped"]
        out.print(
            f"line {row['line']:,}: [bold]dropped[/], {row['reason']}: {escape(row['detail'])}"
        )
        return
    record = told["record"]
    receipt = told.get("receipt")
    place = f", number {receipt['place']:,} of the selection" if receipt else ""
    out.print(f"{told['id']}  {FATES[told['fate']]}{place}", soft_wrap=True)
    out.print(f"[dim]{escape(record['source'])}[/]")
    text = "\n\n".join(filter(None, (record["instruction"], record["input"])))
    out.print(text, markup=False, soft_wrap=True)
    if told["duplicate_of"]:
        _original(told["duplicate_of"])
    for each in told["duplicates"]:
        words = f"repeated by {each['id']} ({each['reason']}, similarity {each['similarity']:.2f})"
        out.print(words)
    for this in told.get("rounds", []):
        _prompt(this, told["id"])
    if receipt:
        _receipt(receipt)


def _original(of: Mapping[str, Any]) -> None:
    words = f"it repeats {of['id']} ({of['reason']}, similarity {of['similarity']:.2f})"
    out.print(f"\n{words}  [dim]{escape(of['source'])}[/]")
    out.print(of["text"], markup=False, soft_wrap=True)


def _prompt(this: Mapping[str, Any], record_id: str) -> None:
    """A prompt's candidates: the picked ones by rank, then the others by slot."""
    shown = sorted(this["candidates"], key=lambda each: each["rank"] or len(this["candidates"]))
    n_picked = sum(each["rank"] is not None for each in shown)
    words = f"round {this['round']}, prompt {this['prompt']:,}: {n_picked} of {len(shown)} picked"
    out.print(f"\n[bold]{words}[/]" if n_picked else f"\n[bold]{words}[/] (not decided)")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("rank", "slot", "votes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("text", no_wrap=True)
    for each in shown:
        cells = [
            "" if each[name] is None else str(each[name]) for name in ("rank", "slot", "votes")
        ]
        line = Text(" ".join(each["text"].split()))
        line.truncate(max(OTHER_CHARS, out.width - OTHER_CHARS), overflow="ellipsis")
        style = "bold" if each["id"] == record_id else "" if each["rank"] else "dim"
        table.add_row(*cells, each["id"], line, style=style)
    out.print(table)


def _receipt(receipt: Mapping[str, Any]) -> None:
    """Who picked it, why, and the answers that it rests on."""
    out.print(f"\npicked by {receipt['model']} (route {receipt['route']}, {receipt['method']})")
    if receipt["reason"]:
        out.print(f"because: {receipt['reason']}", markup=False, soft_wrap=True)
    for each in receipt["answers"]:
        usd = (
            f"{'up to ' if each['is_upper_bound'] else ''}{each['usd']:.6f} USD"
            if each["usd"]
            else "free"
        )
        tokens = f"{each['prompt_tokens']:,} tokens in, {each['completion_tokens']:,} out, {usd}"
        out.print(f"answer {each['key']}\n  of {each['model']}, {tokens}", markup=False)
        text = "not in this journal" if each["text"] is None else each["text"]
        out.print(f"  {text}", markup=False, soft_wrap=True)
