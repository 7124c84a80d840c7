"""A run on made-up records with its report, and a way to read the report without a browser."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import (
    BALLOTS,
    DEDUPE_DROPPED,
    DEDUPE_NEAR,
    INGEST_DROPPED,
    POOL,
    PROMPTS,
    SELECTED,
    SELECTIONS,
    UNIQUE,
)
from tasks.lib.core.stage import Stage
from tasks.report.step import work
from tests.sound_run import CLUSTERS, FAIR
from tests.workspaces import StepWorkspace

R = 7  # candidates of a prompt
RANKS, SCORES = {1: 1, 2: 2}, {1: 1.0, 2: 0.5}  # by slot
JUDGE = {"route": "chatgpt", "model": "openai/some"}
NO_ANSWERS: dict[str, Any] = {"ballots": [], "answers": []}
EVIL = (
    '</script><img src=x onerror="document.title=\'pwned\'"><script>document.title="pwned"</script>'
)


def figure(value: float, p: float | None, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "interval": [low, high], "p_random": p}


def metrics(ours: bool = True, curves: bool = True, coverage: float = 1.2) -> dict[str, Any]:
    """Return metrics: ours beats random only in facility location; medoids cover best."""

    def method(coverage: dict[str, Any], location: dict[str, Any]) -> dict[str, Any]:
        words = {"coverage_mean": coverage, "facility_location": location}
        cost = {"calls": 3, "prompt_tokens": 30, "completion_tokens": 3, "usd": 0.5}
        spaces = {"text": {}, "words": words, "characters": words, "vectors": words}
        return {"n_records": 6, "n_seeds": 1, "chose_in": ["vectors"], **spaces, "cost": cost}

    methods = {
        "llm_select": method(figure(coverage, 0.5, 1.1, 1.3), figure(0.5, 0.01, 0.4, 0.6)),
        "medoids": method(figure(0.9, 0.04, 0.8, 1.0), figure(0.4, 0.3, 0.3, 0.5)),
        "random": method(figure(1.1, None, 1.0, 1.2), figure(0.3, None, 0.2, 0.4)),
    }
    if not ours:
        del methods["llm_select"]
    names = list(methods)
    lines = {
        name: {"words.coverage_mean": [[1.3, 1.2, 1.4], None, [1.1, None, None]]} for name in names
    }
    return {
        "methods": methods,
        "overlap": {"methods": names, "jaccard": np.full((len(names), len(names)), 0.25).tolist()},
        "lower_is_better": ["coverage_mean"],
        "higher_is_better": ["facility_location"],
        "curves": {"sizes": [2, 4, 6], "methods": lines if curves else {}},
    }


def savings(n_selected: int) -> dict[str, Any]:
    words = {"n_random": 9, "low": 8, "high": 11}
    return {
        "n_selected": n_selected, "min_size": 2, "max_size": 24,
        "coverage": {"words": words} if n_selected else {}, "student": None,
        "saved": 3, "saved_percent": 33.3, "stop": {"words": {"step": 1, "at": None}},
    }  # fmt: skip


def choice(n_selected: int) -> dict[str, Any]:
    """Return a choice with a quota that is missed at the smaller budget, targets and weights."""
    quota = {"column": "kind", "value": "qa", "n_wanted": 2, "n_candidates": 30}
    quotas = [quota | {"budget": n, "n_selected": n // 2 - 1} for n in (2, n_selected)]
    targets = {"n_steering": 3, "n_held_out": 2, "n_random": 20, "n_random_below": 18}
    weights = [
        {"weight": weight, "mean_score": 0.5, "coverage": 0.25, "n_shared": n_selected}
        for weight in (0.0, 1.0)
    ]
    return {
        "n_selected": n_selected, "n_annotated": 5, "n_known": 4,
        "quotas": quotas if n_selected else (),
        "targets": targets | {"cosine": 0.5, "random_cosine": 0.25} if n_selected else None,
        "weights": weights if n_selected else (),
    }  # fmt: skip


def usage(n_selected: int, n_prompts: int) -> dict[str, Any]:
    slots: dict[str, Any] = {"is_shuffled": True, "n_prompts": n_prompts}
    if n_prompts:
        slots |= {"observed": [n_prompts, *[0] * (R - 1)], "expected": [n_prompts / R] * R}
        slots |= {"position_bias": 0.5, "position_bias_by_chance": 0.2}
        slots |= {"chi_square": 30.0, "df": R - 1, "p_value": 0.0001}
    else:
        names = ("position_bias", "position_bias_by_chance", "chi_square", "df", "p_value")
        slots |= {"observed": [], "expected": [], **dict.fromkeys(names)}
    return {
        **FAIR,
        "budget": 6,
        "n_prompts": n_prompts,
        "partial": None if n_selected >= 6 else "max_usd",
        "calls": n_prompts,
        "prompt_tokens": 1200,
        "completion_tokens": 34,
        "usd": 0.123,
        "answers": {"chatgpt": n_prompts},
        "methods": {"llm": n_prompts, "offline": 0, "fallback": 0},
        "slots": slots,
        "agreement": {"n_prompts": 0, "same_first": None, "by_chance": None, "kappa": None},
        "attention_checks_planned": 3,
        "attention_checks": {"gibberish": {"shown": 3, "picked": 1, "by_chance": 0.5}},
    }


class World(StepWorkspace):
    """The files of a run on made-up records, with one pick in each of the first prompts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / ".selectllm").mkdir()

    def make(
        self,
        texts: list[str],
        n_selected: int = 6,
        reason: str = "It is the clearest.",
        detail: str = "cut off",
        document: dict[str, Any] | None = None,
        *,
        kept_near: Sequence[dict[str, Any]] = (),
    ) -> "World":
        pool = [self._record(text, i) for i, text in enumerate(texts)]
        ids = [record["id"] for record in pool]
        dropped = [{"file": "pool.jsonl", "line": 9, "reason": "not_json", "detail": detail}]
        unique = ids[:-1] if len(ids) > 1 else ids
        duplicates = [
            {"id": id_, "reason": "near", "of_id": ids[0], "similarity": 0.9}
            for id_ in ids[len(unique) :]
        ]
        shown = [
            {"prompt": i // R + 1, "slot": i % R + 1, "id": id_, "cluster": i // R + 1}
            for i, id_ in enumerate(unique)
        ]
        judged = {"votes": 1, "method": "llm"}
        ballots = [
            {**row, **judged, "rank": RANKS.get(row["slot"]), "score": SCORES.get(row["slot"], 0.0)}
            for row in shown[: n_selected * R]
        ]
        records = {record["id"]: record for record in pool}
        chosen = [
            {**records[row["id"]], **row, **JUDGE, "gain": 0.1}
            for row in ballots
            if row["rank"] == 1
        ]
        self.write("ingest/pool.parquet", pool, POOL)
        self.write("ingest/dropped.parquet", dropped, INGEST_DROPPED)
        self.write_no_references(0)
        self.write("dedupe/unique.parquet", [{"id": id_} for id_ in unique], UNIQUE)
        self.write("dedupe/dropped.parquet", duplicates, DEDUPE_DROPPED)
        self.write("dedupe/near.parquet", kept_near, DEDUPE_NEAR)
        self.write("cluster/prompts.parquet", shown, PROMPTS)
        self.write("llm_select/ballots.parquet", ballots, BALLOTS)
        self.write("choose/selected.parquet", chosen, SELECTED)
        sizes = {"n_records": len(unique), "n_prompts": len(unique) // R, "n_clusters": R}
        solver = {"solver": "k_means_constrained", "solver_reason": "294 is quick"}
        self.write_json("cluster/clusters.json", {**CLUSTERS, **sizes, **solver})
        self.write_json("choose/choice.json", choice(len(chosen)))
        others = [
            {"method": "random", "seed": 0, "rank": 1 + i, "id": id_}
            for i, id_ in enumerate(unique[:6])
        ]
        self.write("baseline/selections.parquet", others, SELECTIONS)
        by_prompt: dict[int, list[str]] = {}
        for row in ballots:
            by_prompt.setdefault(row["prompt"], []).append(row["id"])
        said = {"reasons": {"1": reason}, "set_aside": {}, **NO_ANSWERS}
        lines = [{"prompt": n, **JUDGE, "ids": ids, **said} for n, ids in by_prompt.items()]
        self.file("llm_select/judgements.jsonl").write_text(
            "".join(json.dumps(x) + "\n" for x in lines)
        )
        n_prompts = len(by_prompt)
        self.write_json("llm_select/usage.json", usage(len(chosen), n_prompts))
        self.write_json("measure/metrics.json", document or metrics(ours=bool(chosen)))
        self.write_json("measure/savings.json", savings(6 if chosen else 0))
        counts = {"rows": len(ids) + 1, "excluded": 0, "faulty": 1, "repeated": 0, "pool": len(ids)}
        counts |= {"duplicates": len(duplicates), "unique": len(unique), "selected": len(chosen)}
        counts |= {"prompts": n_prompts}
        unmet = {"table": "judge", "expectation": "Judges are fair", "success": False}
        findings = [unmet | {"detail": detail, "is_warning": True}]
        result = {"success": True, "partial": None, "funnel": counts, "dropped": {}}
        self.write_json("validate/result.json", {**result, "expectations": findings})
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(unique) // R + 1, 16))
        vectors = centres[np.arange(len(unique)) // R] + 0.2 * rng.normal(size=(len(unique), 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(self.file("embed/vectors.npy"), vectors.astype(np.float32))
        return self

    def report(self) -> str:
        Stage("report", self.root).run(work)
        return self.page.read_text(encoding="utf-8")

    @property
    def page(self) -> Path:
        return self.root / "data" / "report" / "index.html"

    def _record(self, text: str, i: int) -> dict[str, Any]:
        given = {"instruction": text, "input": "", "output": None}
        return {"id": record_id(text, ""), **given, "source": f"toy.jsonl:{i}", "extra": "{}"}


def bridges(n: int = 43) -> list[str]:
    return [f"Name {i} bridges of the world, and say why." for i in range(n)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Make a world with a report, which no test changes."""
    made = World(tmp_path_factory.mktemp("reported")).make(bridges())
    made.report()
    return made


class Outline(HTMLParser):
    """The tags of a page with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
