"""Print a preview: what was sent, what came back, and what the whole run would cost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.cli.console import err, out
from flows.cli.show_cost import span, time_text
from tasks.lib.core.format_text import truncate, usd_text, visible
from tasks.lib.core.shown_text import shorten

if TYPE_CHECKING:
    from tasks.estimate.preview import Preview, PreviewCall, PreviewedRequest

MAX_SYSTEM, MAX_USER, MAX_REPLY = 300, 800, 1000  # characters; --json shows the full texts
MARGIN = 12  # columns before a ranked text

NO_ANSWER = {
    "context_too_long": "the prompt is too long for the model: a run sends it in two halves",
    "content_filter": "the provider blocks a text: a run sends the prompt in two halves",
    "useless": "no usable answer in two calls: a run would have the next route or the offline "
    "judge rank these candidates",
    "unreached": "the calls failed: a run would retry, then use the next route or the offline "
    "judge",
}


def samples() -> None:
    """Print that the prompts of the run do not exist yet."""
    err.print(
        "[yellow]The prompts do not exist yet.[/] These are samples of the same size, and a run "
        "cannot reuse their answers.\n"
        "  Run `dvc repro cluster` first to preview the real prompts; it calls no model.",
        markup=True,
        soft_wrap=True,
    )


class PreviewView:
    """Prints the exchanges of a preview as they finish, then the projection."""

    def __init__(self) -> None:
        self._n_shown = 0

    def exchange(self, asked: "PreviewedRequest") -> None:
        """Print a request and its calls; the system message only the first time."""
        out.print(f"prompt {asked.prompt:,}, {asked.n_candidates} candidates", style="bold")
        for message in asked.messages:
            if message["role"] != "system":
                _block(message["role"], shorten(message["content"], MAX_USER))
            elif not self._n_shown:
                _block("system", shorten(message["content"], MAX_SYSTEM))
        self._n_shown += 1
        for call in asked.calls:
            _call(call)
        if asked.no_answer:
            words = NO_ANSWER.get(asked.no_answer, asked.no_answer)
            out.print(Padding(f"[red]no answer:[/] {escape(words)}", (0, 0, 0, 2)), markup=True)
        _ranked(asked)
        _dropped(asked.dropped_params)
        out.print()

    def end(self, previewed: "Preview") -> None:
        """Print the calls as a table, and what the whole run would cost."""
        _calls(previewed)
        new = sum(call.is_new for asked in previewed.exchanges for call in asked.calls)
        n = sum(len(asked.calls) for asked in previewed.exchanges)
        known = f"; {n - new} from the journal, paid for earlier" if new < n else ""
        out.print(
            f"\npaid now: {new} call{'s' if new != 1 else ''}, {usd_text(previewed.new_usd)}{known}"
        )
        if previewed.unknown_usd:
            most = usd_text(previewed.unknown_usd)
            out.print(f"The interrupted calls may have cost up to {most} more.")
        if previewed.is_reused and n and not previewed.is_capped:
            out.print("The run reuses these answers.")
        if previewed.projection and not previewed.is_interrupted:
            _projection(previewed)
        if previewed.is_capped:
            err.print(
                "[bold yellow]Stopped:[/] the next call could exceed llm_select.max_usd; raise it "
                "to continue.",
                markup=True,
                soft_wrap=True,
            )


def _block(title: str, text: str) -> None:
    out.print(Padding(Text(title, style="dim"), (0, 0, 0, 2)))
    out.print(Padding(Text(visible(text)), (0, 0, 0, 4)))


def _call(call: "PreviewCall") -> None:
    if call.reply.strip():
        _block("reply", truncate(call.reply.strip(), MAX_REPLY))
    if call.outcome != "answer":
        text = f"[red]{escape(call.outcome)}[/]: {escape(call.message)}"
        out.print(Padding(text, (0, 0, 0, 2)), markup=True)


def _ranked(asked: "PreviewedRequest") -> None:
    """Print the first line of each ranked candidate, cut to the width of the terminal."""
    if asked.ranked:
        out.print(Padding(Text("ranked, best first", style="dim"), (0, 0, 0, 2)))
    for slot, text in asked.ranked.items():
        line = Text(visible(" ".join(text.split())))
        line.truncate(max(20, out.width - MARGIN), overflow="ellipsis")
        out.print(Text(f"    {f'slot {slot}':<{MARGIN - 4}}") + line, no_wrap=True)


def _dropped(names: Sequence[str]) -> None:
    if names:
        line = f"[yellow]not sent:[/] {escape(', '.join(names))} (not accepted by the model)"
        if "response_format" in names:
            line += "; if your own server accepts a JSON schema, set schema: always"
        out.print(Padding(line, (0, 0, 0, 2)), markup=True)


def _calls(previewed: "Preview") -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("prompt", "outcome", "seconds", "input", "output", "price"):
        table.add_column(name, justify="left" if name == "outcome" else "right", no_wrap=True)
    for asked in previewed.exchanges:
        for call in asked.calls:
            table.add_row(
                f"{asked.prompt:,}",
                call.outcome,
                f"{call.seconds:.1f}",
                f"{call.prompt_tokens:,}",
                f"{call.completion_tokens:,}",
                f"{'up to ' if call.is_upper_bound else ''}{usd_text(call.usd)}",
            )
    out.print(f"{previewed.route} ({previewed.model}), tokens in and out:", style="bold")
    out.print(table)


def _projection(previewed: "Preview") -> None:
    whole, limit = previewed.projection, ""
    if whole is None:
        return
    if whole.usd > whole.max_usd:
        limit = f", [yellow]more than llm_select.max_usd ({whole.max_usd:g} USD)[/]"
    out.print(
        f"[bold]the whole run at this rate:[/] {previewed.n_prompts:,} prompts, {whole.calls:,} "
        f"calls, {usd_text(whole.usd)}, {span(whole.seconds, time_text)}{limit}",
        markup=True,
        soft_wrap=True,
    )
