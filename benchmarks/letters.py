"""Compare a judge's log-probabilities of letters with its lists of slots.

    python benchmarks/letters.py collect WORKSPACE --to /tmp/letters.jsonl
    python benchmarks/letters.py report /tmp/letters.jsonl
    python benchmarks/letters.py simulate WORKSPACE

`collect` sends a workspace's prompts to the local model, each in all rotations, and prompts whose
candidates have no content; it resumes an existing file. `report` compares ways to remove the
letters' bias. `simulate` does the same for judges of known skill and bias, as judges.py does.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from judges import covering
from scipy.stats import spearmanr
from simulated import BIAS, EFFECTS, SIZE, Ballots, Floats, Judge, Pool, draw

from tasks.lib.core.shown_text import shorten
from tasks.lib.gateway.local_server import LocalServer
from tasks.lib.similarity.cosine import Rows
from tasks.llm_select.candidates import Candidates
from tasks.llm_select.letters import LetterBias, mean_preferences, parse_letters, read_preferences
from tasks.llm_select.picks import answer_schema, parse_picks
from tasks.llm_select.prompt import read_prompt
from tasks.llm_select.votes import Ranking, order

MAX_CHARS = 250  # of a candidate, since the local model takes seconds for a prompt
N_PROMPTS = 16
N_TOP = 20  # as OpenAI and vLLM return
FREE = ("N/A", "")
VOTES = (1, 2, 3, 5, 7)
NATS = 2.0  # of a standard deviation of what a simulated judge sees


def ask(api_base: str, messages: list[dict[str, str]], **options: Any) -> Any:
    """Return the first choice of the local model."""
    body = {"model": "gemma-3-270m", "messages": messages, "temperature": 0, **options}
    done = httpx.post(f"{api_base}/chat/completions", json=body, timeout=600)
    return done.json()["choices"][0]


def letters(api_base: str, texts: Sequence[str]) -> str:
    """Return the likeliest tokens with their log-probabilities."""
    messages = read_prompt(Path("tasks/llm_select/criteria.txt")).letter_messages(texts)
    choice = ask(api_base, messages, max_tokens=1, logprobs=True, top_logprobs=N_TOP)
    tokens = choice["logprobs"]["content"][0]["top_logprobs"]
    return json.dumps({token["token"]: token["logprob"] for token in tokens})


def slots(api_base: str, texts: Sequence[str]) -> list[int]:
    """Return the five slots of a list, or none."""
    messages = read_prompt(Path("tasks/llm_select/criteria.txt")).messages(texts, 5)
    schema = {"type": "json_schema", "json_schema": {"schema": answer_schema(len(texts), 5)}}
    choice = ask(api_base, messages, max_tokens=128, response_format=schema)
    picks = parse_picks(choice["message"]["content"] or "", len(texts), 5)
    return picks if isinstance(picks, list) else []


def collect(workspace: Path, to: Path) -> None:
    """Send prompts to the local model, and write a line for each reply."""
    data = workspace / "data"
    tails = ("cluster/prompts.parquet", "ingest/pool.parquet", "dedupe/known.parquet")
    known = Candidates.read(*(data / tail for tail in tails))
    done = {tuple(row["key"]) for row in rows_of(to)} if to.exists() else set()
    with closing(LocalServer()) as server, to.open("a", encoding="utf-8") as file:
        api_base = server.start()

        def write(key: Sequence[Any], **facts: Any) -> None:
            print(json.dumps({"key": key, **facts}), file=file, flush=True)

        for text, n in product(FREE, (SIZE - 1, SIZE)):
            if ("free", text, n) not in done:
                write(("free", text, n), n=n, text=letters(api_base, [text] * n))
        for i in np.linspace(0, len(known.prompts) - 1, N_PROMPTS).astype(int).tolist():
            texts = [shorten(text, MAX_CHARS) for text in known.texts(known.prompts[i])]
            n = len(texts)
            for shift in range(n):
                shown = [texts[j] for j in order(n, shift + 1, n)]
                if ("letters", i, shift) not in done:
                    write(("letters", i, shift), n=n, text=letters(api_base, shown))
                if shift < 2 and ("list", i, shift) not in done:
                    write(("list", i, shift), n=n, slots=slots(api_base, shown))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def report(path: Path) -> None:
    """Print how well a few orders agree with the others, for each way to remove the bias."""
    rows = rows_of(path)
    replies: dict[int, dict[int, tuple[float, ...]]] = defaultdict(dict)
    free: dict[tuple[str, int], Floats] = {}
    n_reported = []
    firsts = {"list": [r["slots"][0] for r in rows if r["key"][0] == "list" and r["slots"]]}
    firsts["letters"] = []
    for row in rows:
        kind, name, number = row["key"]
        if kind == "free":
            free[name, number] = np.array(read_preferences(row["text"], row["n"]))
        elif kind == "letters":
            replies[name][number] = read_preferences(row["text"], row["n"])
            found = parse_letters(row["text"], row["n"])
            n_reported.append(len(found))
            firsts["letters"].append(found[0])
    whole = {i: votes for i, votes in replies.items() if len(votes) == len(votes[0])}
    bias = LetterBias()
    for votes in whole.values():
        for vote in votes.values():
            bias.add(vote)
    for kind, chosen in firsts.items():
        share = np.bincount(chosen, minlength=SIZE + 1).max() / max(1, len(chosen))
        print(f"{kind}: {len(chosen)} replies, most frequent first choice {share:.0%}")
    print(f"{len(whole)} prompts; letters among the {N_TOP} likeliest: {np.mean(n_reported):.1f}\n")
    print("| orders | bias removed by | Spearman | position bias |\n|---|---|---|---|")
    for n_votes, way in product(VOTES, ("nothing", *(f"a prompt of {t!r}" for t in FREE), "mean")):
        prior = {f"a prompt of {text!r}": text for text in FREE}.get(way)
        agreement, offsets = [], []
        for votes in whole.values():
            n, every = len(votes), bias.without(list(votes.values()))
            own = free[prior, n] if prior is not None else every * (way == "mean")
            for start in range(n):
                used = [(start + i * n // n_votes) % n for i in range(n_votes)]
                rest = [shift for shift in range(n) if shift not in used]
                few, others = (
                    mean_preferences(
                        [votes[s] for s in shifts], [order(n, s + 1, n) for s in shifts], removed
                    )
                    for shifts, removed in ((used, own), (rest, every))
                )
                agreement.append(spearmanr(few, others)[0])
                offsets.append((int(few.argmax()) - start) % n)
        shares = np.bincount(offsets, minlength=SIZE) / len(offsets)
        far = np.abs(shares - 1 / SIZE).sum() / 2
        print(f"| {n_votes} | {way} | {np.mean(agreement):.2f} | {far:.2f} |")


class LetterBallots(Ballots):
    """The same judges, read by log-probabilities instead of ranks."""

    def __init__(self, pool: Pool, judge: Judge, prompts: list[Rows], seed: int) -> None:
        self.prompts, self._n_votes, self.way = prompts, judge.votes, "mean"
        rng = np.random.default_rng((seed, 2))
        self._replies = [list(self._replies_of(pool, judge, prompt, rng)) for prompt in prompts]
        self._bias = LetterBias()
        for replies in self._replies:
            for reply in replies:
                self._bias.add(reply)

    @staticmethod
    def _replies_of(
        pool: Pool, judge: Judge, prompt: Rows, rng: np.random.Generator
    ) -> Iterator[tuple[float, ...]]:
        n, noise = len(prompt), (1 - judge.skill**2) ** 0.5 * 0.5**0.5
        effect = np.interp(np.arange(n), np.linspace(0, n - 1, SIZE), EFFECTS[judge.bias])
        for vote in range(1, judge.votes + 1):
            seen = judge.skill * pool.quality[prompt] + noise * (
                pool.error[prompt] + rng.standard_normal(n)
            )
            logits = NATS * (seen[list(order(n, vote, judge.votes))] + BIAS * effect)
            yield tuple(logits - np.logaddexp.reduce(logits))

    def rankings(self, n_ranked: int) -> tuple[list[Ranking], int]:
        """Return the ranking of each prompt, and the total number of calls."""
        ranked = []
        for replies in self._replies:
            n = len(replies[0])
            orders = [order(n, vote, self._n_votes) for vote in range(1, len(replies) + 1)]
            bias = self._bias.without(replies) * (self.way == "mean")
            means = mean_preferences(replies, orders, bias)
            ranked.append(tuple(int(i) + 1 for i in np.argsort(-means)[:n_ranked]))
        return ranked, self._n_votes * len(self.prompts)


def simulate(workspace: Path, n_pools: int = 10) -> None:
    """Print quality, coverage and position bias of selections of as many records as prompts."""
    print("| bias | votes | way | calls per prompt | quality | coverage z | top slot |")
    print("|---|---|---|---|---|---|---|")
    pools = [draw(workspace, seed) for seed in range(n_pools)]
    for bias, votes in product(("none", "first slot", "early slots"), (1, 3)):
        judge = Judge(0.71, bias, votes)
        for way in ("lists", "letters, nothing removed", "letters, mean removed"):
            figures = []
            for seed, pool in enumerate(pools):
                kind = Ballots if way == "lists" else LetterBallots
                ballots = kind(pool, judge, pool.prompts, seed)
                ballots.way = "mean" if "mean" in way else ""
                figures.append(_figures(pool, ballots, seed))
            mean = np.mean(figures, axis=0)
            cells = f"{mean[0]:.1f} | {mean[1]:+.2f} | {mean[2]:+.1f} | {mean[3]:.0%}"
            print(f"| {bias} | {votes} | {way} | {cells} |", flush=True)


def _figures(pool: Pool, ballots: Ballots, seed: int) -> tuple[float, ...]:
    n = len(pool.prompts)
    calls, rows = covering(pool, ballots, 5, 1.0, n)
    rng = np.random.default_rng((seed, 4))
    random = np.array([pool.figures(rng.permutation(len(pool.vectors))[:n]) for _ in range(20)])
    z = (pool.figures(rows[:n]) - random.mean(axis=0)) / random.std(axis=0, ddof=1)
    ranked, _ = ballots.rankings(1)
    firsts = [ranking[0] - 1 for ranking in ranked]
    return calls / n, pool.quality[rows[:n]].mean(), z[0], np.bincount(firsts).max() / n


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=["collect", "report", "simulate"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    if given.command == "collect":
        collect(given.path, given.to)
    else:
        {"report": report, "simulate": simulate}[given.command](given.path)


if __name__ == "__main__":
    main()
