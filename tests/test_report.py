"""The report: one file that shows the run truthfully, whatever the texts of the pool contain."""

import json
import re
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.lib.core.errors import DataError, ParamError
from tasks.lib.core.records import record_id
from tasks.report.colours import colours
from tasks.report.formatting import fit, number, script_json
from tasks.report.projection import project
from tasks.report.render import TEMPLATES
from tasks.report.step import check
from tests.reported_run import EVIL, Outline, R, World, bridges, metrics


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(reported: World, tmp_path: Path):
    assert World(tmp_path).make(bridges()).report() == reported.page.read_text(encoding="utf-8")


def test_the_page_shows_funnel_cost_prompts_and_provenance(reported: World):
    page = Outline(reported.page.read_text(encoding="utf-8"))
    for words in (
        *("6 of 42 unique records selected", "44 rows read", "− 1 faulty", "− 1 duplicates"),
        *(
            "0.1230 USD",
            "The judge prefers some slots",
            "1 not JSON",
            "1 nearly the same as another",
        ),
        "rank 1 “ It is the clearest. ” judged by openai/some , score 1.00; selected, number 1",
        "rank 2 judged by openai/some , score 0.50; not selected; most like number 1 of the",
        "Mean gain 1.00 6 6 0.10000 0.50 6 0 0.00 not on a shortlist 30 0",
        "1 this run 0.5000 0.2500 6",
        "2 kind qa 2 0 missed 30 6 kind qa 2 2 30",
        "5 annotated records covered the pool from the start. 4 records of the pool repeat",
        "It is nearer to them than 18 of 20 random selections of the same size, which may be",
        *("Judges are fair", "gibberish"),
        "7 clusters of equal size by k-means-constrained. Reason: 294 is quick.",
    ):
        assert words in page.text, words
    for tail in ("ingest/pool.parquet", "llm_select/judgements.jsonl", "measure/metrics.json"):
        assert f"{tail} {md5(reported.file(tail).read_bytes()).hexdigest()}" in page.text
    assert "report.n_prompts 4" in page.text


def test_best_and_not_better_than_random_are_marked_in_words(reported: World):
    text = Outline(reported.page.read_text(encoding="utf-8")).text
    first = text[text.index("In the space of words") : text.index("In the space of characters")]
    rows = {name: first[first.index(f" {name} ") :][:260] for name in ("medoids", "this selection")}
    assert "0.9000 best 0.8000 to 1.000 better than random 0.4000" in rows["medoids"]
    assert "1.200 1.100 to 1.300 not better than random 0.5000 best" in rows["this selection"]
    assert "in 2 of 4 metrics where it did not choose: in words and characters" in text


def test_the_header_says_what_was_saved_and_each_table_where_a_method_chose(reported: World):
    text = Outline(reported.page.read_text(encoding="utf-8")).text
    saved = (
        "6 selected cover the pool as well as 9 random ones (95 %: 8 to 11): 3 annotations saved"
    )
    assert saved in text[: text.index("Funnel")]
    legend, tables = text.split("chose in this space the method looked at", 1)
    assert "chose in this space" not in legend
    by_vectors = tables[tables.index("The same in the space of vectors") :]
    assert tables.count("chose in this space") == by_vectors.count("chose in this space") == 3


def test_near_duplicates_are_shown_with_the_words_in_which_they_differ(world: World):
    texts = [*bridges()[:-1], bridges()[0] + " <b>Not</b> now"]
    ids = [record_id(text, "") for text in texts]
    near = [{"id": ids[1], "of_id": ids[2], "similarity": 0.85}]
    page = world.make(texts, kept_near=near).report()
    text = Outline(page).text
    assert "dropped, similarity 90 %" in text
    assert "differs in < b > Not < /b > now" in re.sub(r"([<>])", r" \1 ", text).replace("  ", " ")
    assert "1 nearly the same as another record, but kept: dedupe.near is report" in text
    assert "kept too, similarity 85 %" in text


def test_the_section_of_curves_is_left_out_if_there_are_none(world: World):
    page = world.make(bridges(), document=metrics(curves=False)).report()
    assert 'id="curves"' not in page
    assert "#curves" not in page.replace(TEMPLATES.joinpath("page.css").read_text(), "")


def test_no_text_can_become_markup_or_script(world: World):
    texts = [f"{EVIL} {i} {{{{ 7 * 7 }}}} <!--<script> ]]> & 'x'" for i in range(43)]
    page = world.make(texts, reason=EVIL, detail=EVIL).report()
    outline = Outline(page)
    assert not outline.of("img")
    assert not [a for _, a in outline.tags if any(name.startswith("on") for name in a)]
    kinds = [attributes.get("type") for attributes in outline.of("script")]
    assert kinds == [*["application/json"] * 3, None, None, None]
    assert outline.text.count("{{ 7 * 7 }}") == 4 * R + 6 + 2  # prompts, list, duplicates
    data = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', page)[1]
    assert sorted(json.loads(data)["texts"]) == sorted(texts[:-1])


