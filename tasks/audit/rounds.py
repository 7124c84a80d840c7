"""The prompts that a record was in, round by round, and what they picked."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.schemas import PICKS
from tasks.lib.prompts.plan import TournamentPlan, read_plan
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.tournament import next_prompts
from tasks.llm_select.verdicts import Members


class Tournament(NamedTuple):
    """All candidates of a selection, and all picks."""

    candidates: Candidates
    plan: TournamentPlan
    picks: list[dict[str, Any]]  # rows of PICKS

    @classmethod
    def read(cls, lock: Lock, budget: int) -> Self:
        """Read the tournament that selected `budget` records.

        Raises:
            DataError: A file is missing or not as its step writes it.
        """
        candidates = Candidates.read(
            lock.out("cluster/prompts.parquet"), lock.out("ingest/pool.parquet")
        )
        seed = lock.params("llm_select")["seed"]
        plan = read_plan(lock.out("cluster/clusters.json"), (budget,), seed)
        return cls(candidates, plan, lock.rows("llm_select/picks.parquet", PICKS))

    def rounds_of(self, record_id: str) -> list[dict[str, Any]]:
        """Return the prompts that a record was in, round by round; empty if it was in none.

        ``candidates`` has all candidates of the prompt by slot; ``rank`` is None if not picked.
        """
        rounds: list[dict[str, Any]] = []
        ids = self.candidates.ids(np.arange(len(self.candidates.rows)))
        numbers = {other_id: i for i, other_id in enumerate(ids)}
        candidate = numbers.get(record_id)
        for n_round, prompts in self._rounds(numbers):
            number = next((i for i, prompt in enumerate(prompts, 1) if candidate in prompt), None)
            if number is None:
                break
            rounds.append(self._prompt(n_round, number, prompts[number - 1]))
        return rounds

    def _rounds(self, numbers: Mapping[str, int]) -> Iterator[tuple[int, list[Members]]]:
        """Yield the number and the prompts of every round."""
        prompts = self.candidates.prompts
        n_rounds = max((row["round"] for row in self.picks), default=1)
        for n_round in range(1, n_rounds + 1):
            if n_round > 1:
                winners = [
                    numbers[row["id"]]
                    for row in self.picks
                    if (row["round"], row["rank"]) == (n_round - 1, 1)
                ]
                prompts = next_prompts(winners, self.candidates.clusters, self.plan, n_round - 1)
            yield n_round, prompts

    def _prompt(self, n_round: int, number: int, members: Members) -> dict[str, Any]:
        place = n_round, number
        picked = {row["id"]: row for row in self.picks if (row["round"], row["prompt"]) == place}
        shown = zip(self.candidates.ids(members), self.candidates.texts(members), strict=True)
        names = ("rank", "votes", "method")
        return {
            "round": n_round,
            "prompt": number,
            "candidates": [
                {"slot": slot, "id": record_id, "text": text}
                | {name: picked.get(record_id, {}).get(name) for name in names}
                for slot, (record_id, text) in enumerate(shown, 1)
            ],
        }
