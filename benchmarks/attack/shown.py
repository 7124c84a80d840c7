"""C: texts, file names and model names that take effect when printed, rendered or exported."""

import csv
import html
import json
import random
import re
import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.attack import trial, values
from benchmarks.attack.trial import Finding, broken
from tests.behaviours import honest
from tests.exchange import Call, Response
from tests.fake_provider import FakeProvider
from tests.workspaces import PROJECT, StepWorkspace, lay_out

N_RECORDS = 40
SIZE = 5
FORMULA = ("=", "+", "-", "@", "\t", "\r")
STEPS = ("dedupe", "embed", "cluster", "llm_select", "choose", "baseline", "measure", "validate")
STEPS += ("export", "report")
MARK = "pwned"


def attack(rng: random.Random, root: Path, patience: float) -> tuple[str, list[Finding]]:
    """Run every step on a hostile pool with a hostile judge; look at what is shown and exported."""
    space = StepWorkspace(root)
    lay_out(root, ".dvc/config", ".dvcignore")
    (root / ".git").mkdir()
    (root / "tasks").symlink_to(PROJECT / "tasks")
    (root / "flows").symlink_to(PROJECT / "flows")
    stem = re.sub(r"[/\x00\ud800]", "_", values.text(rng, 4))[:60].strip(". ") or "a"
    pool = root / f"{stem}.jsonl"
    rows = [_record(rng, number) for number in range(N_RECORDS)]
    pool.write_bytes(b"\n".join(values.dumps(row) for row in rows))
    seed = rng.random()
    with FakeProvider(lambda call: _judge(seed, call)) as provider:
        _settings(space, provider, pool, rng)
        ran = trial.run("benchmarks.attack.all_steps", cwd=root, patience=patience * 2,
                        env={"DVC_ROOT": trial.UNSET})  # fmt: skip
        found = list(trial.ending(ran))
        for words in _commands(root, rng):
            shown = trial.run("flows.cli", *words, cwd=root, patience=patience,
                              env={"DVC_ROOT": trial.UNSET})  # fmt: skip
            if words == ("journal", "list"):  # it may be long
                shown = shown._replace(output=shown.output[: trial.MAX_MESSAGE])
            found += [f._replace(what=f"{words}: {f.what}") for f in trial.ending(shown)]
    if ran.status == 0:
        found += [*_pages(root), *_exports(root)]
    return (
        f"a pool named {pool.name!r}, all steps end with {ran.status}: {ran.output[-200:]!r}",
        found,
    )


def _record(rng: random.Random, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "instruction": f"{values.text(rng, 8)} {number}", "category": values.text(rng, 3),
        values.text(rng, 2): values.text(rng, 3),
    }  # fmt: skip
    if rng.random() < 0.5:
        row |= {"input": values.text(rng, 6), "output": values.text(rng, 6)}
    return row


def _judge(seed: float, call: Call) -> Response:
    """Rank honestly, with hostile names and reasons."""
    rng = random.Random(f"{seed}/{call.n}")
    response = honest(call)
    body = json.loads(response.body)
    body["model"] = values.text(rng)
    message = body["choices"][0]["message"]
    picks = json.loads(message["content"])["picks"]
    reasoned = [{"slot": slot, "reason": values.text(rng, 8)} for slot in picks]
    message["content"] = json.dumps({"picks": rng.choice((picks, reasoned))})
    return replace(response, body=values.dumps(body))


def _settings(space: StepWorkspace, provider: FakeProvider, pool: Path, rng: random.Random) -> None:
    space.update(
        ingest={"source": pool.name, "max_dropped": 1.0}, models={"mine": provider.deployment()},
        cluster={"candidates_per_prompt": SIZE}, baseline={"methods": ["random"], "n_seeds": 2},
        measure={"n_resamples": 100},
        llm_select={
            "budget": 5, "route": "mine", "shortlist": 2, "max_attempts": 2, "timeout_s": 5.0,
            "rationale": rng.random() < 0.7,
        },
        validate={"max_fallback_rate": 1.0},
    )  # fmt: skip


def _commands(root: Path, rng: random.Random) -> list[tuple[str, ...]]:
    """Return commands that show texts of the pool and names of files and models."""
    pool = root / "data/ingest/pool.parquet"
    ids = pq.read_table(pool)["id"].to_pylist() if pool.exists() else ["0"]
    return [
        ("explain", rng.choice(ids)),
        rng.choice((("plan",), ("estimate",), ("journal", "list"))),
    ]


class _Page(HTMLParser):
    """Collects what a page would run or load."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.text: list[str] = []
        self._is_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_code = tag in ("script", "style")
        for name, value in attrs:
            if MARK in f"{name}{value}" and (name.startswith("on") or name in ("src", "href")):
                self.wrong.append(f"<{tag} {name}={value!r:.60}>")
            if name in ("src", "href") and re.match(
                r"\s*(https?:|//|javascript:|data:text)", value or ""
            ):
                self.wrong.append(f"<{tag} {name}={value!r:.60}>")
        if tag == "iframe" or (tag == "img" and MARK in str(attrs)):
            self.wrong.append(f"<{tag} {attrs!r:.80}>")

    def handle_endtag(self, _tag: str) -> None:
        self._is_code = False

    def handle_data(self, data: str) -> None:
        if self._is_code and f"{MARK}()" in data and "\\u003c" not in data.lower():
            self.wrong.append(f"code: {data!r:.60}")
        if not self._is_code:
            self.text.append(data)


def _pages(root: Path) -> Iterator[Finding]:
    pages = [root / "data/report/index.html", *(root / ".selectllm").rglob("data_docs/**/*.html")]
    for path in pages:
        page = _Page()
        page.feed(path.read_text())
        for wrong in page.wrong[:3]:
            yield broken(f"{path.name} has {wrong}")
        controls = {c for c in "".join(page.text) if unicodedata.category(c) in ("Cc", "Cf")}
        if controls - set("\n\r\t") - set("\u200c\u200d"):
            yield broken(f"{path.name} shows {sorted(map(hex, map(ord, controls)))[:8]}")
        if html.unescape("&lt;") in page.text and not page.text:
            yield broken(f"{path.name} is empty")


def _exports(root: Path) -> Iterator[Finding]:
    with (root / "data/export/selection.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    for cell in cells:
        if cell.startswith(FORMULA) and not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell):
            yield broken(f"a spreadsheet would run the cell {cell[:40]!r}")
            return
    chosen = pq.read_table(root / "data/choose/selected.parquet").to_pylist()
    lines = (root / "data/export/selection.alpaca.jsonl").read_text().splitlines()
    if [json.loads(line)["instruction"] for line in lines] != [
        row["instruction"] for row in chosen
    ]:
        yield broken("the export has other texts than the selection")


def embed(root: Path) -> None:
    """Write unit vectors in the place of those that a model would compute."""
    n = pq.read_metadata(root / "data/dedupe/unique.parquet").num_rows
    vectors = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    folder = root / "data/embed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    for name in ("annotated", "targets"):
        np.save(folder / f"{name}.npy", np.empty((0, 16), np.float32))
