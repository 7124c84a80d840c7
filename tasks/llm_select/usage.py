"""What the answers of a selection used, and what they say of the judge that gave them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from tasks.lib.gateway.routes import Route
from tasks.lib.prompts.geometry import Mode
from tasks.lib.prompts.plan import Rules
from tasks.llm_select.attention_checks import Kind
from tasks.llm_select.position_bias import Agreement, PositionBias
from tasks.llm_select.verdicts import Bought, Method, Question, Selection, Verdict

USD_DIGITS = 9


def usage(
    selection: Selection, routes: Sequence[Route], rules: Rules, n_votes: int
) -> dict[str, Any]:
    """The document usage.json: the bill of the answers used, and the audit of the judge.

    Failed calls are not in it: they differ from run to run, and stand in the journal. ``partial``
    is None for a whole selection. ``slots`` counts the first vote of every prompt; in paper mode
    its slots are clusters, so it tells nothing of the judge there. Usd of answers whose usage the
    provider did not tell are upper bounds, and ``n_unknown_usage`` says how many.
    """
    verdicts = [pick.verdict for pick in selection.picks if pick.rank == 1]
    audited = [verdict for _, verdict in selection.attention_checks]
    bought = [each for verdict in (*verdicts, *audited) for each in verdict.bought]
    methods = Counter(pick.method for pick in selection.selected)
    aside = Counter(each.reason for verdict in verdicts for each in verdict.aside)
    return {
        "route": routes[0].alias,
        "fallback_routes": [route.alias for route in routes[1:]],
        "model": routes[0].model,
        "budget": rules.budget,
        "selected": len(selection.selected),
        "partial": "max_usd" if selection.is_partial else None,
        "calls": len(bought),
        "prompt_tokens": sum(each.prompt_tokens for each in bought),
        "completion_tokens": sum(each.completion_tokens for each in bought),
        "usd": round(sum(each.usd for each in bought), USD_DIGITS),
        "n_unknown_usage": sum(each.is_bound for each in bought),
        "answers": dict(Counter(each.route for each in bought)),
        "answers_digest": _digest(bought),
        "dropped_params": _left_out(bought),
        "methods": {method.value: methods[method] for method in Method},
        "set_aside": dict(aside),
        "slots": _slots(selection, rules),
        "agreement": _agreement(selection, n_votes),
        "attention_checks": _attention_checks(selection.attention_checks),
        "attention_checks_planned": rules.n_attention_checks,
        "rounds": [this._asdict() for this in selection.rounds],
    }


def _digest(bought: Iterable[Bought]) -> str:
    """64 hex digits of all answers used, by round and prompt, attention checks last."""
    digest = sha256()
    for each in bought:
        digest.update(f"{each.key} {each.digest}\n".encode())
    return digest.hexdigest()


def _left_out(bought: Iterable[Bought]) -> dict[str, list[str]]:
    """By route, the parameters that its model does not take."""
    found: dict[str, set[str]] = {}
    for each in bought:
        if each.left_out:
            found.setdefault(each.route, set()).update(each.left_out)
    return {route: sorted(names) for route, names in found.items()}


def _slots(selection: Selection, rules: Rules) -> dict[str, Any]:
    audit = PositionBias()
    for pick in selection.picks:
        votes = pick.verdict.votes
        if pick.rank == 1 and votes and votes[0].is_whole:
            audit.add(votes[0].n_candidates, votes[0].shown)
    return {"is_shuffled": rules.mode is not Mode.PAPER, **audit.summary()}


def _agreement(selection: Selection, n_votes: int) -> dict[str, Any]:
    agreement = Agreement(n_votes)
    for pick in selection.picks:
        if pick.rank == 1 and pick.verdict.votes:
            ballots = [vote.ballot for vote in pick.verdict.votes]
            agreement.add(len(pick.question.candidates), ballots)
    return agreement.summary()


def _attention_checks(
    attention_checks: Sequence[tuple[Question, Verdict]],
) -> dict[str, dict[str, float]]:
    """By kind, how many were shown, how many picked, and how many a lot would have picked."""
    counts = {kind.value: {"shown": 0, "picked": 0, "by_chance": 0.0} for kind in Kind}
    for question, verdict in attention_checks:
        if question.attention_check is not None and verdict.votes:
            count = counts[question.attention_check.kind]
            count["shown"] += 1
            count["picked"] += verdict.attention_check_slot in verdict.votes[0].shown
            chance = min(1.0, question.n_picks / len(question.candidates))
            count["by_chance"] = round(count["by_chance"] + chance, 6)
    return {kind: count for kind, count in counts.items() if count["shown"]}
