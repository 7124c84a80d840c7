"""Report: one file that tells the run truly, whatever the pool's texts say."""

import json
import re
import shutil
from collections.abc import Iterator
from hashlib import md5
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tasks.core.errors import DataError, ParamError
from tasks.core.records import record_id
from tasks.core.schemas import (
    DEDUPE_DROPPED,
    INGEST_DROPPED,
    PICKS,
    POOL,
    PROMPTS,
    SELECTED,
    SELECTIONS,
    UNIQUE,
)
from tasks.core.stage import Stage
from tasks.core.tables import write_table
from tasks.pages.colours import colours
from tasks.pages.page import TEMPLATES
from tasks.pages.projection import project
from tasks.pages.words import fit, number, script_json
from tasks.report import check, work
from tests.browser import CHROMIUM, Page, browser
from tests.conftest import PROJECT

R = 7  # candidates of a prompt
EVIL = (
    '</script><img src=x onerror="document.title=\'pwned\'"><script>document.title="pwned"</script>'
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def figure(value: float, p: float | None, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "interval": [low, high], "p_random": p}


def metrics(ours: bool = True, curves: bool = True) -> dict[str, Any]:
    """Ours beats random by its likeness and not by its coverage; medoids have the best coverage."""

    def method(coverage: dict[str, Any], likeness: dict[str, Any]) -> dict[str, Any]:
        words = {"coverage_mean": coverage, "facility_location": likeness}
        cost = {"calls": 3, "usd": 0.5}
        return {"n_records": 6, "n_seeds": 1, "words": words, "vectors": words, "cost": cost}

    methods = {
        "llm_select": method(figure(1.2, 0.5, 1.1, 1.3), figure(0.5, 0.01, 0.4, 0.6)),
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
        **({"curves": {"sizes": [2, 4, 6], "methods": lines}} if curves else {}),
    }


def usage(n_selected: int, n_prompts: int) -> dict[str, Any]:
    slots = {
        "is_shuffled": True,
        "n_prompts": n_prompts,
        "observed": [n_prompts, *[0] * (R - 1)] if n_prompts else [],
        "expected": [n_prompts / R] * R if n_prompts else [],
        "slot_bias": 0.5 if n_prompts else None,
        "slot_bias_by_chance": 0.2 if n_prompts else None,
        "p_value": 0.0001 if n_prompts else None,
    }
    return {
        "route": "chatgpt",
        "fallback_routes": [],
        "model": "openai/some",
        "budget": 6,
        "selected": n_selected,
        "partial": None if n_selected >= 6 else "max_usd",
        "calls": n_prompts,
        "prompt_tokens": 1200,
        "completion_tokens": 34,
        "usd": 0.123,
        "n_unknown_usage": 0,
        "answers": {"chatgpt": n_prompts},
        "left_out": {},
        "methods": {"llm": n_selected, "rubric": 0, "fallback": 0},
        "set_aside": {},
        "slots": slots,
        "agreement": {"n_prompts": 0, "same_first": None, "by_chance": None, "kappa": None},
        "canaries": {"gibberish": {"shown": 3, "picked": 1, "by_chance": 0.5}},
        "rounds": [{"round": 1, "n_candidates": 42, "n_prompts": n_prompts, "n_picks": 6}],
    }


class World:
    """The files of a run on made-up records, of which the first `n_selected` prompts give one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dvc.yaml", "params.yaml"):
            shutil.copy(PROJECT / name, root / name)
        (root / ".selectllm").mkdir()

    def make(
        self,
        texts: list[str],
        n_selected: int = 6,
        reason: str = "It is the clearest.",
        detail: str = "cut off",
        document: dict[str, Any] | None = None,
    ) -> "World":
        pool = [self._record(text, i) for i, text in enumerate(texts)]
        ids = [record["id"] for record in pool]
        dropped = [{"line": 9, "reason": "not_json", "detail": detail}]
        unique = ids[:-1] if len(ids) > 1 else ids
        twins = [
            {"id": each, "reason": "near", "of_id": ids[0], "similarity": 0.9}
            for each in ids[len(unique) :]
        ]
        shown = [
            {"prompt": i // R + 1, "slot": i % R + 1, "id": each, "cluster": i // R + 1}
            for i, each in enumerate(unique)
        ]
        picks = [
            {**row, "round": 1, "rank": 1, "votes": 1, "method": "llm"}
            for row in shown
            if row["slot"] == 1
        ][:n_selected]
        loser = (
            {**shown[1], "round": 1, "rank": 2, "votes": 1, "method": "llm"} if shown[1:] else None
        )
        records = {record["id"]: record for record in pool}
        chosen = [
            {**records[p["id"]], **p, "route": "chatgpt", "model": "openai/some"} for p in picks
        ]
        self._table("ingest/pool", pool, POOL)
        self._table("ingest/dropped", dropped, INGEST_DROPPED)
        self._table("dedupe/unique", [{"id": each} for each in unique], UNIQUE)
        self._table("dedupe/dropped", twins, DEDUPE_DROPPED)
        self._table("cluster/prompts", shown, PROMPTS)
        self._table("llm_select/picks", [*picks, *filter(None, [loser])], PICKS)
        self._table("llm_select/selected", chosen, SELECTED)
        others = [
            {"method": "random", "seed": 0, "rank": 1 + i, "id": each}
            for i, each in enumerate(unique[:6])
        ]
        self._table("baseline/selections", others, SELECTIONS)
        lines = [
            {"id": p["id"], "round": 1, "reason": reason, "set_aside": {}, "model": "openai/some"}
            for p in picks
        ]
        self.file("llm_select/receipt.jsonl").write_text(
            "".join(json.dumps(x) + "\n" for x in lines)
        )
        n_prompts = len({row["prompt"] for row in picks})
        self._json("llm_select/usage.json", usage(len(picks), n_prompts))
        self._json("measure/metrics.json", document or metrics(ours=bool(picks)))
        counts = {"rows": len(ids) + 1, "excluded": 0, "faulty": 1, "repeated": 0, "pool": len(ids)}
        counts |= {"duplicates": len(twins), "unique": len(unique), "selected": len(picks)}
        unmet = {"table": "told", "expectation": "Judges are fair", "success": False}
        findings = [unmet | {"detail": detail, "is_warning": True}]
        self._json("validate/result.json", {"funnel": counts, "expectations": findings})
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(unique) // R + 1, 16))
        vectors = centres[np.arange(len(unique)) // R] + 0.2 * rng.normal(size=(len(unique), 16))
        self.file("embed/vectors.npy").parent.mkdir(exist_ok=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(self.file("embed/vectors.npy"), vectors.astype(np.float32))
        return self

    def file(self, tail: str) -> Path:
        path = self.root / "data" / tail
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def report(self) -> str:
        Stage("report", self.root).run(work)
        return self.page.read_text(encoding="utf-8")

    @property
    def page(self) -> Path:
        return self.root / "data" / "report" / "index.html"

    def _record(self, text: str, i: int) -> dict[str, Any]:
        given = {"instruction": text, "input": "", "output": None}
        return {"id": record_id(text, ""), **given, "source": f"toy.jsonl:{i}", "extra": "{}"}

    def _table(self, tail: str, rows: list[dict[str, Any]], schema: Any) -> None:
        write_table(self.file(f"{tail}.parquet"), rows, schema)

    def _json(self, tail: str, document: dict[str, Any]) -> None:
        self.file(tail).write_text(json.dumps(document))


def some(n: int = 43) -> list[str]:
    return [f"Name {i} bridges of the world, and say why." for i in range(n)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with a report in it, which no test changes."""
    made = World(tmp_path_factory.mktemp("told")).make(some())
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


def test_the_same_files_give_the_same_bytes(told: World, tmp_path: Path):
    assert World(tmp_path).make(some()).report() == told.page.read_text(encoding="utf-8")


def test_the_page_tells_funnel_bill_prompts_and_where_it_comes_from(told: World):
    page = Outline(told.page.read_text(encoding="utf-8"))
    for words in (
        *("6 of 42 unique records selected", "44 rows read", "− 1 faulty", "− 1 duplicates"),
        *("$0.1230", "The judge goes by the slot", "1 no JSON", "1 nearly the same as another"),
        *("pick 1 “ It is the clearest. ” picked by openai/some", "not selected in the end"),
        *("Judges are fair", "gibberish"),
    ):
        assert words in page.text, words
    for tail in ("ingest/pool.parquet", "llm_select/receipt.jsonl", "measure/metrics.json"):
        assert f"{tail} {md5(told.file(tail).read_bytes()).hexdigest()}" in page.text
    assert "report.n_prompts 4" in page.text


def test_best_and_not_better_than_random_are_marked_in_words(told: World):
    text = Outline(told.page.read_text(encoding="utf-8")).text
    first = text[text.index("In the space of words") : text.index("The same in the space of")]
    rows = {name: first[first.index(f" {name} ") :][:260] for name in ("medoids", "this selection")}
    assert "0.9000 best 0.8000 to 1.000 better than random 0.4000" in rows["medoids"]
    assert "1.200 1.100 to 1.300 not better than random 0.5000 best" in rows["this selection"]
    assert "in 1 of 2 measures" in text


def test_without_curves_their_section_is_left_out(world: World):
    page = world.make(some(), document=metrics(curves=False)).report()
    assert 'id="curves"' not in page
    assert "#curves" not in page.replace(TEMPLATES.joinpath("page.css").read_text(), "")


def test_no_text_can_become_markup_or_script(world: World):
    texts = [f"{EVIL} {i} {{{{ 7 * 7 }}}} <!--<script> ]]> & 'x'" for i in range(43)]
    page = world.make(texts, reason=EVIL, detail=EVIL).report()
    outline = Outline(page)
    assert not outline.of("img")
    assert not [a for _, a in outline.tags if any(name.startswith("on") for name in a)]
    kinds = [attributes.get("type") for attributes in outline.of("script")]
    assert kinds == ["application/json", "application/json", None, None, None]
    assert outline.text.count("{{ 7 * 7 }}") == 4 * R + 6 + 2  # prompts, list, duplicates
    data = re.search(r'<script type="application/json" id="atlas-data">(.*?)</script>', page)[1]
    assert sorted(json.loads(data)["texts"]) == sorted(texts[:-1])


def test_the_policy_lets_no_script_run_but_ours_and_nothing_be_fetched(told: World):
    metas = Outline(told.page.read_text(encoding="utf-8")).of("meta")
    policy = next(m["content"] for m in metas if m.get("http-equiv")) or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"('sha256-[^']+' ?){3}", rules["script-src"])


