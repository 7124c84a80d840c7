"""The outputs of llm_select: ballots, judgements and usage."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.lib.core.schemas import BALLOTS
from tasks.lib.core.tables import write_table
from tasks.lib.documents.judgement import AnswerReceipt, Judgement
from tasks.lib.documents.usage import Usage
from tasks.lib.gateway.deployment_settings import OFFLINE_MODEL
from tasks.lib.gateway.routes import Route
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.verdicts import Judged, JudgedPrompt


def write_outputs(
    out: Callable[[str], Path],
    judged: Judged,
    candidates: Candidates,
    routes: Sequence[Route],
    usage: Usage,
) -> None:
    """Write all outputs of llm_select; `out` returns the path of each."""
    write_table(out("llm_select/ballots.parquet"), ballot_rows(judged, candidates), BALLOTS)
    with out("llm_select/judgements.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for prompt in judged.prompts:
            file.write(_judgement(prompt, candidates, routes).to_line())
    usage.write(out("llm_select/usage.json"))


def ballot_rows(judged: Judged, candidates: Candidates) -> Iterator[dict[str, Any]]:
    """Yield the rows of ballots.parquet."""
    for question, verdict in judged.prompts:
        rank_of = {slot: rank for rank, slot in enumerate(verdict.slots, 1)}
        method_of = dict(zip(verdict.slots, verdict.methods, strict=True))
        for slot, record_id in enumerate(candidates.ids(question.candidates), 1):
            yield {
                "id": record_id,
                "prompt": question.prompt,
                "slot": slot,
                "rank": rank_of.get(slot),
                "score": verdict.scores[slot - 1],
                "votes": verdict.n_votes(slot),
                "method": method_of.get(slot, verdict.method).value,
                "set_aside": verdict.set_aside.get(slot),
            }


def _judgement(prompt: JudgedPrompt, candidates: Candidates, routes: Sequence[Route]) -> Judgement:
    question, verdict = prompt
    alias, model = routes[0].alias, OFFLINE_MODEL
    if verdict.answers and verdict.ballots:
        alias = verdict.answers[0].route
        model = next(route.model for route in routes if route.alias == alias)
    return Judgement(
        prompt=question.prompt,
        route=alias,
        model=model,
        ids=tuple(candidates.ids(question.candidates)),
        ballots=tuple(ballot.ranking for ballot in verdict.ballots),
        answers=tuple(
            AnswerReceipt(**{name: getattr(answer, name) for name in AnswerReceipt.model_fields})
            for answer in verdict.answers
        ),
        reasons=dict(verdict.reasons),
        set_aside=dict(verdict.set_aside),
    )
