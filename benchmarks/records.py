"""Write a pool of any size with planted near-duplicates, and the truth about each of them.

    python benchmarks/records.py POOL.jsonl.gz 1000000 --truth TRUTH.csv

Record i depends only on the seed and i, so a million records need no memory, and a longer pool
starts with the shorter one. There are nine languages in six scripts. Templates are filled with
words, a few of them real and most made of random syllables; as in real texts, some words are far
more common than others. Most records are a question, a third have a passage, and one in two hundred
has a long document.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from io import TextIOWrapper
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from tasks.lib.text.shingles import field_texts, jaccard, shingles
from tasks.lib.text.typography import comparable

VOCABULARY = 4000  # words of a language
MAX_EDITS = 4
SYLLABIC = "zh", "ja"  # where a syllable may be a word
UNSPACED = ("th",)  # a phrase counts as one word, so only a number makes a decoy


class Language(NamedTuple):
    """The parts from which records of one language are made.

    Attributes:
        share: Share of the pool.
        gap: Separator of words.
        asks: Beginnings of an instruction.
        ends: Ends of an instruction; the first is the shortest.
        fillers: Polite words that can begin an instruction.
        nots: Words that change the meaning wherever they are inserted.
        syllables: Syllables of the made-up words.
    """

    share: float
    gap: str
    asks: list[str]
    ends: list[str]
    fillers: list[str]
    nots: list[str]
    syllables: list[str]


LANGUAGES = {
    name: Language(**parts)
    for name, parts in YAML(typ="safe").load(Path(__file__).with_name("languages.yaml")).items()
}


class Record(NamedTuple):
    """One row of the pool, and the truth about it.

    Attributes:
        kind: fresh, near (asks for the same thing as record `of`) or decoy (looks similar, but
            asks for something else).
        of: Number of the fresh record that it was made from; its own number if it is fresh.
        similarity: Jaccard similarity to record `of`, for the less similar of the two fields.
    """

    instruction: str
    input: str
    lang: str
    kind: str = "fresh"
    of: int = -1
    similarity: float = 1.0


class Plan(NamedTuple):
    """The shares of planted records in a pool, and the lowest similarity of near-duplicates."""

    seed: int = 0
    near: float = 0.1
    decoys: float = 0.02
    threshold: float = 0.8


def record(plan: Plan, number: int) -> Record:
    """Return the record at place `number`, from 0."""
    rng, kind = _start(plan, number)
    if kind == "fresh":
        return _fresh(rng)._replace(of=number)
    of = number
    while _start(plan, of)[1] != "fresh":
        of = rng.randrange(number)
    original = record(plan, of)
    made = _near(rng, original, plan.threshold) if kind == "near" else _decoy(rng, original)
    return made._replace(kind=kind, of=of)


def overlap(a: Record, b: Record) -> float:
    """Return the lower Jaccard similarity of the two fields, by the shingles of dedupe."""
    return min(map(jaccard, _pieces(a), _pieces(b)))


def _pieces(of: Record) -> list[NDArray[np.uint64]]:
    texts = field_texts([comparable(of.instruction, of.input)])
    return [np.unique(shingles([text]).hashes) for text in texts]


def _start(plan: Plan, number: int) -> tuple[Random, str]:
    """Return the random generator of one record and its kind; the first record is fresh."""
    rng = Random(plan.seed << 40 | number)
    draw = rng.random()
    planted = number > 0 and draw < plan.near + plan.decoys
    return rng, ("near" if draw < plan.near else "decoy") if planted else "fresh"


def _fresh(rng: Random) -> Record:
    lang = rng.choices(list(LANGUAGES), [language.share for language in LANGUAGES.values()])[0]
    language = LANGUAGES[lang]
    subject = language.gap.join(_words(rng, lang, rng.randint(3, 9)))
    if rng.random() < 0.2:
        subject += f" {rng.randint(2, 2100)}"
    ask, end = rng.choice(language.asks), rng.choice(language.ends)
    instruction = f"{ask}{language.gap}{subject}{end}"
    length = rng.random()
    n_sentences = 0 if length < 0.65 else rng.randint(2, 9) if length < 0.995 else 200
    sentences = [_sentence(rng, lang) for _ in range(n_sentences)]
    return Record(instruction, (language.gap or " ").join(sentences), lang)


def _sentence(rng: Random, lang: str) -> str:
    language = LANGUAGES[lang]
    words = _words(rng, lang, rng.randint(5, 16))
    if rng.random() < 0.1:
        words.append(f" {rng.randint(1, 2100)}")
    text = language.gap.join(words)
    return text[0].upper() + text[1:] + language.ends[0]


def _words(rng: Random, lang: str, n: int) -> list[str]:
    words, weights = _vocabulary(lang)
    return rng.choices(words, cum_weights=weights, k=n)


@cache
def _vocabulary(lang: str) -> tuple[list[str], list[float]]:
    """Return distinct words and their cumulative weights; word number r weighs 1 / (r + 20)."""
    rng, language = Random(lang), LANGUAGES[lang]
    n_syllables = (1, 3) if lang in SYLLABIC else (2, 4)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(rng.sample(language.syllables, rng.randint(*n_syllables)))] = None
    return list(words), list(accumulate(1 / (rank + 20) for rank in range(VOCABULARY)))


def _near(rng: Random, original: Record, threshold: float) -> Record:
    """Ask for the same thing in other capitals, politely, with typos or in other typography.

    The similarity does not fall below the threshold.
    """
    result = original._replace(instruction=original.instruction.upper(), similarity=1.0)
    edited = original
    edits = rng.sample((_slip, _slip, _retype, _ask_politely), rng.randint(0, MAX_EDITS))
    for edit in sorted(edits, key=lambda edit: edit is _ask_politely):  # last: no typo in "please"
        edited = edit(rng, edited)
        similarity = overlap(original, edited)
        if similarity < threshold:
            break
        if edited.instruction != original.instruction:
            result = edited._replace(similarity=similarity)
    return result


def _decoy(rng: Random, original: Record) -> Record:
    """Append another number, replace or remove a word, or insert a word such as "not"."""
    words = _split(original)
    places = [place for place, word in enumerate(words) if any(c.isalpha() for c in word)]
    edit = rng.choice((_append_number, _exchange, _leave_out, _insert))
    if original.lang in UNSPACED or len(places) < 2:
        edit = _append_number
    decoy = _joined(original, edit(rng, original.lang, words, places))
    return decoy._replace(similarity=overlap(original, decoy))


def _append_number(rng: Random, lang: str, words: list[str], places: list[int]) -> list[str]:
    return [*words, f"{'' if LANGUAGES[lang].gap else ' '}{rng.randint(10, 99)}"]


def _exchange(rng: Random, lang: str, words: list[str], places: list[int]) -> list[str]:
    place = rng.choice(places)
    other = words[place]
    while SequenceMatcher(None, other.casefold(), words[place].casefold()).ratio() > 0.4:
        other = _words(rng, lang, 1)[0]
    return [*words[:place], other, *words[place + 1 :]]


def _leave_out(rng: Random, lang: str, words: list[str], places: list[int]) -> list[str]:
    """Remove the last of the longest words; removing "a" or a polite word changes nothing."""
    place = max(reversed(places), key=lambda place: len(words[place]))
    return [*words[:place], *words[place + 1 :]]


def _insert(rng: Random, lang: str, words: list[str], places: list[int]) -> list[str]:
    place = rng.choice(places)
    return [*words[:place], rng.choice(LANGUAGES[lang].nots), *words[place:]]


def _ask_politely(rng: Random, before: Record) -> Record:
    language = LANGUAGES[before.lang]
    text = rng.choice(language.fillers) + language.gap + before.instruction
    return before._replace(instruction=text[0].upper() + text[1:])


def _retype(rng: Random, before: Record) -> Record:
    """Insert an invisible character, remove the mark at the end, or lower the first capital."""
    text = before.instruction
    place = rng.randrange(1, len(text))
    texts = [f"{text[:place]}\u200b{text[place:]}", text[0].lower() + text[1:]]
    if text[-1] in ".?。？।؟":
        texts.append(text[:-1])
    return before._replace(instruction=rng.choice(texts))


def _slip(rng: Random, before: Record) -> Record:
    """Double a letter of a long word, if there is one."""
    words = _split(before)
    long = [p for p, w in enumerate(words) if len(w) > 6 and w.isalpha()]
    if long:
        place = rng.choice(long)
        letter = rng.randrange(2, len(words[place]) - 2)
        words[place] = words[place][:letter] + words[place][letter - 1 :]
    return _joined(before, words)


def _split(of: Record) -> list[str]:
    """Return the words that edits may touch: those of the instruction."""
    return of.instruction.split(" ") if LANGUAGES[of.lang].gap else list(of.instruction)


def _joined(of: Record, words: list[str]) -> Record:
    return of._replace(instruction=LANGUAGES[of.lang].gap.join(words))


def write(path: Path, n: int, plan: Plan, truth: Path) -> None:
    """Write the pool as JSON lines, and one row of truth for each planted record."""
    with _opened(path) as pool, truth.open("w", encoding="utf-8", newline="") as csv_file:
        rows = csv.writer(csv_file)
        rows.writerow(("line", "kind", "of_line", "similarity"))
        for line, row in enumerate(_records(plan, n), 1):
            cells = {"instruction": row.instruction, "input": row.input, "lang": row.lang}
            pool.write(json.dumps(cells, ensure_ascii=False) + "\n")
            if row.kind != "fresh":
                rows.writerow((line, row.kind, row.of + 1, f"{row.similarity:.6f}"))


def _records(plan: Plan, n: int) -> Iterator[Record]:
    return (record(plan, number) for number in range(n))


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":  # without a time stamp, so that the bytes are always the same
        return TextIOWrapper(gzip.GzipFile(path, "wb", 3, mtime=0), encoding="utf-8")
    return path.open("w", encoding="utf-8")


def main() -> None:
    """Write the pool and its truth."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("pool", type=Path)
    arguments.add_argument("n", type=int)
    arguments.add_argument("--truth", type=Path, required=True)
    for name, default in Plan()._asdict().items():
        arguments.add_argument(f"--{name}", type=type(default), default=default)
    given = vars(arguments.parse_args())
    pool, n, truth = given.pop("pool"), given.pop("n"), given.pop("truth")
    write(pool, n, Plan(**given), truth)


if __name__ == "__main__":
    main()
