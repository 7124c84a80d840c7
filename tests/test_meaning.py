"""Which differences between two texts change their meaning, and how they are listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.meaning import Errors, Pair, read_pairs
from tasks.lib.text.courtesy import without_courtesy
from tasks.lib.text.meaning import Meaning, changes
from tasks.lib.text.typography import comparable, normalise
from tasks.lib.text.typos import is_misspelling


def agree(first: str, second: str, inputs: tuple[str, str] = ("", "")) -> bool:
    a, b = (Meaning(*comparable(*record)) for record in zip((first, second), inputs, strict=True))
    assert a.agrees_with(b) is b.agrees_with(a)
    return a.agrees_with(b)


# --- hand-written pairs ---


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return read_pairs()


def test_there_are_300_pairs_in_ten_languages_and_in_code_half_of_which_differ(pairs):
    assert len(pairs) >= 300
    assert len({pair.language for pair in pairs} - {"code"}) >= 10
    assert sum(pair.same for pair in pairs) == pytest.approx(len(pairs) / 2, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "max_separate"), [("tuned", 0.02), ("held_out", 0.05), ("unseen", 0.25)]
)
def test_no_pair_that_differs_is_merged_and_few_others_are_kept_twice(pairs, group, max_separate):
    errors = Errors.of(pair for pair in pairs if pair.group == group)
    assert errors.merged == 0
    assert errors.separate <= max_separate * errors.n_same


# --- kinds of difference ---


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("explain what dogs can eat", "explain what dogs can't eat"),
        ("explain what dogs can eat", "explain what dogs cannot eat"),
        ("list the even numbers", "list all numbers"),
        ("few people came", "a few people came"),
        ("list the pros of it", "list the pros and cons of it"),
        ("write about the dog", "write about a dog"),
        ("2 and 3", "3 and 2"),
        ("who saw whom", "whom saw who"),
        ("sort it in C++", "sort it in C#"),
        ("is x <= 4", "is x < 4"),
        ("what is 45?", "what is -45?"),
        ("what is 10²?", "what is 102?"),
        ("what is 5!", "what is 5"),
        ("use a && b", "use a || b"),
        ("match colou?r", "match colou*r"),
        ("name the employer", "name the employee"),
        ("is it legal", "is it illegal"),
        ("sort ascending", "sort descending"),
        ("follow the trail", "follow the trial"),
        ("call max_len", "call min_len"),
        ("Read about Turkey in winter", "Read about turkey in winter"),
        ("Convert 'HELLO' to Morse code", "Convert 'hello' to Morse code"),
        ("Convert to small letters: HELLO", "convert to small letters: hello"),
        ("He left the house.", "He left the house?"),
        ("Let's eat, Grandma", "Let's eat Grandma"),
        ("法国的首都", "日本的首都"),
        ("列出3个原因", "列出3个例子"),
        ("请假的流程", "假的流程"),
        ("हिन्दी में लिखो", "तमिल में लिखो"),
        ("Berechne die Maße", "Berechne die Masse"),
        ("if a:\n  b()\n  c()", "if a:\n  b()\nc()"),
        ("What is log₂8?", "What is log28?"),
        ("Write 10₂ in words", "Write 102 in words"),
        ("What does ≤ mean here", "What does <= mean here"),
        ("How long are 5m of rope", "How long are 5M of rope"),
        ("Type the sign `≤ 4`", "Type the sign `<= 4`"),
        ("Il faut que la montre soit ici", "Il faut que la monter soit ici"),
        ("Write about the canoes", "Write about the canes"),
        ("Describe the filling of the tooth", "Describe the filing of the tooth"),
        ("Lee sobre el papá en Roma", "Lee sobre el papa en Roma"),
        ("Мой мёд и твой чёрный чай", "Мои мед и твой черный чай"),
    ],
)
def test_a_change_that_may_affect_the_meaning_is_a_difference(first, second):
    assert not agree(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        (
            "the difference between a moth and a butterfly",
            "the difference between moth and butterfly",
        ),
        ("the colour of marocco", "the color of morocco"),
        ("name soup, fish, and fruit", "name soup, fish and fruit"),
        ("explain state-of-the-art methods", "explain state of the art methods"),
        ("I don't know what it's for", "I do not know what it is for"),
        ("why doesnt it start", "why doesn't it start"),
        ("Could you please name it?", "Name it."),
        ("Name it. Thank you!", "Name it."),
        ("WELCHE STRASSE IST LANG?", "Welche Straße ist lang?"),
        ("What Is The Capital", "What is the capital"),
        ("¿Qué es esto?", "Qué es esto"),
        ("请解释。", "解释"),
        ("if a:\n    b()\nc()", "if a:\n  b()\n\nc()"),
        ("How far are 10km in the U.S.?", "How far are 10 km in the US?"),
        ("Draw x² ≤ 4 for CO₂", "Draw x^2 <= 4 for CO2"),
        ("Explain the travelling theatre in the town", "Explain the traveling theater in the town"),
        ("¿Cuál año es la época?", "¿Cual año es la epoca?"),
        ("Расскажи про чёрный мёд", "Расскажи про черный мед"),
        ("Wo ist die Straße in der Stadt", "Wo ist die Strasse in der Stadt"),
        ("اذكر ٣ أسباب", "اذكر 3 أسباب"),
    ],
)
def test_a_change_that_cannot_affect_the_meaning_is_not_a_difference(first, second):
    assert agree(first, second)


def test_in_an_input_everything_counts_except_the_full_stop_and_typography():
    assert agree("Correct it", "Correct it", ("He said “so”", 'He said  "so".'))
    for first, second in [
        ("We recieved it", "We received it"),
        ("the cat", "The cat"),
        ("the cat", "cat"),
        ("a, b and c", "a, b, and c"),
        ("Is it?", "Is it"),
    ]:
        assert not agree("Correct it", "Correct it", (first, second))


VOCABULARY = "a the The few Dogs dogs DOGS ' \" - , and 2 3 don't dont not . ? 猫 的 ein x_1"
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


@given(TEXTS, TEXTS)
def test_agreement_is_symmetric_and_every_text_agrees_with_itself(first, second):
    agree(first, second)
    assert agree(first, first)


# --- misspellings ---


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("goverment", "government", True),
        ("calcualtes", "calculates", True),
        ("organise", "organize", True),
        ("desert", "dessert", False),
        ("causal", "casual", False),
        ("amoral", "moral", False),
        ("teh", "the", False),
        ("zzorfmann", "zorfmann", True),
        ("zorfmann", "zorfmenn", False),
    ],
)
def test_a_misspelling_is_an_unknown_word_that_resembles_a_known_one(first, second, expected):
    words = ["what", "does", "the", "teacher", "say", "about", "it"]
    assert is_misspelling(first, second, words) is expected
    assert is_misspelling(second, first, words) is expected


def test_the_language_of_the_text_determines_the_dictionary():
    french = ["quel", "est", "le", "que", "sert", "on", "dans", "ce"]
    german = ["wie", "heißt", "das", "auf", "der", "karte", "für"]
    assert is_misspelling("kartofel", "kartoffel", german)
    russian = ["объясни", "что", "такое", "развитие", "интеллекта"]
    assert is_misspelling("искуственного", "искусственного", russian)
    assert is_misspelling("marocco", "morocco", ["the", "colour", "of"])
    assert not is_misspelling("poison", "poisson", french)


def test_in_a_language_without_a_dictionary_no_word_is_a_misspelling_of_another():
    norwegian = ["forklar", "hvorfor", "hunden", "gjør", "vondt", "om", "natten"]
    assert not is_misspelling("hunden", "handen", norwegian)
    finnish = ["kerro", "mistä", "voima", "syntyy", "ja", "mihin", "sitä", "käytetään"]
    assert not is_misspelling("tuulen", "tulen", finnish)  # of wind, of fire
    assert not is_misspelling("tuulen", "tulen", ["xyzzy", "plugh"])


# --- normalised texts ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\n", "a b"),
        ("List:\n* ab\n• cd", "List: - ab - cd"),
        ("List:\n1) ab\n2) cd", "List: 1. ab 2. cd"),
        ("5\n* 3\n* 2", "5 * 3 * 2"),
        ("a\n* bc", "a * bc"),
        ("« a » „b“ ‘c’", '"a" "b" \'c\''),
        ("1–2 — 3−4…", "1-2 - 3-4..."),
        ("soft\u00adware \ufeffof\u200b", "software of"),
        ("ﾊﾟｿｺﾝ Ａ１ oﬃce", "パソコン A1 office"),
        ("10² ½ Ⅳ ℝ HELLO", "10² ½ Ⅳ ℝ HELLO"),
        ("if x:\n    y()\n\n    z( 1 )\nend", "if x:\n\ty()\n\tz( 1 )\nend"),
        ("Colours:\n- red\n- blue", "Colours: - red - blue"),
    ],
)
def test_normalisation_changes_only_typography(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please, sort it", "sort it"),
        ("Sort it, please.", "Sort it"),
        ("Sort it, s'il vous plaît !", "Sort it, s'il vous plaît !"),
        ("説明してください。", "説明して"),
        ("How do you say please?", "How do you say please?"),
        ("Pleased to meet you", "Pleased to meet you"),
        ("怎么说谢谢", "怎么说谢谢"),
        ("Schreibe bitte einen Text", "Schreibe einen Text"),
        ("Übersetze bitte ins Englische", "Übersetze bitte ins Englische"),
        ("من فضلك، اكتب قصيدة", "اكتب قصيدة"),
    ],
)
def test_polite_words_are_removed_if_they_mean_nothing_else(text, expected):
    assert without_courtesy(text) == expected


def test_the_words_in_which_two_texts_differ_are_listed():
    assert changes("Sort it in C++ now.", "Sort it in C# now") == [("++", "#"), (".", "")]
    assert changes("法国的首都", "日本的首都") == [("法国", "日本")]
    assert changes("the cat", "the fat old cat") == [("", "fat old")]
    assert changes("same", "same") == []