@pytest.mark.parametrize(("n_selected", "words"), [(0, "Nothing is selected yet"), (3, "a part")])
def test_a_selection_that_is_a_part_or_empty_is_called_so(world: World, n_selected, words):
    text = Outline(world.make(some(), n_selected).report()).text
    assert words in text
    assert f"{n_selected} of 6 records were selected" in text
    assert "llm_select.max_usd" in text


def test_one_record_is_told_and_so_is_an_empty_selection_of_it(world: World):
    for n_selected in (1, 0):
        text = Outline(world.make(["Name a bridge."], n_selected).report()).text
        assert f"{n_selected} of 1 unique records selected" in text


def test_a_selection_of_other_than_the_best_ranked_is_called_so(world: World):
    assert "A test of the ranking." not in world.make(some()).report()
    params = world.root / "params.yaml"
    values = YAML(typ="safe").load(params)
    values["llm_select"]["take"] = "middle"
    params.write_text(json.dumps(values))
    assert "the middle records of the judge's ranking" in Outline(world.report()).text


def test_how_to_reach_a_model_stays_out_of_the_page(world: World):
    params = world.root / "params.yaml"
    values = YAML(typ="safe").load(params)
    route = {"model": "openai/x", "api_base": "http://inside.example", "api_key": "os.environ/KEY"}
    values["models"]["offline"] = [route]
    params.write_text(json.dumps(values))
    page = world.make(some()).report()
    assert "openai/x" in page
    assert "inside.example" not in page
    assert "os.environ" not in page


