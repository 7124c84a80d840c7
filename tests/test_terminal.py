"""No text, name or message of others can act in a terminal, on a page or in Markdown."""

import json
import logging
import unicodedata
from types import SimpleNamespace

import pytest
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.cli import check_routes, console, diagnosis, show_audit, show_cost, show_preview
from flows.dvc.overrides import Change
from flows.dvc.plan import PlannedStage
from flows.tracking.markdown import plain, table
from tasks.audit.differences import Difference
from tasks.audit.verify import NotRebuilt, Proof
from tasks.estimate.route_readiness import RouteFinding
from tasks.lib.core.errors import ParamError, StageFailed
from tasks.lib.core.events import EventLog, Events, VisibleFormatter, read_events
from tasks.lib.core.format_text import visible, visible_json

COLOUR, LINK = "\x1b[31mred", "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07"
HIDDEN = "\rover\x9b2J\x00\x7f\u202etxt\u2066\u200b\ufeff\xad\u2028\U000e0041\u3164\udcff"
HOSTILE = f"{COLOUR}{LINK}{HIDDEN}[bold]loud[/bold][/][link=http://evil.example]:skull:"


def is_shown(char):
    return char == "\n" or unicodedata.category(char)[0] not in "CZ" or char == " "


def check_shown(text):
    """Check that every character is drawn, and that nothing of the text is lost."""
    assert {char for char in text if not is_shown(char)} == set()
    joined = "".join(text.split())
    assert "\\x1b[31mred" in joined
    assert "\\u202etxt" in joined
    assert "[bold]loud[/bold][/][link=http://evil.example]:skull:" in joined


def record(**more):
    names = ("id", "source", "shown", "text", "reason", "route", "model", "method", "key")
    return {**dict.fromkeys(names, HOSTILE), "extra": {HOSTILE: HOSTILE}, **more}


def receipt():
    numbers = {
        "place": 1,
        "score": 0.5,
        "gain": 0.1,
        "weight": 2.0,
        "counts_for": {HOSTILE: HOSTILE},
    }
    cost = {"usd": 0.1, "is_upper_bound": False, "prompt_tokens": 1, "completion_tokens": 1}
    return record(**numbers, answers=[record(**cost)])


def story():
    candidate = {
        "place": 1,
        "rank": 1,
        "score": 0.5,
        "slot": 1,
        "votes": 1,
        "id": "0",
        "text": HOSTILE,
    }
    similar = record(similarity=0.9, cosine=0.9, place=1)
    return {
        "id": "0" * 16,
        "fate": "selected",
        "record": record(),
        "receipt": receipt(),
        "duplicate_of": similar,
        "annotated_as": similar,
        "duplicates": [record(similarity=0.5)],
        "prompt": {"prompt": 1, "is_judged": True, "candidates": [candidate]},
        "covered_by": similar,
    }


def estimated():
    work = SimpleNamespace(calls=(1, 1), prompt_tokens=(1, 2), completion_tokens=(1, 1))
    cost = SimpleNamespace(
        route=HOSTILE, model=HOSTILE, usd=None, batch_usd=None, seconds=(1, 1), problem=HOSTILE
    )
    numbers = dict.fromkeys(("budget", "n_records", "n_prompts", "n_ranked", "votes"), 1)
    return SimpleNamespace(**numbers, work=work, costs=[cost], paper=work, paper_usd=None)


def exchange():
    call = SimpleNamespace(reply=HOSTILE, outcome=HOSTILE, message=HOSTILE)
    return SimpleNamespace(
        prompt=1,
        n_candidates=2,
        messages=[{"role": "system", "content": HOSTILE}, {"role": "user", "content": HOSTILE}],
        calls=[call],
        no_answer=HOSTILE,
        ranked={1: HOSTILE},
        dropped_params=[HOSTILE],
    )


def cell(text):
    made = Table(HOSTILE)
    made.add_row(text)
    return made


