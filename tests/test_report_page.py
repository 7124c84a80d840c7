"""The report in Chromium, as people use it: by eye, by keyboard and by screen reader."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tasks.report.render import TEMPLATES
from tests.browser import CHROMIUM, Page, browser
from tests.reported_run import EVIL, Outline, R, World, bridges

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def test_tables_have_captions_and_headers_and_every_drawing_has_words(reported: World):
    page = reported.page.read_text(encoding="utf-8")
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
    assert {attributes["for"] for attributes in outline.of("label")} == {"compare", "metric"}
    assert [len(outline.of(tag)) for tag in ("main", "nav", "header", "footer", "h1")] == [1] * 5


def schemes() -> Iterator[tuple[str, dict[str, str]]]:
    """Return the colours of the light and the dark page, by name."""
    css = (TEMPLATES / "page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for name, text in (("light", light), ("dark", dark)):
        yield name, dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", text))


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_every_text_has_a_contrast_of_at_least_4_5_to_1():
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
MAP = VIEW.replace("PLACE", "document.getElementById('map-plot')")
LINES = VIEW.replace("PLACE", "document.getElementById('lines')")
FIRST_POINT = f"""(() => {{
  document.getElementById("map-plot").scrollIntoView({{block: "center", behavior: "instant"}});
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
    """Return the selected record at a place, in a world of `bridges()`."""
    return bridges()[(place - 1) * R]


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_opens_from_disk_without_errors_at_every_width(reported, page, width, scheme):
    page.open(reported.page, width, scheme=scheme)
    assert page.problems == []
    assert set(page.requests) == {reported.page.as_uri()}
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    for place in ("map-plot", "scores", "lines"):
        assert (
            page.run(f"document.getElementById('{place}').querySelector('div').clientHeight") > 250
        )


@pytest.mark.slow
@needs_chromium
def test_pointing_at_a_record_shows_its_text(reported: World, page: Page):
    page.open(reported.page, 1000)
    page.move(*page.run(FIRST_POINT))
    page.wait(f"{RECORD}.includes('selected, place 1')")
    assert text_of(1) in page.run(RECORD)
    page.wait(f"{TOOLTIP} !== ''")
    assert text_of(1) in page.run(TOOLTIP)
    assert page.problems == []


@pytest.mark.slow
@needs_chromium
def test_the_selected_records_are_read_one_by_one_with_the_keyboard(reported: World, page: Page):
    page.open(reported.page, 1000)
    page.run("document.getElementById('next').focus()")
    for place in (1, 2):
        page.press("Enter", 13)
        page.wait(f"{RECORD}.includes('selected, place {place} ')")
        assert text_of(place) in page.run(RECORD)
    page.run("document.getElementById('previous').focus()")
    page.press("Enter", 13)
    assert text_of(1) in page.run(RECORD)


@pytest.mark.slow
@needs_chromium
def test_methods_are_switched_on_and_off(reported: World, page: Page):
    page.open(reported.page, 1000)
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


@pytest.mark.slow
@needs_chromium
def test_the_plots_turn_dark_with_the_page(reported: World, page: Page):
    page.open(reported.page, 1000)
    ground = f"{MAP}.model.background_fill_color"
    light, dark = (found["card"] for _, found in schemes())
    assert page.run(ground) == light
    page.show_as("dark")
    page.wait(f"{MAP}?.model.background_fill_color === '{dark}'")


@pytest.mark.slow
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


@pytest.mark.slow
@needs_chromium
def test_the_policy_stops_a_script_that_is_not_ours(reported: World, tmp_path: Path, page: Page):
    text = reported.page.read_text(encoding="utf-8")
    strange = tmp_path / "strange.html"
    strange.write_text(text.replace("</main>", "<script>document.title = 'pwned'</script></main>"))
    page.open(strange, 1000)
    assert page.run("document.title") != "pwned"
    assert any("Content Security Policy" in problem for problem in page.problems)