@pytest.mark.parametrize(
    ("tail", "content", "where"),
    [
        ("llm_select/usage.json", "{", "usage.json"),
        ("measure/metrics.json", "[]", "metrics.json"),
        ("llm_select/receipt.jsonl", "{}\nno\n", "receipt.jsonl:2"),
    ],
)
def test_a_damaged_file_is_named_and_no_page_is_written(world: World, tail, content, where):
    world.make(some())
    world.file(tail).write_text(content)
    with pytest.raises(DataError, match=re.escape(where)):
        world.report()
    assert not world.page.exists()


def test_a_key_out_of_range_is_named():
    values = {"seed": 0, "report": {"max_points": 5, "n_prompts": 4, "n_examples": 3}}
    with pytest.raises(ParamError, match=r"report\.max_points"):
        check(values)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.integers(20, 300))
def test_a_shortened_text_fits_its_bytes_whatever_it_holds(text: str, most: int):
    short = fit(text, most)
    assert len(script_json(short).encode()) <= most
    assert short == text or text.startswith(short.removesuffix("…"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (60, "60"), (12345.6, "12,346"), (1.0, "1.000"), (2e-7, "0.0000")],
)
def test_a_figure_has_four_digits_and_no_exponent(value, text):
    assert number(value) == text


def test_alike_records_are_near_each_other_on_the_map():
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
def test_records_that_are_all_the_same_are_one_point(n):
    assert np.unique(project(np.full((n, 4), 0.5, np.float32)), axis=0).tolist() == [[0.5, 0.5]]


