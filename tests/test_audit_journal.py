"""`verify` follows a selection back to its journal, and names each changed or missing answer."""

import sqlite3
from contextlib import closing

import pytest

from tasks.audit.answers import used_answers
from tasks.audit.verify import verify
from tests.behaviours import fails, honest, late, says
from tests.fake_provider import FakeProvider
from tests.sealed_desk import blocked, difference_of, explained, seal, sees, select


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


@pytest.mark.slow
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


def keys_of_judgements(table):
    return {answer["key"] for judgement in table.judgements() for answer in judgement["answers"]}


@pytest.mark.slow
def test_an_answer_to_an_attention_check_is_checked_too(table):
    with FakeProvider() as provider:
        select(table, provider, attention_checks=2)
    keys = keys_of_judgements(table)
    others = f"key NOT IN ({', '.join('?' * len(keys))})"
    change(table, f"UPDATE answers SET prompt_tokens = prompt_tokens + 1 WHERE {others}", *keys)
    assert difference_of(table).file.endswith("journal.sqlite")
    assert "the answer to an attention check was changed" in difference_of(table).what
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    with FakeProvider() as provider:
        select(table, provider)
    journal = table.root / ".selectllm/journal.sqlite"
    change(table, "UPDATE answers SET key = 'x' || key")
    assert (
        difference_of(table).what
        == "the journal contains none of the 5 answers; it belongs to other selections"
    )
    journal.write_bytes(b"")
    assert "this is not a SelectLLM journal" in difference_of(table).what
    journal.unlink()
    assert difference_of(table).what == "the journal is missing"
    assert not journal.exists()


@pytest.mark.slow
def test_the_answers_of_the_offline_judge_are_proven_without_a_journal(table):
    select(table)
    journal = table.root / ".selectllm/journal.sqlite"
    journal.unlink()
    assert verify(table.root).differences == []
    assert not journal.exists()
    path = table.out("judgements.jsonl")
    path.write_text(path.read_text().replace('"prompt_tokens": ', '"prompt_tokens": 9', 1))
    seal(table)
    assert difference_of(table).file == "data/llm_select/judgements.jsonl"


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