@pytest.mark.slow
def test_controls_and_bidi_marks_are_shown_as_escapes_and_names_are_isolated(world: World):
    acts = "a\u202eexe.txt\u2066b\u200bc\x1b[31md\x9be\ufeff"
    texts = [f"{acts} شكرا {i}" for i in range(43)]
    page = world.make(texts, reason=acts, detail=acts).report()
    body = page[page.index("<body") :]
    data = [json.loads(text) for text in re.findall(r'application/json"[^>]*>(.*?)</script>', body)]
    markup = re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)
    assert not {*"\u202e\u2066\u200b\x1b\x9b\ufeff"} & {
        *markup,
        *json.dumps(data, ensure_ascii=False),
    }
    assert "\\\\u202e" in json.dumps(data)
    assert "\\u202eexe.txt\\u2066b\\u200bc\\x1b[31md" in markup
    assert "<bdi>openai/some</bdi>" in markup
    assert "<bdi>pool.jsonl:9</bdi>" in markup


def test_the_policy_allows_only_our_scripts_and_fetches_nothing(reported: World):
    metas = Outline(reported.page.read_text(encoding="utf-8")).of("meta")
    policy = next(m["content"] for m in metas if m.get("http-equiv")) or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"('sha256-[^']+' ?){3}", rules["script-src"])


@pytest.mark.parametrize(
    ("n_selected", "words"), [(0, "Nothing has been selected yet"), (3, "is partial")]
)
def test_a_partial_or_empty_selection_is_labelled(world: World, n_selected, words):
    text = Outline(world.make(bridges(), n_selected).report()).text
    assert words in text
    assert f"{n_selected} of 6 records were selected" in text
    assert "llm_select.max_usd" in text


def test_a_pool_of_one_record_is_shown_with_and_without_a_selection(world: World):
    for n_selected in (1, 0):
        text = Outline(world.make(["Name a bridge."], n_selected).report()).text
        assert f"{n_selected} of 1 unique records selected" in text


@pytest.mark.slow
def test_a_selection_of_other_than_the_best_ranks_is_labelled(world: World):
    assert "A test of the ranking." not in world.make(bridges()).report()
    params = world.root / "params.yaml"
    values = YAML(typ="safe").load(params)
    values["llm_select"]["take"] = "middle"
    params.write_text(json.dumps(values))
    assert "The middle records of the judge's ranking" in Outline(world.report()).text


def test_addresses_and_keys_of_models_are_not_in_the_page(world: World):
    params = world.root / "params.yaml"
    values = YAML(typ="safe").load(params)
    route = {"model": "openai/x", "api_base": "http://inside.example", "api_key": "os.environ/KEY"}
    values["models"]["offline"] = [route]
    params.write_text(json.dumps(values))
    page = world.make(bridges()).report()
    assert "openai/x" in page
    assert "inside.example" not in page
    assert "os.environ" not in page


@pytest.mark.parametrize(
    ("tail", "content", "where"),
    [
        ("llm_select/usage.json", "{", "usage.json"),
        ("measure/metrics.json", "[]", "metrics.json"),
        ("llm_select/judgements.jsonl", "no\n", "judgements.jsonl:1"),
    ],
)
def test_a_damaged_file_is_named_and_no_page_is_written(world: World, tail, content, where):
    world.make(bridges())
    world.file(tail).write_text(content)
    with pytest.raises(DataError, match=re.escape(where)):
        world.report()
    assert not world.page.exists()


def test_a_key_out_of_range_is_named():
    values = {"seed": 0, "report": {"max_points": 5, "n_prompts": 4, "n_examples": 3}}
    with pytest.raises(ParamError, match=r"report\.max_points"):
        check(values)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.integers(20, 300))
def test_a_shortened_text_fits_its_bytes(text: str, most: int):
    short = fit(text, most)
    assert len(script_json(short).encode()) <= most
    assert short == text or text.startswith(short.removesuffix("…"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (60, "60"), (12345.6, "12,346"), (1.0, "1.000"), (2e-7, "0.0000")],
)
def test_a_figure_has_four_digits_and_no_exponent(value, text):
    assert number(value) == text


def test_similar_records_are_near_each_other_on_the_map():
    rng = np.random.default_rng(1)
    kinds = np.repeat([0, 1, 2], 20)
    vectors = (rng.normal(size=(3, 12))[kinds] + 0.1 * rng.normal(size=(60, 12))).astype(np.float32)
    points = project(vectors)
    assert np.array_equal(points, project(vectors))
    assert points.min() >= 0
    assert points.max() <= 1
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(60)
    assert (kinds[gaps.argmin(axis=1)] == kinds).all()


@pytest.mark.parametrize("n", [1, 2, 9, 30])
def test_equal_records_are_one_point(n):
    assert np.unique(project(np.full((n, 4), 0.5, np.float32)), axis=0).tolist() == [[0.5, 0.5]]


def test_clusters_in_different_directions_have_different_colours():
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    by_cluster = colours(corners, np.arange(4, dtype=np.int32))
    assert len(set(by_cluster.values())) == 4
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in by_cluster.values())
