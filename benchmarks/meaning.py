"""Count how often dedupe wrongly merges two texts, or wrongly keeps both.

    python benchmarks/meaning.py
    python benchmarks/meaning.py --list

The pairs in tests/data/meaning_pairs.jsonl were written for this project, in 21 languages and in
code. Each pair is deduplicated as a pool of two records, with the settings in params.yaml. The
held-out group was written before the rules, and nobody looked at it while writing them. The unseen
group was written after the rules, by somebody who had not read them; it then served to improve
them.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
from ruamel.yaml import YAML

from tasks.dedupe.find_duplicates import COLUMNS
from tasks.dedupe.step import PoolBatches, check, dedupe
from tasks.lib.executor import Executor

PROJECT = Path(__file__).parent.parent
PAIRS = PROJECT / "tests/data/meaning_pairs.jsonl"


class Pair(NamedTuple):
    """Two records, each an instruction and an input, and whether they ask for the same thing."""

    group: str
    language: str
    kind: str
    same: bool
    a: list[str]
    b: list[str]


class Errors(NamedTuple):
    """The numbers of pairs and of errors.

    Attributes:
        merged: Number of pairs that differ in meaning and were merged.
        separate: Number of pairs that ask for the same thing and were both kept.
    """

    n_different: int
    merged: int
    n_same: int
    separate: int

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Self:
        """Count the errors of dedupe over pairs."""
        different: list[bool] = []
        same: list[bool] = []
        for pair in pairs:
            (same if pair.same else different).append(is_error(pair))
        return cls(len(different), sum(different), len(same), sum(same))


def read_pairs() -> list[Pair]:
    """Return all pairs, one group after the other."""
    with PAIRS.open(encoding="utf-8") as file:
        return [Pair(**json.loads(line)) for line in file]


def is_error(pair: Pair) -> bool:
    """Return whether dedupe merges a pair that differs, or keeps both of a pair that does not."""
    no_context = dict.fromkeys(COLUMNS)
    rows = [
        no_context | {"id": str(n), "instruction": instruction, "input": input_}
        for n, (instruction, input_) in enumerate((pair.a, pair.b))
    ]
    batch = pa.RecordBatch.from_pylist(rows)
    values = YAML(typ="safe").load(PROJECT / "params.yaml")
    pool = PoolBatches(len(rows), lambda: iter([batch]))
    merged = bool(dedupe(pool, check(values), Executor.LOCAL).dropped)
    return merged != pair.same


def main() -> None:
    """Print a table in Markdown, or list the pairs that dedupe gets wrong."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument(
        "--list", action="store_true", help="list the pairs that dedupe gets wrong instead"
    )
    arguments.add_argument("--group", help="only this group: tuned, held_out or unseen")
    given = arguments.parse_args()
    pairs = [pair for pair in read_pairs() if given.group in {None, pair.group}]
    if given.list:
        for pair in filter(is_error, pairs):
            print(*pair, sep="\n  ")
        return
    groups = defaultdict(list)
    for pair in pairs:
        for name in (pair.language, pair.group, "all"):
            groups[name].append(pair)
    print("| pairs | different, but merged | same, but both kept |\n|---|---|---|")
    for name, members in groups.items():
        n_different, merged, n_same, separate = Errors.of(members)
        print(f"| {name} | {merged} of {n_different} | {separate} of {n_same} |")


if __name__ == "__main__":
    main()
