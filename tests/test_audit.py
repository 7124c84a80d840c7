"""`verify` proves a selection by its journal, or names the difference; `explain` explains it."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from ruamel.yaml import YAML

from flows.cli import show_audit
from tasks.audit.answers import used_answers
from tasks.audit.dvc_lock import dvc_md5
from tasks.audit.explain import explain
from tasks.audit.same_content import first_difference, is_rounding
from tasks.audit.verify import MAX_RECORDS, verify, why_later
from tasks.lib.core.dvc_yaml import read_stage
from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.params import lookup, read_params
from tasks.lib.core.schemas import (
    ANNOTATED,
    DEDUPE_DROPPED,
    HELD_OUT,
    INGEST_DROPPED,
    KNOWN,
    POOL,
    SELECTED,
    UNIQUE,
)
from tasks.lib.core.tables import read_table, write_table
from tests.fake_provider import FakeProvider, fails, honest, late, says
from tests.selection_desk import text_of
from tests.workspaces import lay_out

OUTS = {
    "ingest": [
        *("ingest/pool.parquet", "ingest/dropped.parquet"),
        *("ingest/annotated.parquet", "ingest/held_out.parquet", "ingest/targets.parquet"),
    ],
    "dedupe": ["dedupe/unique.parquet", "dedupe/dropped.parquet", "dedupe/known.parquet"],
    "embed": ["embed/vectors.npy", "embed/annotated.npy", "embed/targets.npy"],
    "cluster": ["cluster/prompts.parquet", "cluster/clusters.json"],
    "llm_select": [
        *("llm_select/ballots.parquet", "llm_select/judgements.jsonl", "llm_select/usage.json"),
    ],
    "choose": ["choose/selected.parquet", "choose/receipt.jsonl", "choose/choice.json"],
}


def seal(table):
    """Write dvc.lock as DVC does after all stages have run."""

    def entries(paths):
        return [{"path": path, "md5": dvc_md5(table.root / path)} for path in paths]

    values = read_params(table.root / "params.yaml")
    stages = {n: {"outs": entries(f"data/{tail}" for tail in tails)} for n, tails in OUTS.items()}
    for name in ("llm_select", "choose"):
        stage = read_stage(table.root, name, values)
        params = {key: lookup(values, key) for key in stage.params}
        stages[name] |= {"deps": entries(stage.deps), "params": {"params.yaml": params}}
    with (table.root / "dvc.lock").open("w") as file:
        YAML(typ="safe").dump({"schema": "2.0", "stages": stages}, file)


@pytest.fixture
def table(desk):
    """A workspace to select in, with the rows that the earlier steps dropped."""
    first = next(iter(desk.records))
    rows = [
        {"file": "pool.jsonl", "line": 99, "reason": "nul", "detail": "instruction contains a NUL"}
    ]
    desk.write("ingest/dropped.parquet", rows, INGEST_DROPPED)
    rows = [{"id": "0" * 16, "reason": "near", "of_id": first, "similarity": 0.9}]
    desk.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    return desk


def select(table, provider=None, **params):
    done = table.run(provider.deployment() if provider else None, **params)
    assert done.exit_code == 0, done.said
    table.choose(params.get("budget"))
    seal(table)


def sees(call, topic):
    return any(f"topic {topic} " in text for text in call.block.texts)


def explained(call):
    slots = json.loads(json.loads(honest(call).body)["choices"][0]["message"]["content"])["picks"]
    return says(json.dumps({"picks": slots, "reasons": ["Good."] * len(slots)}))(call)


def blocked(call):
    return (fails(400, "blocked by the content policy") if sees(call, 11) else honest)(call)


def useless(call):
    return (says("No.") if sees(call, 11) else honest)(call)


def unreached(call):
    return (fails(503, "later") if sees(call, 12) else honest)(call)


RUNS = {
    "one vote": (honest, {}),
    "a small budget": (honest, {"budget": 2}),
    "votes, attention checks and reasons": (
        explained,
        {"votes": 3, "attention_checks": 4, "rationale": True},
    ),
    "a record that a provider blocks": (blocked, {}),
    "a prompt without an answer": (useless, {}),
    "a prompt that could not be asked": (unreached, {"max_attempts": 2}),
    "a cap": (late(0.02), {"max_usd": 0.0045}),
    "a cap of nothing": (honest, {"max_usd": 0.0}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_selection_follows_from_its_journal_without_a_call(table, name):
    behave, params = RUNS[name]
    with FakeProvider(behave) as provider:
        select(table, provider, **params)
        n_calls = len(provider.calls)
        before = {path: path.read_bytes() for path in table.root.rglob("*") if path.is_file()}
        proof = verify(table.root)
        assert len(provider.calls) == n_calls
    assert proof.differences == []
    assert proof.n_selected == len(table.receipts())
    assert proof.n_answers == table.usage()["calls"]
    assert (proof.partial == "max_usd") == ("cap" in name)
    assert {path: path.read_bytes() for path in before} == before


def test_verify_needs_no_key(table, monkeypatch):
    monkeypatch.setenv("MY_ACCESS", "a-secret-of-sixteen")
    with FakeProvider() as provider:
        deployment = provider.deployment(api_key="os.environ/MY_ACCESS")
        assert table.run(deployment).exit_code == 0
    table.choose()
    seal(table)
    monkeypatch.delenv("MY_ACCESS")
    assert verify(table.root).differences == []


@pytest.mark.slow
def test_the_answers_behind_a_selection_have_the_questions_that_were_sent(table):
    with FakeProvider() as provider:
        provider.script(fails(503, "later"))
        select(table, provider, votes=2, attention_checks=2)
        answers = used_answers(table.root, 99)
        sent = [call.body["messages"] for call in provider.calls]
    used = {answer["digest"]: r for r in table.receipts() for answer in r["answers"]}
    assert {answer.digest for answer in answers} == used.keys()
    assert all(answer.messages in sent for answer in answers)
    assert all(answer.prompt == used[answer.digest]["prompt"] for answer in answers)
    assert sum(answer.n_failed for answer in answers) == 1
    assert all(0 < answer.duration_s < 60 and answer.usd > 0 for answer in answers)
    by_key = {answer["key"]: answer["digest"] for r in table.receipts() for answer in r["answers"]}
    lowest = {by_key[key] for key in sorted(by_key)[:3]}
    assert {answer.digest for answer in used_answers(table.root, 3)} == lowest


def change(table, query, *values):
    with closing(sqlite3.connect(table.root / ".selectllm/journal.sqlite")) as db:
        assert db.execute(query, values).rowcount
        db.commit()


def difference_of(table):
    (difference,) = verify(table.root).differences
    return difference


def keys_of_judgements(table):
    return {answer["key"] for judgement in table.judgements() for answer in judgement["answers"]}


def test_an_answer_to_an_attention_check_is_checked_too(table):
    with FakeProvider() as provider:
        select(table, provider, attention_checks=2)
    keys = keys_of_judgements(table)
    others = f"key NOT IN ({', '.join('?' * len(keys))})"
    change(table, f"UPDATE answers SET prompt_tokens = prompt_tokens + 1 WHERE {others}", *keys)
    assert difference_of(table).file.endswith("journal.sqlite")
    assert "the answer of an attention check was changed" in difference_of(table).what
    change(table, f"DELETE FROM answers WHERE {others}", *keys)
    assert "answers are missing: rebuilding used 5 of 7" in difference_of(table).what


@pytest.mark.slow
def test_a_usage_file_of_an_earlier_version_names_the_renamed_field(table):
    select(table)
    usage = table.out("usage.json")
    usage.write_text(usage.read_text().replace('"dropped_params"', '"left_out"'))
    seal(table)
    assert difference_of(table).what == "the field left_out is now called dropped_params"


def test_a_missing_answer_is_named_with_its_prompt(table):
    with FakeProvider() as provider:
        select(table, provider)
    judgement = table.judgements()[0]
    key = judgement["answers"][0]["key"]
    change(table, "DELETE FROM answers WHERE key = ?", key)
    assert difference_of(table).file.endswith("journal.sqlite")
    assert difference_of(table).what == f"answers are missing: {key} (prompt 1)"


def test_a_damaged_journal_is_named_whatever_is_wrong_with_it(table):
    select(table)
    journal = table.root / ".selectllm/journal.sqlite"
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sound = journal.read_bytes()
    for content in (
        sound[:5000],
        sound[:100],
        b"{}",
        b"\xff" * 5000,
        sound.replace(b"\x0d", b"\x0e"),
    ):
        journal.write_bytes(content)
        assert difference_of(table).file == ".selectllm/journal.sqlite"
    for query in (
        "DROP TABLE answers",
        "DROP TABLE calls",
        "ALTER TABLE answers RENAME COLUMN usd TO eur",
        "UPDATE answers SET text = CAST(x'fffe' AS TEXT)",
        "UPDATE answers SET parsed = 'x'",
        "UPDATE answers SET dropped_params = '3'",
        "UPDATE answers SET usd = 1e999",
    ):
        journal.write_bytes(sound)
        change(table, query) if query.startswith("UPDATE") else alter(journal, query)
        assert difference_of(table).file == ".selectllm/journal.sqlite", query


def alter(journal, query):
    with closing(sqlite3.connect(journal)) as db:
        db.execute(query)
        db.commit()


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["usd = usd / 2", "prompt_tokens = 1", "is_upper_bound = 1"])
def test_a_changed_price_of_a_call_is_found_in_the_journal(table, setting):
    with FakeProvider() as provider:
        select(table, provider)
    key = table.receipts()[0]["answers"][0]["key"]
    change(table, f"UPDATE calls SET {setting} WHERE outcome = 'answer' AND key = ?", key)
    assert difference_of(table).file.endswith("journal.sqlite")
    assert f"answers were changed: {key}" in difference_of(table).what


def test_a_changed_price_of_a_reply_without_an_answer_is_found_in_the_journal(table):
    with FakeProvider() as provider:
        provider.script(says("No."))
        select(table, provider)
    assert verify(table.root).differences == []
    change(table, "UPDATE calls SET usd = 2 * usd WHERE outcome <> 'answer'")
    assert difference_of(table).file.endswith("journal.sqlite")
    assert "the price of an unusable reply" in difference_of(table).what


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        *("route = 'other'", "model = 'better'", "text = text || ' '", "usd = usd / 2"),
        *("is_upper_bound = 1", "is_upper_bound = 3", "finish_reason = 'length'"),
        *("dropped_params = '[\"seed\"]'", "parsed = '[9' || substr(parsed, 3)"),
        "text = replace(text, '[', '[9'), parsed = replace(parsed, '[', '[9')",
    ],
)
def test_a_changed_answer_is_found(table, setting):
    with FakeProvider() as provider:
        select(table, provider, budget=40)
    key = table.receipts()[0]["answers"][0]["key"]
    change(table, f"UPDATE answers SET {setting} WHERE key = ?", key)
    assert difference_of(table).file.endswith("journal.sqlite")
    assert key in difference_of(table).what


def test_a_journal_of_another_selection_and_a_missing_one_have_their_own_messages(table):
    select(table)
    journal = table.root / ".selectllm/journal.sqlite"
    change(table, "UPDATE answers SET key = 'x' || key")
    assert (
        difference_of(table).what
        == "the journal has none of the 5 answers; it belongs to other selections"
    )
    journal.write_bytes(b"")
    assert "this is not a SelectLLM journal" in difference_of(table).what
    journal.unlink()
    assert difference_of(table).what == "the journal is missing"
    assert not journal.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judgements.jsonl", "usage.json"])
def test_a_change_to_both_a_file_and_dvc_lock_is_found_by_the_journal(table, name):
    with FakeProvider(explained) as provider:
        select(table, provider, rationale=True)
    path = table.out(name)
    path.write_text(
        path.read_text().replace("Good.", "Fine.", 1).replace('"calls": 5', '"calls": 4')
    )
    seal(table)
    assert difference_of(table).file == f"data/llm_select/{name}"
    assert "differs when rebuilt from the journal: line" in difference_of(table).what
    assert "Someone edited it" in difference_of(table).fix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value", "what"),
    [("gain", 0.5, "gain of row 2 is"), ("score", 0.5, "score of row 2 is")],
)
def test_a_changed_row_of_the_selection_is_found_by_rebuilding_it(table, column, value, what):
    select(table)
    path = table.root / "data/choose/selected.parquet"
    rows = read_table(path, SELECTED).to_pylist()
    rows[1][column] = value
    write_table(path, rows, SELECTED)
    seal(table)
    assert difference_of(table).file == "data/choose/selected.parquet"
    assert f"differs when rebuilt from the ballots and vectors: {what}" in difference_of(table).what
    assert "`dvc repro -f choose`" in difference_of(table).fix


@pytest.mark.slow
def test_a_changed_receipt_and_changed_vectors_are_found(table):
    select(table)
    path = table.root / "data/choose/receipt.jsonl"
    path.write_text(path.read_text().replace('"place": 3', '"place": 4'))
    seal(table)
    assert (
        difference_of(table).what
        == "the file differs when rebuilt from the ballots and vectors: line 3 differs"
    )
    select(table)
    vectors = np.load(table.root / "data/embed/vectors.npy")
    np.save(table.root / "data/embed/vectors.npy", vectors[::-1])
    seal(table)
    files = {difference.file for difference in verify(table.root).differences}
    names = ("selected.parquet", "receipt.jsonl", "choice.json")
    assert files == {f"data/choose/{name}" for name in names}


@pytest.mark.slow
def test_a_selection_of_another_size_is_named(table):
    select(table)
    selected = table.root / "data/choose/selected.parquet"
    whole = selected.read_bytes()
    table.choose(11)
    shorter = selected.read_bytes()
    table.choose(12)
    assert selected.read_bytes() == whole
    selected.write_bytes(shorter)
    seal(table)
    assert difference_of(table).what.endswith("vectors: 12 rows instead of 11")


@pytest.mark.slow
def test_a_missing_file_a_changed_parameter_and_a_broken_lock_are_named(table):
    select(table)
    table.out("ballots.parquet").unlink()
    assert difference_of(table).what == "the file is missing"
    assert "`dvc checkout -f data/llm_select/ballots.parquet`" in difference_of(table).fix
    select(table)
    table.set(budget=13)
    assert difference_of(table).file == "params.yaml"
    assert (
        difference_of(table).what == "llm_select.budget is 13, but the selection was made with 12"
    )
    table.set(budget=12)
    lock = table.root / "dvc.lock"
    lock.write_text("stages: [")
    with pytest.raises(DataError, match="not in the format that DVC writes"):
        verify(table.root)
    lock.unlink()
    with pytest.raises(DataError, match="nothing was selected here yet"):
        verify(table.root)


@pytest.mark.slow
def test_changed_code_is_named_only_if_the_selection_differs(table):
    select(table)
    (table.root / "tasks").unlink()
    lay_out(table.root, "tasks")
    module = table.root / "tasks/llm_select/step.py"
    module.write_text(module.read_text() + "\n")
    assert verify(table.root).differences == []
    lock = table.root / "dvc.lock"
    usage = table.out("usage.json")
    old = dvc_md5(usage)
    usage.write_text(usage.read_text().replace('"n_unknown_usage": 0', '"n_unknown_usage": 1'))
    lock.write_text(lock.read_text().replace(old, dvc_md5(usage)))
    assert "changed since then: tasks/llm_select" in difference_of(table).fix


@pytest.mark.parametrize(
    ("was", "now", "is_rounded"),
    [
        ('{"gain": 0.18109754445600856}', '{"gain": 0.18109754906862463}', True),
        ("llm_select,60,1.02319,49.2487", "llm_select,60,1.0232,49.2487", True),
        ("1.06 & 0.05", "1.05 & 0.05", True),  # written with two digits
        ('{"usd": 0.0123}', '{"usd": 0.0125}', False),
        ('{"p_random": 0.52381}', '{"p_random": 0.238095}', False),
        ('{"saved": 12}', '{"saved": 13}', False),
        ('{"version": "1.2.3"}', '{"version": "1.2.4"}', False),
        ("0.5\n0.6\n", "0.5\n", False),
        ("0.5 a", "0.5 b", False),
    ],
)
def test_only_the_last_digits_of_numbers_may_differ_on_another_processor(
    tmp_path, was, now, is_rounded
):
    ours, rebuilt = tmp_path / "ours", tmp_path / "rebuilt"
    ours.write_text(was)
    rebuilt.write_text(now)
    assert first_difference(ours, rebuilt) == f"line {2 if was.count(chr(10)) > 1 else 1} differs"
    assert is_rounding(ours, rebuilt) is is_rounded


@pytest.mark.parametrize(
    ("stage", "n_records", "is_other_processor", "words"),
    [
        ("measure", 2000, False, ""),
        ("measure", 2001, False, "2,001 records take minutes"),
        ("measure", 10, True, "another kind of processor"),
        ("export", 10**6, True, ""),
        ("report", 10**6, False, "`selectllm verify --all` rebuilds it"),
    ],
)
def test_verify_says_why_it_leaves_a_stage_out(stage, n_records, is_other_processor, words):
    most = MAX_RECORDS[stage]
    why = why_later(stage, n_records, most, is_other_processor=is_other_processor)
    assert words in why if words else not why


def fates(table):
    return {i: explain(table.root, i)["fate"] for i in table.records}


@pytest.mark.slow
def test_a_selected_record_has_its_prompt_its_score_its_gain_and_its_answers(table):
    with FakeProvider(explained) as provider:
        select(table, provider, rationale=True)
    counts = list(fates(table).values())
    assert (counts.count("selected"), counts.count("rejected")) == (12, 28)
    receipt = table.receipts()[0]
    story = explain(table.root, receipt["id"])
    candidates = story["prompt"]["candidates"]
    assert [candidate["slot"] for candidate in candidates] == list(range(1, 9))
    assert sorted(c["rank"] for c in candidates if c["rank"]) == [1, 2, 3, 4, 5]
    assert [c["place"] for c in candidates if c["id"] == story["id"]] == [1]
    assert [c["id"] for c in candidates if c["id"] != story["id"]] == receipt["rivals"]
    for name in ("place", "score", "gain", "rank"):
        assert story["receipt"][name] == receipt[name]
    assert story["receipt"]["reason"] == "Good."
    assert story["covered_by"] is None
    (answer,) = story["receipt"]["answers"]
    assert json.loads(answer["text"])["reasons"] == ["Good."] * 5


def test_a_rejected_record_names_the_selected_one_that_covers_it_best(table):
    select(table)
    ids = read_table(table.root / "data/dedupe/unique.parquet", UNIQUE)["id"].to_pylist()
    vectors = np.load(table.root / "data/embed/vectors.npy")
    selected = [receipt["id"] for receipt in table.receipts()]
    rejected = next(i for i in ids if i not in selected)
    story = explain(table.root, rejected)
    assert (story["fate"], story["receipt"]) == ("rejected", None)
    cosines = {i: float(vectors[ids.index(rejected)] @ vectors[ids.index(i)]) for i in selected}
    best = max(cosines, key=cosines.get)
    covered_by = story["covered_by"]
    assert (covered_by["id"], covered_by["place"]) == (best, selected.index(best) + 1)
    assert covered_by["cosine"] == pytest.approx(cosines[best], abs=1e-6)
    assert covered_by["text"] == text_of(table, best)


@pytest.mark.slow
def test_a_record_that_could_not_be_judged_is_reported_as_set_aside(table):
    with FakeProvider(blocked) as provider:
        select(table, provider)
    (aside,) = [record_id for record_id, fate in fates(table).items() if fate == "set_aside"]
    assert "topic 11 " in text_of(table, aside)
    story = explain(table.root, aside)
    (own,) = [c for c in story["prompt"]["candidates"] if c["id"] == aside]
    assert own["set_aside"] == "content_filter"


@pytest.mark.slow
def test_records_that_a_cap_left_out_are_undecided(table):
    with FakeProvider() as provider:
        select(table, provider, max_usd=0.0)
    assert set(fates(table).values()) == {"undecided"}


def test_a_duplicate_its_original_and_a_dropped_line_have_a_story_too(table):
    first, second = list(table.records)[:2]
    rows = [{"id": second, "reason": "near", "of_id": first, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    select(table)
    story = explain(table.root, second)
    assert story["fate"] == "duplicate"
    assert (story["duplicate_of"]["id"], story["duplicate_of"]["similarity"]) == (first, 0.9)
    assert "prompt" not in story
    duplicates = [{"id": second, "reason": "near", "similarity": 0.9}]
    assert explain(table.root, first)["duplicates"] == duplicates
    assert explain(table.root, "line:99")["dropped"]["reason"] == "nul"
    assert explain(table.root, "line:1")["id"] == first


def test_a_record_is_found_by_the_pools_own_id(table):
    rows = [
        {**row, "extra": json.dumps({"qid": f"q/{i}", "N": i, "user_id": "é"}, ensure_ascii=False)}
        for i, row in enumerate(table.records.values())
    ]
    table.write("ingest/pool.parquet", rows[::-1], POOL)
    select(table)
    story = explain(table.root, "q/7")
    assert story["id"] == rows[7]["id"]
    assert story["record"]["extra"] == {"qid": "q/7", "N": 7, "user_id": "é"}
    with pytest.raises(ParamError, match="'é' is the id of 40 rows of the source") as caught:
        explain(table.root, "é")
    assert rows[39]["id"] in caught.value.fix
    with pytest.raises(ParamError, match="has the id"):
        explain(table.root, "7")  # of a column that is not named like an id


def test_a_record_is_found_by_its_first_digits_and_an_unknown_id_is_an_error(table):
    select(table)
    shutil.rmtree(table.root / ".selectllm")
    record_id = table.receipts()[0]["id"]
    story = explain(table.root, record_id[:8].upper())
    assert story["id"] == record_id
    assert [answer["text"] for answer in story["receipt"]["answers"]] == [None]
    other = "0" if record_id[7] != "0" else "1"
    with pytest.raises(ParamError, match="none of the 40 records has the id"):
        explain(table.root, record_id[:7] + other + record_id[8:])
    with pytest.raises(ParamError, match="as in line:37"):
        explain(table.root, "zebra")
    with pytest.raises(DataError, match="line 41 was not read as a row"):
        explain(table.root, "line:41")


def test_a_record_that_repeats_an_annotated_or_held_out_one_names_it(table):
    known, held_out = list(table.records)[:2]
    original = table.records[known] | {"id": "a" * 16, "instruction": "What was annotated."}
    table.write("ingest/annotated.parquet", [original], ANNOTATED)
    vectors = np.load(table.root / "data/embed/vectors.npy")
    np.save(table.root / "data/embed/annotated.npy", vectors[[list(table.records).index(known)]])
    table.write("ingest/held_out.parquet", [original | {"instruction": "A test."}], HELD_OUT)
    rows = [{"id": known, "of_id": "a" * 16, "similarity": 0.9}]
    table.write("dedupe/known.parquet", rows, KNOWN)
    select(table)
    story = explain(table.root, known)
    assert story["fate"] == "annotated"
    assert story["annotated_as"]["text"].startswith("What was annotated.")
    cover = story["covered_by"]
    assert (cover["id"], cover["place"]) == ("a" * 16, None)
    assert cover["text"].startswith("What was annotated.")
    rows = [{"id": held_out, "reason": "held_out", "of_id": "a" * 16, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    seal(table)
    story = explain(table.root, held_out)
    assert story["fate"] == "held_out"
    assert story["duplicate_of"]["text"].startswith("A test.")


@pytest.mark.parametrize(
    ("tail", "change"),
    [
        ("ingest/pool.parquet", lambda data: data[:200]),
        ("choose/receipt.jsonl", lambda data: data.replace(b'"place"', b'"\xff\xfe"')),
        ("choose/receipt.jsonl", lambda data: data.replace(b'"place"', b'"plaice"')),
        ("embed/vectors.npy", lambda data: data.replace(b"(", b"'", 1)),
    ],
)
def test_explain_names_a_file_that_does_not_match_its_schema(table, tail, change):
    select(table)
    path = table.root / "data" / tail
    selected = {receipt["id"] for receipt in table.receipts()}
    rejected = next(i for i in table.records if i not in selected)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        for record_id in (min(selected), rejected):
            explain(table.root, record_id)
    assert caught.value.where.partition(".")[0].endswith(tail.partition(".")[0])


def test_explain_says_if_the_files_do_not_belong_together(table):
    select(table)
    rows = [{"id": list(table.records)[1], "reason": "near", "of_id": "f" * 16, "similarity": 0.9}]
    table.write("dedupe/dropped.parquet", rows, DEDUPE_DROPPED)
    with pytest.raises(DataError, match="do not belong together"):
        explain(table.root, list(table.records)[1])


def test_the_story_of_a_selected_record_names_its_quota_and_its_weight(table, capsys):
    cells = {"extra": json.dumps({"worth": 2})}
    table.write("ingest/pool.parquet", [row | cells for row in table.records.values()], POOL)
    table.run()
    table.choose(quotas={"source": "as_pool"}, weight_column="worth")
    seal(table)
    story = explain(table.root, table.receipts()[0]["id"])
    assert story["receipt"]["counts_for"] == {"source": "pool.jsonl"}
    show_audit.story(story)
    said = capsys.readouterr().out
    assert "it counts for the quota of source pool.jsonl" in said
    assert "covering it is worth 2 (weight column and targets)" in said
    assert verify(table.root).differences == []
