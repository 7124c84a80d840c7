"""A second round: a grown pool keeps its prompts, and with them the ballots that were paid for."""

import json
import logging
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.choose.step import work as choose
from tasks.cluster.step import check
from tasks.cluster.step import work as cluster
from tasks.dedupe.step import work as dedupe
from tasks.lib.core.errors import CurationError, DataError, ParamError
from tasks.lib.core.params import NO_RECORDS, read_params
from tasks.lib.core.records import record_id
from tasks.lib.core.schemas import ANNOTATED, KNOWN, POOL, PROMPTS, SELECTED
from tasks.lib.core.stage import Stage
from tasks.lib.core.tables import read_table, write_table
from tasks.llm_select.step import work as llm_select
from tests.fake_provider import FakeProvider
from tests.pools import unit_vectors
from tests.workspaces import StepWorkspace

SIZE, N, N_NEW = 14, 560, 28  # 40 prompts, and 5 % more records
WORDS = ("river", "engine", "violin", "harvest", "glacier", "printer", "orchard", "tunnel")


def record(i):
    a, b, c = WORDS[i % 8], WORDS[i // 8 % 8], WORDS[i // 64 % 8]
    text = f"Explain how a {a} differs from a {b}, and what a {c} has to do with case {i}."
    row = {"id": record_id(text, ""), "instruction": text, "input": "", "output": None}
    return {**row, "source": f"pool.jsonl:{i + 1}", "extra": "{}"}


RECORDS = [record(i) for i in range(N + N_NEW)]
VECTORS = unit_vectors(N + N_NEW, d=12, n_blobs=30)
VECTOR_OF = {row["id"]: vector for row, vector in zip(RECORDS, VECTORS, strict=True)}


class Rounds(StepWorkspace):
    """A workspace in which a pool is selected from, grows, and is selected from again."""

    def select(self, records, budget, provider, annotated=(), **params):
        """Run the stages from dedupe to choose; return the selection and the number of calls."""
        self.write_no_references(VECTORS.shape[1])
        self.write("ingest/pool.parquet", records, POOL)
        self.write("ingest/annotated.parquet", list(annotated), ANNOTATED)
        Stage("dedupe", self.root).run(dedupe)
        for tail, rows in (("vectors", records), ("annotated", annotated)):
            vectors = np.array([VECTOR_OF[row["id"]] for row in rows], np.float32)
            np.save(self.file(f"embed/{tail}.npy"), vectors.reshape(len(rows), 12))
        self.update(llm_select={"budget": budget, "route": "mine"} | params)
        self.update(models={"mine": provider.deployment()})
        n_before = len(provider.calls)
        for name, work in (("cluster", cluster), ("llm_select", llm_select), ("choose", choose)):
            Stage(name, self.root).run(work)
        selected = read_table(self.root / "data/choose/selected.parquet", SELECTED).to_pylist()
        return selected, len(provider.calls) - n_before

    def prompts(self):
        rows = read_table(self.root / "data/cluster/prompts.parquet", PROMPTS).to_pylist()
        found = {}
        for row in rows:
            found.setdefault(row["prompt"], []).append(row["id"])
        return list(found.values())

    def keep(self):
        """Keep the prompts for the next run."""
        shutil.copy(self.root / "data/cluster/prompts.parquet", self.root / "earlier.parquet")
        self.update(cluster={"earlier_prompts": "earlier.parquet"})


@pytest.fixture
def rounds(tmp_path, monkeypatch, caplog, warm_client):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    caplog.set_level(logging.INFO, logger="selectllm")
    return Rounds(tmp_path, "tasks/llm_select")


@pytest.mark.slow
def test_a_second_round_on_a_grown_pool_pays_only_for_the_new_prompts(rounds, caplog):
    with FakeProvider() as provider:
        first, n_calls = rounds.select(RECORDS[:N], 100, provider)
        assert (len(first), n_calls) == (100, 40)
        before = rounds.prompts()
        rounds.keep()
        done = [{name: row[name] for name in ANNOTATED.names} for row in first]
        caplog.clear()
        second, n_more = rounds.select(RECORDS, 50, provider, annotated=done)
    assert rounds.prompts()[:40] == before
    assert n_more == 2
    assert n_more <= 0.06 * n_calls
    assert "40 answers come from the journal, 2 are new" in caplog.text
    assert "560 records keep their 40 earlier prompts; 28 new ones form 2 prompts" in caplog.text
    assert len({row["id"] for row in second} - {row["id"] for row in first}) == 50
    known = read_table(rounds.root / "data/dedupe/known.parquet", KNOWN)["id"].to_pylist()
    assert {row["id"] for row in first} == set(known)
    choice = json.loads((rounds.root / "data/choose/choice.json").read_text())
    assert (choice["n_annotated"], choice["n_known"], choice["n_selected"]) == (100, 100, 50)


# The step cluster alone


class Grown(StepWorkspace):
    """A workspace for the cluster step."""

    def group(self, rows, **params):
        records = [RECORDS[i] for i in rows]
        self.write_no_references(12)
        self.write("ingest/pool.parquet", records, POOL)
        Stage("dedupe", self.root).run(dedupe)
        np.save(self.file("embed/vectors.npy"), VECTORS[list(rows)])
        self.update(cluster=params)
        check(read_params(self.root / "params.yaml"))
        Stage("cluster", self.root).run(cluster)
        path = self.root / "data/cluster/prompts.parquet"
        shutil.copy(path, self.root / "earlier.parquet")
        return read_table(path, PROMPTS).to_pylist()


@pytest.fixture
def grown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Grown(tmp_path)


EARLIER = {"earlier_prompts": "earlier.parquet"}


@pytest.mark.parametrize("mode", ["within", "across"])
def test_numbers_have_no_gaps_after_records_are_removed(grown, mode):
    before = grown.group(range(84), mode=mode)
    gone = {row["id"] for row in before if row["prompt"] == 2 or row["slot"] == 1}
    rows = [i for i in range(100) if RECORDS[i]["id"] not in gone]
    after = grown.group(rows, mode=mode, **EARLIER)
    assert sorted(row["id"] for row in after) == sorted(RECORDS[i]["id"] for i in rows)
    numbers = [row["prompt"] for row in after]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    for number in set(numbers):
        slots = [row["slot"] for row in after if row["prompt"] == number]
        assert slots == list(range(1, len(slots) + 1))
    clusters = {row["cluster"] for row in after}
    assert clusters == set(range(1, max(clusters) + 1))
    kept = [[r["id"] for r in before if r["prompt"] == n and r["id"] not in gone] for n in (1, 3)]
    assert [[r["id"] for r in after if r["prompt"] == n] for n in (1, 2)] == kept


def test_a_third_round_keeps_the_prompts_of_both_earlier_rounds(grown):
    grown.group(range(70))
    second = grown.group(range(90), **EARLIER)
    third = grown.group(range(100), **EARLIER)
    assert third[: len(second)] == second


def test_a_pool_that_did_not_grow_keeps_all_its_prompts(grown):
    before = grown.group(range(70))
    assert grown.group(range(70), **EARLIER) == before
    clusters = json.loads((grown.root / "data/cluster/clusters.json").read_text())
    assert (clusters["n_earlier_prompts"], clusters["n_prompts"]) == (5, 5)
    assert clusters["solver_reason"] == "every record keeps its prompt"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"candidates_per_prompt": 7},
            "made with cluster.candidates_per_prompt 14, but the value is now 7",
        ),
        ({"mode": "across"}, "made with cluster.mode within, but the value is now across"),
        ({"mode": "paper"}, "in paper mode, every prompt depends on the whole pool"),
        (
            {"candidates_per_prompt": None, "n_prompts": 5},
            "only if cluster.candidates_per_prompt is set",
        ),
        ({"earlier_prompts": "erlier.parquet"}, "there is no file erlier.parquet"),
    ],
)
def test_prompts_made_with_other_settings_are_refused(grown, params, words):
    grown.group(range(70))
    with pytest.raises(ParamError, match=f"cluster.earlier_prompts: .*{words}") as caught:
        grown.group(range(80), **EARLIER | params)
    assert NO_RECORDS in caught.value.fix or "cluster.n_prompts to null" in " ".join(
        caught.value.fix.split()
    )


def test_prompts_of_another_pool_are_refused(grown):
    grown.group(range(70))
    with pytest.raises(ParamError, match=r"none of the 70 records .* belong to another pool"):
        grown.group(range(80, 150), **EARLIER)


def test_a_file_that_is_not_a_table_of_prompts_is_refused(grown):
    grown.group(range(70))
    (grown.root / "earlier.parquet").write_text("prompts")
    with pytest.raises(DataError, match="not readable as Parquet"):
        grown.group(range(70), **EARLIER)
    rows = [{"prompt": 1, "slot": 1, "id": RECORDS[0]["id"], "cluster": 1}]
    write_table(grown.root / "earlier.parquet", rows, PROMPTS)  # without the footer
    assert b"mode" not in (pq.read_metadata(grown.root / "earlier.parquet").metadata or {})
    with pytest.raises(CurationError, match=r"cluster.mode \(not recorded\)"):
        grown.group(range(70), **EARLIER)
