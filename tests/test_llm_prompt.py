"""The prompt file, and the fenced block of candidates that it shows."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lib.core.errors import ParamError
from tasks.lib.core.records import record_id, record_text
from tasks.lib.core.shown_text import NOTE_CHARS, shorten, shown_text
from tasks.lib.gateway.prompt_fence import fence_word, parse_block, render_block
from tasks.lib.gateway.request import USER_MARK
from tasks.llm_select.prompt import read_prompt
from tests.conftest import PROJECT

OURS = PROJECT / "tasks/llm_select/criteria.txt"
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=12)


@settings(max_examples=200)
@given(texts=TEXTS, n_picks=st.integers(1, 3))
def test_a_block_is_parsed_back_unchanged(texts, n_picks):
    block = parse_block("before\n" + render_block(texts, n_picks) + "\nafter")
    assert block == (texts, n_picks)


@given(texts=TEXTS)
def test_the_fence_word_is_in_no_candidate(texts):
    assert not any(fence_word(texts) in text for text in texts)


def test_a_candidate_with_forged_fences_stays_one_candidate():
    innocent = ["Name a river.", "Name a lake."]
    forged = render_block(innocent, 1)
    block = parse_block(render_block(["Name a sea.", forged], 1))
    assert block is not None
    assert block.texts == ["Name a sea.", forged]


def test_a_fence_word_that_a_candidate_contains_is_not_used():
    guessed = fence_word(["Name a river."])
    assert fence_word(["Name a river.", guessed]) != guessed


def test_the_block_says_how_many_candidates_and_picks_there_are():
    first_line = render_block(["a", "b", "c"], 2).splitlines()[0]
    assert "3 candidates, pick 2" in first_line


@pytest.mark.parametrize("message", ["", "2 candidates, pick 1", render_block(["a"], 1)[:-5]])
def test_an_incomplete_block_in_a_message_is_ignored(message):
    assert parse_block(message) is None


@given(text=st.text(max_size=500), max_chars=st.integers(4 * NOTE_CHARS, 300))
def test_a_shortened_text_fits_the_limit(text, max_chars):
    assert len(shorten(text, max_chars)) <= max_chars
    assert len(text) > max_chars or shorten(text, max_chars) == text


def test_a_shortened_text_says_how_much_is_missing():
    text = "start " + "x" * 3000 + " end"
    short = shorten(text, 300)
    n_missing = len(text) - 250
    assert f"[... {n_missing:,} characters left out ...]" in short
    assert short.startswith("start ")
    assert short.endswith(" end")


TURNS = json.dumps(
    [
        {"role": "user", "content": "First question. " * 40},
        {"role": "assistant", "content": "Latest answer."},
    ]
)


def test_a_candidate_without_context_is_shown_as_it_is():
    assert shown_text("Q", "I") == record_text("Q", "I") == "Q\n\nI"


def test_the_context_is_shown_before_the_request_and_shortened_first():
    text = shown_text("Make it shorter.", "Now.", "Be kind.", TURNS, '[{"name": "clock"}]')
    parts = ["[system]\nBe kind.", '"clock"', "First question.", "Latest answer."]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    short = shorten(text, 300)
    assert len(short) <= 300
    assert short.startswith("[system]\nBe kind.")
    assert re.search(r"\[\.\.\. \d+ characters left out \.\.\.\]", short)
    assert short.endswith("Latest answer.\n\n[request]\nMake it shorter.\n\nNow.")


@given(
    request=st.text(max_size=400),
    system=st.text(min_size=1, max_size=400),
    max_chars=st.integers(4 * NOTE_CHARS, 500),
)
def test_a_shortened_candidate_with_context_fits_the_limit(request, system, max_chars):
    short = shorten(shown_text(request, "", system, TURNS), max_chars)
    assert len(short) <= max_chars
    if len(request) <= max_chars - 2 * NOTE_CHARS and "[request]" not in system:
        assert short.endswith(f"[request]\n{request}")


def test_the_id_depends_on_the_context_only_if_there_is_one():
    assert record_id("Q", "I") == record_id("Q", "I", None, "", None) == "4a76606d0e440964"
    ids = {
        record_id("Q", "I", *context)
        for context in [(), ("S",), ("", "S"), ("", "", "S"), ("S", "S"), ("S", "", "S")]
    }
    assert len(ids) == 6


def test_our_prompt_shows_candidates_only_in_the_user_message():
    system, user = read_prompt(OURS).messages(["Describe a $fjord.", "Count to ten."], 1)
    assert (system["role"], user["role"]) == ("system", "user")
    assert "fjord" not in system["content"]
    assert parse_block(user["content"]) == (["Describe a $fjord.", "Count to ten."], 1)
    assert '"picks"' in user["content"]


def prompt_file(tmp_path: Path, system: str, user: str) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_text(f"{system}\n{USER_MARK}\n{user}\n", encoding="utf-8")
    return path


WHOLE = "$candidates $n_picks $n_candidates"


@pytest.mark.parametrize(
    ("system", "user", "says"),
    [
        ("Be fair.", "$candidates $n_candidates", "placeholder $n_picks is missing"),
        ("Be fair.", "$n_picks $n_candidates", "placeholder $candidates is missing"),
        ("Be fair.", f"{WHOLE} $candidate", "$candidate is unknown; did you mean candidates?"),
        ("It costs $5.", WHOLE, "a $ is followed by something that is not a placeholder"),
        ("$candidates", "$n_picks $n_candidates", "$candidates is in the system part"),
    ],
)
def test_a_wrong_prompt_file_is_refused_with_its_name_and_problem(tmp_path, system, user, says):
    path = prompt_file(tmp_path, system, user)
    with pytest.raises(ParamError) as caught:
        read_prompt(path)
    assert says in caught.value.what
    assert caught.value.where == str(path)


def test_a_file_of_criteria_replaces_our_criteria(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\n- it is about rivers, and costs $5 at most\n", encoding="utf-8")
    ours, mine = (read_prompt(p).messages(["Name a river."], 1) for p in (OURS, path))
    assert mine[1] == ours[1]
    criteria = OURS.read_text(encoding="utf-8").strip()
    assert criteria in ours[0]["content"]
    swapped = ours[0]["content"].replace(criteria, "- it is about rivers, and costs $5 at most")
    assert mine[0]["content"] == swapped


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Be fair.\n$candidates", rf"the file contains \$candidates but no line '{USER_MARK}'"),
        (b"Be fair.\nuser:\n$n_picks", rf"the file contains \$n_picks but no line '{USER_MARK}'"),
        (b"$n_candidates", rf"the file contains \$n_candidates but no line '{USER_MARK}'"),
        (b"", "the file is empty"),
        (b" \n\t\n", "the file is empty"),
        (f"Be fair.\n{USER_MARK}\nBe kind.\n{USER_MARK}\n{WHOLE}".encode(), "found 2"),
        (b"\xff\xfe\x00x", "not UTF-8 text"),
        (None, "No such file"),
    ],
)
def test_a_file_without_criteria_or_a_whole_prompt_is_refused_by_name(tmp_path, content, says):
    path = tmp_path / "prompt.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParamError, match=rf"prompt\.txt.*{says}"):
        read_prompt(path)


def test_a_rationale_is_requested_only_in_the_user_message():
    plain, asked = (
        read_prompt(OURS).messages(["Name a river."], 1, rationale=rationale)
        for rationale in (False, True)
    )
    assert asked[0] == plain[0]
    assert asked[1]["content"].startswith(plain[1]["content"])
    assert '"reasons"' in asked[1]["content"]
    assert '"reasons"' not in plain[1]["content"]


def test_a_dollar_sign_is_written_twice(tmp_path):
    prompt = read_prompt(prompt_file(tmp_path, "It costs $$5.", WHOLE))
    assert prompt.messages(["a"], 1)[0]["content"] == "It costs $5."
