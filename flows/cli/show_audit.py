"""Print a proof, and the story of a record."""

import json
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.cli.console import err, out
from tasks.lib.core.format_text import truncate, usd_text, visible, visible_line

MAX_EXTRA = 1000  # characters of a record's other columns
OTHER_CHARS, MIN_CHARS = 53, 20  # of a candidate's line excluding its text, and of its text

AGAIN = "of the offline judge, which answered again because there is no journal"
NOT_PROVABLE = (
    "not provable: that the journal's answers are a provider's, since no provider signs them"
)

FATES = {
    "selected": "[bold green]selected[/]",
    "rejected": "[bold]not selected[/]: others cover the pool better or rank higher",
    "set_aside": "[bold]not selected[/]: it could not be judged",
    "undecided": "[bold]not selected[/]: its prompt has not been judged",
    "annotated": "[bold]not selected[/]: it repeats a record that already has an answer",
    "held_out": "[bold]not shown to any model[/]: it repeats a record of a held-out set",
    "duplicate": "[bold]not shown to any model[/]: it duplicates another record",
}


def proof(result: Any) -> None:
    """Print what is proven and what is not, or each difference and its fix."""
    for difference in result.differences:
        file, what = escape(visible_line(difference.file)), escape(difference.what)
        err.print(f"[red]{file}[/]: {what}", markup=True, soft_wrap=True)
        err.print(f"  {difference.fix}", soft_wrap=True)
    if result.differences:
        n = len(result.differences)
        out.print(f"[bold red]not proven[/]: {n:,} difference{'s' if n > 1 else ''}", markup=True)
        return
    part = f" (partial: {result.partial} was reached)" if result.partial else ""
    where = "in the journal" if result.has_journal else AGAIN
    out.print(
        f"[bold green]proven[/]: {result.n_selected:,} records{part} follow from "
        f"{result.n_answers:,} answers {where}; {result.n_files:,} files are unchanged",
        markup=True,
        soft_wrap=True,
    )
    out.print(f"rebuilt and equal: {', '.join(result.rebuilt)}", soft_wrap=True)
    for path in result.rounded:
        err.print(
            f"[yellow]warning:[/] {escape(path)} differs in the last digits of some numbers, as "
            "happens on another kind of processor",
            markup=True,
            soft_wrap=True,
        )
    for stage, why in result.not_rebuilt:
        out.print(f"not rebuilt: {stage}: {why}", soft_wrap=True)
    if result.has_journal:
        out.print(NOT_PROVABLE, soft_wrap=True)


def story(facts: Mapping[str, Any]) -> None:
    """Print what happened to a row of the source, and why."""
    if facts["fate"] == "dropped":
        row = facts["dropped"]
        place = escape(f"{visible_line(row['file'])}:{row['line']}")
        why = escape(f"{row['reason']}: {row['detail']}")
        out.print(f"{place}: [bold]dropped[/], {why}", markup=True)
        return
    record = facts["record"]
    receipt = facts.get("receipt")
    place = f", number {receipt['place']:,} of the selection" if receipt else ""
    out.print(f"{facts['id']}  {FATES[facts['fate']]}{place}", markup=True, soft_wrap=True)
    out.print(visible_line(record["source"]), style="dim")
    out.print(record["shown"], soft_wrap=True)
    if record["extra"]:
        extra = json.dumps(record["extra"], ensure_ascii=False)
        out.print(f"columns of the pool: {truncate(extra, MAX_EXTRA)}", style="dim")
    if facts["duplicate_of"]:
        _original("it duplicates", facts["duplicate_of"])
    if facts["annotated_as"]:
        _original("it repeats the annotated record", facts["annotated_as"])
    for copy in facts["duplicates"]:
        reason = f"({copy['reason']}, similarity {copy['similarity']:.2f})"
        out.print(f"duplicated by {copy['id']} {reason}")
    if facts.get("prompt"):
        _prompt(facts["prompt"], facts["id"])
    if facts.get("covered_by"):
        _covered(facts["covered_by"])
    if receipt:
        _receipt(receipt)


def _original(what: str, of: Mapping[str, Any]) -> None:
    reason = f"{of['reason']}, " if "reason" in of else ""
    reason = f"({reason}similarity {of['similarity']:.2f})"
    out.print(f"\n{what} {of['id']} {reason}  {visible_line(of['source'])}")
    out.print(of["text"], soft_wrap=True)


def _prompt(prompt: Mapping[str, Any], record_id: str) -> None:
    """Print a prompt's candidates: the ranked ones by rank, then the others by slot."""
    n = len(prompt["candidates"])
    candidates = sorted(prompt["candidates"], key=lambda candidate: candidate["rank"] or n + 1)
    n_selected = sum(candidate["place"] is not None for candidate in candidates)
    head = f"prompt {prompt['prompt']:,}: {n_selected} of {n} selected"
    out.print(f"\n{head}{'' if prompt['is_judged'] else ' (not judged)'}", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("place", "rank", "score", "slot", "votes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("text", no_wrap=True)
    for candidate in candidates:
        score = candidate["score"]
        cells = [candidate[name] for name in ("place", "rank", "slot", "votes")]
        cells.insert(2, None if score is None else f"{score:.2f}")
        line = Text(visible(" ".join(candidate["text"].split())))
        line.truncate(max(MIN_CHARS, out.width - OTHER_CHARS), overflow="ellipsis")
        style = "bold" if candidate["id"] == record_id else "" if candidate["rank"] else "dim"
        shown = ("" if cell is None else str(cell) for cell in cells)
        table.add_row(*shown, candidate["id"], line, style=style)
    out.print(table)


def _covered(by: Mapping[str, Any]) -> None:
    """Print the selected or annotated record that is most similar to one that was not selected."""
    what = f"number {by['place']:,} of the selection" if by["place"] else "annotated"
    out.print(f"\nbest covered by {by['id']} ({what}, cosine {by['cosine']:.2f})")
    out.print(by["text"], soft_wrap=True)


def _receipt(receipt: Mapping[str, Any]) -> None:
    """Print who judged the record, its score and gain, the reason, and the answers behind them."""
    out.print(f"\njudged by {receipt['model']} (route {receipt['route']}, {receipt['method']})")
    out.print(
        f"judge score {receipt['score']:.2f}; it added {receipt['gain']:.5f} to the mean coverage "
        "of the pool when it was selected"
    )
    if receipt["weight"] != 1:
        out.print(f"covering it is worth {receipt['weight']:.3g} (weight column and targets)")
    if receipt["counts_for"]:
        counted = (
            f"{column} {value or '(none)'}" for column, value in receipt["counts_for"].items()
        )
        out.print(f"it counts toward the quota of {', '.join(counted)}", soft_wrap=True)
    if receipt["reason"]:
        out.print(f"because: {receipt['reason']}", soft_wrap=True)
    for answer in receipt["answers"]:
        usd = f"{'up to ' if answer['is_upper_bound'] else ''}{usd_text(answer['usd'])}"
        tokens = f"{answer['prompt_tokens']:,} input, {answer['completion_tokens']:,} output tokens"
        out.print(f"answer {answer['key']}\n  by {answer['model']}, {tokens}, {usd}")
        text = "not in this journal" if answer["text"] is None else answer["text"]
        out.print(f"  {text}", soft_wrap=True)
