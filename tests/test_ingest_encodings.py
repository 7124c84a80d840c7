"""Texts that are not UTF-8: the encoding that the message suggests."""

import json

import pytest

from tasks.ingest.tally import Tally, check_drop_rate
from tasks.lib.core.errors import DataError
from tests.ingest_rows import results


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("Où est le café?", "utf-16", "UTF-16"),
        ("Où est le café?", "utf-16-le", "UTF-16LE"),
        ("Où est le café?", "utf-16-be", "UTF-16BE"),
        ("Où est le café?", "utf-32", "UTF-32"),
        ("Où est le café?", "cp1252", "CP1252"),
        ("Schöne Grüße", "latin-1", "CP1252"),
        ("Объясните, почему небо голубое.", "cp1251", "CP1251"),
        ("なぜ空は青く見えるのか説明してください。", "shift_jis", "CP932"),
        ("为什么天空在晴朗的日子里是蓝色的？", "gb18030", "GB18030"),
        ("为什么天空在晴朗的日子里是蓝色的？", "utf-16-le", "UTF-16LE"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_file_in_another_encoding_is_refused_with_a_guess(read_as, name, text, encoding, guess):
    content = f'{{"instruction": "{text}"}}\n' * 3
    with pytest.raises(DataError, match=rf"not UTF-8 but probably {guess}\n") as caught:
        read_as(name, content.encode(encoding))
    assert f"iconv -f {guess} " in caught.value.fix


def test_rows_in_another_encoding_are_refused_with_a_guess(tmp_path):
    rows = [{"instruction": "Schöne Grüße".encode("cp1252").decode("utf-8", "surrogateescape")}] * 3
    tally = Tally("line {}".format)
    for row in results(rows):
        tally.drop(row)
    with pytest.raises(DataError, match="iconv -f CP1252 -t UTF-8"):
        check_drop_rate(tally, 0.05, "pool.csv")


def test_a_guess_does_not_depend_on_where_the_head_ends(read_as):
    rows = "".join(
        f'{{"a": "{"x" * n}なぜ空は青く見えるのか説明してください。"}}\n' for n in range(1500)
    )
    with pytest.raises(DataError, match=r"probably CP932\n"):
        read_as("a.jsonl", rows.encode("shift_jis"))


def test_an_unknown_encoding_is_refused_without_a_guess(read_as):
    with pytest.raises(DataError, match=r"the text is not UTF-8\n") as caught:
        read_as("a.jsonl", bytes(range(128, 256)) * 4)
    assert "iconv -f ENCODING " in caught.value.fix


@pytest.mark.parametrize("shift", range(4))
def test_a_head_that_ends_inside_a_character_is_utf8(read_as, shift):
    row = {"a": "x" * shift + "😀" * 20_000}
    assert read_as("a.jsonl", json.dumps(row, ensure_ascii=False)) == [(1, row)]