def test_clusters_in_other_directions_have_other_colours():
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    found = colours(corners, np.arange(4, dtype=np.int32))
    assert len(set(found.values())) == 4
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in found.values())


def test_tables_have_captions_and_headers_and_every_drawing_has_words(told: World):
    page = told.page.read_text(encoding="utf-8")
    outline = Outline(page)
    assert len(outline.of("table")) == len(outline.of("caption")) > 8
    assert all(attributes.get("scope") in ("col", "row") for attributes in outline.of("th"))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in outline.tags:
        named = (
            f"{attributes.get('aria-labelledby') or ''} {attributes.get('aria-describedby') or ''}"
        )
        assert set(named.split()) <= set(ids)
        if attributes.get("role") == "img":
            assert attributes.get("aria-label") or named.strip()
    assert {attributes["for"] for attributes in outline.of("label")} == {"compare", "measure"}
    assert [len(outline.of(tag)) for tag in ("main", "nav", "header", "footer", "h1")] == [1] * 5


def schemes() -> Iterator[tuple[str, dict[str, str]]]:
    """The colours of the light and of the dark page, by name."""
    css = (TEMPLATES / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for name, text in (("light", light), ("dark", dark)):
        yield name, dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", text))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_every_text_stands_out_from_its_ground_by_4_5_to_1():
    grounds = {
        "ink": ["page", "card", "soft", "good-soft", "bad-soft"],
        "muted": ["page", "card", "soft", "good-soft"],
        "accent": ["page", "card", "soft"],
        "good": ["card", "good-soft"],
        "bad": ["card", "bad-soft"],
        "card": ["accent", "good"],
    }
    for scheme, found in schemes():
        for text, behind in grounds.items():
            for ground in behind:
                low, high = sorted(luminance(found[name]) for name in (text, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, text, ground)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


VIEW = "[...Bokeh.index.roots].find((v) => v.model.renderers && PLACE.contains(v.el))"
MAP = VIEW.replace("PLACE", "document.getElementById('atlas')")
LINES = VIEW.replace("PLACE", "document.getElementById('lines')")
FIRST_POINT = f"""(() => {{
  document.getElementById("atlas").scrollIntoView({{block: "center", behavior: "instant"}});
  const view = {MAP};
  const {{glyph}} = view.renderer_views.get(view.model.renderers[1]);
  const box = view.canvas_view.el.getBoundingClientRect();
  return [box.left + glyph.sx[0], box.top + glyph.sy[0]];
}})()"""
TOOLTIP = """(() => {
  const deep = (node) => [...node.querySelectorAll("*")].flatMap(
    (each) => [each, ...(each.shadowRoot ? deep(each.shadowRoot) : [])]);
  return deep(document).find((each) => each.className === "tip")?.textContent ?? "";
})()"""
RECORD = "document.getElementById('record').textContent"


def text_of(place: int) -> str:
    """The selected record of that place, as a world of `some()` has it."""
    return some()[(place - 1) * R]


@needs_chromium
@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_opens_from_disk_without_a_fault_at_every_width(told, page, width, scheme):
    page.open(told.page, width, scheme=scheme)
    assert page.problems == []
    assert set(page.requests) == {told.page.as_uri()}
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    for place in ("atlas", "lines"):
        assert (
            page.run(f"document.getElementById('{place}').querySelector('div').clientHeight") > 250
        )


@needs_chromium
def test_pointing_at_a_record_shows_its_text(told: World, page: Page):
    page.open(told.page, 1000)
    page.move(*page.run(FIRST_POINT))
    page.wait(f"{RECORD}.includes('selected, place 1')")
    assert text_of(1) in page.run(RECORD)
    page.wait(f"{TOOLTIP} !== ''")
    assert text_of(1) in page.run(TOOLTIP)
    assert page.problems == []


@needs_chromium
def test_the_selected_records_are_read_one_by_one_with_the_keyboard(told: World, page: Page):
    page.open(told.page, 1000)
    page.run("document.getElementById('next').focus()")
    for place in (1, 2):
        page.press("Enter", 13)
        page.wait(f"{RECORD}.includes('selected, place {place} ')")
        assert text_of(place) in page.run(RECORD)
    page.run("document.getElementById('previous').focus()")
    page.press("Enter", 13)
    assert text_of(1) in page.run(RECORD)


@needs_chromium
def test_methods_are_switched_on_and_off(told: World, page: Page):
    page.open(told.page, 1000)
    lines = f"{LINES}.model.renderers.map((each) => each.visible)"
    assert page.run(lines) == [True] * 9
    page.run("document.querySelectorAll('#shown input')[1].click()")
    assert page.run(lines) == [True] * 3 + [False] * 3 + [True] * 3
    marked = f"{MAP}.model.renderers[2].data_source.get_array('x').length"
    assert page.run(marked) == 0
    page.run(
        "(({select}) => { select.value = '0'; select.dispatchEvent(new Event('change')); })"
        "({select: document.getElementById('compare')})"
    )
    assert page.run(marked) == 6
    assert page.problems == []


@needs_chromium
def test_the_drawings_turn_dark_with_the_page(told: World, page: Page):
    page.open(told.page, 1000)
    ground = f"{MAP}.model.background_fill_color"
    light, dark = (found["card"] for _, found in schemes())
    assert page.run(ground) == light
    page.show_as("dark")
    page.wait(f"{MAP}?.model.background_fill_color === '{dark}'")


@needs_chromium
def test_a_text_that_would_be_a_script_is_only_shown(world: World, page: Page):
    world.make([f"{i} {EVIL}" for i in range(43)], reason=EVIL, detail=EVIL).report()
    page.open(world.page, 1000)
    page.move(*page.run(FIRST_POINT))
    page.wait(f"{TOOLTIP} !== ''")
    assert page.run(f"{TOOLTIP}.includes('</script><img')")
    assert page.run(f"{RECORD}.includes('</script><img')")
    assert page.run("document.title").startswith("Selection report")
    assert page.run("document.images.length") == 0
    assert page.problems == []


@needs_chromium
def test_the_policy_stops_a_script_that_is_not_ours(told: World, tmp_path: Path, page: Page):
    text = told.page.read_text(encoding="utf-8")
    strange = tmp_path / "strange.html"
    strange.write_text(text.replace("</main>", "<script>document.title = 'pwned'</script></main>"))
    page.open(strange, 1000)
    assert page.run("document.title") != "pwned"
    assert any("Content Security Policy" in problem for problem in page.problems)