DROPPED = {"file": HOSTILE, "line": 1, "reason": HOSTILE, "detail": HOSTILE}
ERROR = ParamError(HOSTILE, where=HOSTILE, fix=HOSTILE)
DIAGNOSIS = diagnosis.Diagnosis(diagnosis.Status.WRONG, HOSTILE, HOSTILE)
PRINTED = {
    "an error": lambda: console.failed(ERROR),
    "an error of a step": lambda: console.failed(StageFailed.parse(str(ERROR))),
    "a change": lambda: console.out.print(Change(HOSTILE, HOSTILE, HOSTILE).key),
    "a diagnosis": lambda: diagnosis.show(DIAGNOSIS),
    "a plan": lambda: console.plan([PlannedStage(HOSTILE, "run", [HOSTILE])]),
    "a proof": lambda: show_audit.proof(
        Proof(
            [], 1, rebuilt=["choose"], not_rebuilt=[NotRebuilt(HOSTILE, HOSTILE)], rounded=[HOSTILE]
        )
    ),
    "a difference": lambda: show_audit.proof(Proof([Difference(HOSTILE, HOSTILE, HOSTILE)], 1)),
    "a story": lambda: show_audit.story(story()),
    "a dropped row": lambda: show_audit.story({"fate": "dropped", "dropped": DROPPED}),
    "an estimate": lambda: show_cost.estimate(estimated()),
    "a journal": lambda: show_cost.rows([{"model": HOSTILE}], ["model"]),
    "a preview": lambda: show_preview.PreviewView().exchange(exchange()),
    "a warning": lambda: check_routes.warn([RouteFinding(False, HOSTILE, HOSTILE, HOSTILE)]),
    "a text": lambda: console.out.print(Padding(Text(HOSTILE), 1)),
    "a table": lambda: console.err.print(cell(HOSTILE)),
    "a table of texts": lambda: console.err.print(cell(Text(HOSTILE))),
}


@pytest.mark.parametrize("name", PRINTED)
def test_no_text_acts_in_a_terminal(name, capsys, monkeypatch):
    for place in (console.out, console.err):
        monkeypatch.setattr(place, "_width", 2000)
    PRINTED[name]()
    printed = capsys.readouterr()
    check_shown(printed.out + printed.err)


def test_json_has_the_same_values_without_characters_that_act(capsys):
    console.as_json({HOSTILE: [HOSTILE]})
    printed = capsys.readouterr().out
    assert all(map(is_shown, printed))
    assert json.loads(printed) == {HOSTILE: [HOSTILE]}
    assert visible_json('"é\u202e"') == '"é\\u202e"'


def test_no_logged_text_acts(tmp_path, monkeypatch):
    monkeypatch.setenv("SELECTLLM_EVENTS", str(tmp_path / "events.jsonl"))
    entry = logging.LogRecord("x", logging.INFO, "", 1, "file %s", (HOSTILE,), None)
    check_shown(VisibleFormatter().format(entry))
    EventLog(Events("ingest")).emit(entry)
    (event,) = read_events(tmp_path / "events.jsonl").events
    check_shown(event.text)


def test_a_file_name_cannot_add_a_line_to_an_error():
    error = ParamError("it is empty", where="x\nproven: 60 records", fix="Add\nrows.")
    assert str(error) == "x\\nproven: 60 records: it is empty\n  Add\nrows."


@pytest.mark.parametrize(
    "text", ["می‌خواهم", "क्‍ष", "👩‍👩‍👧", "né à Zürich\u00a0!", "Tab\there\nline", "日本語", "🥨️"]
)
def test_ordinary_writing_is_unchanged(text):
    assert visible(text) == text


def test_a_joiner_between_letters_that_do_not_join_is_shown():
    assert visible("pay\u200dpal\r\n") == "pay\\u200dpal\n"


def test_no_text_acts_in_markdown():
    text = plain("![x](http://evil.example/i.png) <img src=y> | `z`" + HOSTILE)
    assert all(map(is_shown, text))
    assert "\\!\\[x\\](" in text
    assert "\\<img" in text
    assert table(["a"], [[text]]).count("\n") == 2
    assert " | `" not in table(["a"], [[text]]).splitlines()[2]
