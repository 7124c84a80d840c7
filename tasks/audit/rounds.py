"""Who met whom: the prompts of every round that a record stood in, and what they picked."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from tasks.audit.dvc_lock import Lock
from tasks.lib.core.schemas import PICKS
from tasks.lib.prompts.plan import Rules, read_rules
from tasks.llm_select.candidates import Shown
from tasks.llm_select.tournament import next_prompts
from tasks.llm_select.verdicts import Candidates


class Contest(NamedTuple):
    """All that was shown, and what was picked of it."""

    shown: Shown
    rules: Rules
    picks: list[dict[str, Any]]  # rows of PICKS

    @classmethod
    def read(cls, lock: Lock, bill: Mapping[str, Any]) -> Self:
        """The contest that ended with this bill.

        Raises:
            DataError: A file is missing or not as its step writes it.
        """
        shown = Shown.read(lock.out("cluster/prompts.parquet"), lock.out("ingest/pool.parquet"))
        seed = lock.params("llm_select")["seed"]
        rules = read_rules(lock.out("cluster/clusters.json"), (bill["budget"],), seed)
        return cls(shown, rules, lock.rows("llm_select/picks.parquet", PICKS))

    def rounds_of(self, record_id: str) -> list[dict[str, Any]]:
        """The prompts that a record stood in, round by round; none if it was never shown.

        ``candidates`` are all of the prompt by slot; ``rank`` is None for what was not picked.
        """
        found: list[dict[str, Any]] = []
        numbers = {
            each: i for i, each in enumerate(self.shown.ids(np.arange(len(self.shown.rows))))
        }
        at = numbers.get(record_id)
        for n_round, prompts in self._rounds(numbers):
            number = next((i for i, each in enumerate(prompts, 1) if at in each), None)
            if number is None:
                break
            found.append(self._prompt(n_round, number, prompts[number - 1]))
        return found

    def _rounds(self, numbers: Mapping[str, int]) -> Iterator[tuple[int, list[Candidates]]]:
        """Every round that was held, and its prompts."""
        prompts = self.shown.prompts
        n_rounds = max((row["round"] for row in self.picks), default=1)
        for n_round in range(1, n_rounds + 1):
            if n_round > 1:
                won = [
                    numbers[row["id"]]
                    for row in self.picks
                    if (row["round"], row["rank"]) == (n_round - 1, 1)
                ]
                prompts = next_prompts(won, self.shown.clusters, self.rules, n_round - 1)
            yield n_round, prompts

    def _prompt(self, n_round: int, number: int, candidates: Candidates) -> dict[str, Any]:
        place = n_round, number
        picked = {row["id"]: row for row in self.picks if (row["round"], row["prompt"]) == place}
        shown = zip(self.shown.ids(candidates), self.shown.texts(candidates), strict=True)
        return {
            "round": n_round,
            "prompt": number,
            "candidates": [
                {"slot": slot, "id": record_id, "text": text}
                | {
                    name: picked.get(record_id, {}).get(name)
                    for name in ("rank", "votes", "method")
                }
                for slot, (record_id, text) in enumerate(shown, 1)
            ],
        }
