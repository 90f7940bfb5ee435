"""The report in a browser: it fits, draws, asks for nothing, and reads in every scheme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from attnaudit.findings.pictures import Figure
from attnaudit.report.files import write_text
from attnaudit.report.page import render_html
from tests.report_fixture import hostile_result

pytestmark = pytest.mark.browser

SIZES = [(1280, 900), (390, 844)]
SMALLEST = 340
FIGURES = sum(
    isinstance(block, Figure) for some in hostile_result().pictures.values() for block in some
)

# the contrast of every text with what lies behind it, as WCAG 2 defines it
CONTRASTS = """
() => {
  const read = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return { rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1 };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, rgb) => top.rgb.map((c, i) => c * top.alpha + rgb[i] * (1 - top.alpha));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(read(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((rgb, layer) => over(layer, rgb), [255, 255, 255]);
  };
  const poor = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *, figure svg text")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.matches("script")) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest("svg") ? style.fill : style.color;
    if (drawn === "none" || (element.closest("svg") && style.strokeWidth === "4px")) continue;
    const ground = behind(element);
    const colour = over(read(drawn), ground);
    const [a, b] = [light(colour), light(ground)].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24;
    seen += 1;
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) {
      poor.push(`${element.tagName}.${element.className} "${element.textContent.slice(0, 30)}"`);
    }
  }
  return { poor, seen };
}
"""

# texts of a picture that are cut by its edge or lie on one another
CLASHES = """
() => {
  const clashes = [];
  let seen = 0;
  for (const svg of document.querySelectorAll("figure svg.marks")) {
    if (!svg.checkVisibility()) continue;
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter(
      (t) => t.textContent.trim() && getComputedStyle(t).strokeWidth !== "4px" &&
        getComputedStyle(t).opacity !== "0");
    const boxes = texts.map((t) => ({ text: t.textContent, box: t.getBoundingClientRect() }));
    seen += boxes.length;
    for (const { text, box } of boxes) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1) clashes.push(`cut: ${text}`);
    }
    boxes.forEach((one, i) => boxes.slice(i + 1).forEach((two) => {
      const wide = Math.min(one.box.right, two.box.right) - Math.max(one.box.left, two.box.left);
      const high = Math.min(one.box.bottom, two.box.bottom) - Math.max(one.box.top, two.box.top);
      if (wide > 1 && high > 4) clashes.push(`${one.text} / ${two.text}`);
    }));
  }
  return { clashes, seen };
}
"""


FOLD = "(open) => document.querySelectorAll('details').forEach((one) => { one.open = open; })"
"""Unfolds everything, or folds it."""
FOLD_INNER = """() => document.querySelectorAll("details:not(.more)").forEach((one) => {
  one.open = false; })"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_text(path, render_html(hostile_result()))
    return path.as_uri()


@pytest.fixture(scope="module")
def pages(browser: Browser, report: str) -> Iterator[dict[tuple[int, str], Page]]:
    """The report at every width and in every scheme, with what it complained of and asked for."""
    opened: dict[tuple[int, str], Page] = {}
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                has_touch=width < 500,
            )
            page = context.new_page()
            complaints: list[str] = []
            page.on("console", lambda m, c=complaints: c.append(f"{m.type}: {m.text}"))
            page.on("pageerror", lambda e, c=complaints: c.append(str(e)))
            page.on("request", lambda r, c=complaints: c.append(r.url) if r.url != report else None)
            page.on("dialog", lambda d, c=complaints: (c.append("dialog"), d.dismiss()))
            page.goto(report)
            page.evaluate(FOLD, True)
            expect(page.locator("figure.drawn")).to_have_count(FIGURES)
            # inner parts are folded as a reader finds them when he has unfolded the check
            page.evaluate(FOLD_INNER)
            page.complaints = complaints  # type: ignore[attr-defined]
            opened[width, scheme] = page
    yield opened
    for page in opened.values():
        page.context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_and_asks_for_nothing(
    pages: dict[tuple[int, str], Page], width: int, scheme: str
) -> None:
    page = pages[width, scheme]
    assert page.complaints == []  # type: ignore[attr-defined]
    assert page.locator("figure .live svg").count() == FIGURES
    assert page.locator("figure .still").first.is_hidden()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_the_screen_folded_and_unfolded(
    pages: dict[tuple[int, str], Page], width: int
) -> None:
    page = pages[width, "light"]
    beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(beyond) == 0
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(beyond) == 0
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = false; })")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    pages: dict[tuple[int, str], Page], width: int, scheme: str
) -> None:
    pages[width, scheme].evaluate(FOLD, True)
    found = pages[width, scheme].evaluate(CONTRASTS)
    assert found["seen"] > 300
    assert found["poor"] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_of_a_picture_is_cut_or_overlaps(
    pages: dict[tuple[int, str], Page], width: int
) -> None:
    pages[width, "light"].evaluate(FOLD, True)
    found = pages[width, "light"].evaluate(CLASHES)
    assert found["seen"] > 110
    assert found["clashes"] == []


def test_no_text_of_a_picture_overlaps_on_the_smallest_screen_with_many_instances(
    browser: Browser, tmp_path: Path
) -> None:
    result = hostile_result()
    findings = tuple(
        f.model_copy(
            update={"estimates": tuple(e.model_copy(update={"n": 123_456}) for e in f.estimates)}
        )
        for f in result.report.findings
    )
    large = replace(result, report=result.report.model_copy(update={"findings": findings}))
    context = browser.new_context(viewport={"width": SMALLEST, "height": 800})
    page = context.new_page()
    page.goto(write_text(tmp_path / "large.html", render_html(large)).as_uri())
    page.evaluate(FOLD, True)
    expect(page.locator("figure.drawn")).to_have_count(FIGURES)
    found = page.evaluate(CLASHES)
    assert found["clashes"] == []
    assert page.evaluate("document.documentElement.scrollWidth") == SMALLEST
    context.close()


def test_it_fits_between_phone_and_desktop(browser: Browser, report: str) -> None:
    page = browser.new_page()
    page.goto(report)
    for width in (480, 601, 700, 780, 781, 900):
        page.set_viewport_size({"width": width, "height": 900})
        # charts are drawn anew after the window has its size
        page.wait_for_function("w => document.documentElement.scrollWidth === w", arg=width)
    page.close()


def test_every_number_of_the_evidence_is_in_view_with_its_name_on_a_phone(
    pages: dict[tuple[int, str], Page],
) -> None:
    page = pages[390, "light"]
    cells = page.locator(".evidence tbody .num")
    rows = page.locator(".evidence tbody tr")
    assert cells.count() == 4 * rows.count() > 30
    for index in range(cells.count()):
        box = cells.nth(index).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    name = "(cell) => getComputedStyle(cell, '::before').content"
    names = [cells.nth(i).evaluate(name) for i in range(4)]
    assert names == ['"Value"', '"95% interval"', '"n"', '"By chance"']
    # shown as cards, it is read out as a table all the same
    expect(page.get_by_role("table", name="Evidence")).to_have_count(1)
    assert page.get_by_role("table", name="Evidence").get_by_role("row").count() == (
        rows.count() + 1
    )


def test_what_speaks_against_is_marked_without_a_sign_in_the_text(
    pages: dict[tuple[int, str], Page],
) -> None:
    against = pages[1280, "light"].locator(".units .u.strong").first
    assert against.evaluate("(unit) => getComputedStyle(unit, '::before').content") == "none"
    assert against.evaluate("(unit) => getComputedStyle(unit).boxShadow") != "none"
    assert ", against the prediction" in str(against.get_attribute("aria-label"))


def test_pointing_and_arrow_keys_show_the_score(pages: dict[tuple[int, str], Page]) -> None:
    page = pages[1280, "light"]
    units = page.locator(".units").first.locator(".u")
    tip = page.locator("#tip")
    units.nth(1).hover()
    expect(tip).to_be_visible()
    assert tip.text_content() == units.nth(1).get_attribute("aria-label")
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()
    units.first.focus()
    page.keyboard.press("ArrowRight")
    assert units.nth(1).evaluate("(unit) => unit === document.activeElement")
    assert tip.text_content() == units.nth(1).get_attribute("aria-label")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    assert page.locator(".units").first.locator('.u[tabindex="0"]').count() == 1


def test_a_tap_shows_the_score_inside_the_screen(pages: dict[tuple[int, str], Page]) -> None:
    page = pages[390, "light"]
    last = page.locator(".units").nth(1).locator(".u").last
    last.tap()
    expect(page.locator("#tip")).to_be_visible()
    box = page.locator("#tip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390


def test_print_shows_everything_on_white(browser: Browser, report: str) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 760, "height": 1000})
    page = context.new_page()
    page.goto(report)
    page.evaluate(FOLD, True)
    expect(page.locator("figure.drawn")).to_have_count(FIGURES)
    page.evaluate(FOLD, False)
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("details:not([open])")).to_have_count(0)
    assert page.locator(".still .wide").evaluate_all(
        "(all) => all.every((e) => e.checkVisibility())"
    )
    assert page.locator(".live").evaluate_all("(all) => all.every((e) => !e.checkVisibility())")
    rows = page.locator(".estimates tbody tr")
    assert rows.evaluate_all("(all) => all.length > 50 && all.every((e) => e.checkVisibility())")
    for element in ("documentElement", "body"):
        ground = page.evaluate(f"getComputedStyle(document.{element}).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRASTS)["poor"] == []
    cut = "(all) => all.filter((e) => e.scrollHeight > e.clientHeight + 1).length"
    assert page.locator(".scroll").evaluate_all(cut) == 0
    page.emulate_media(media="screen")
    expect(page.locator("details[open]")).to_have_count(0)
    context.close()


def test_without_scripts_the_still_pictures_are_shown(browser: Browser, report: str) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.goto(report)
    stills = page.locator(".still .wide svg")
    assert stills.count() == FIGURES
    assert stills.first.is_hidden()
    # folding is the browser's own
    for summary in page.locator("details.more > summary").all():
        summary.click()
    assert stills.first.is_visible()
    assert page.locator(".live").first.is_hidden()
    assert page.locator(".units .u").first.get_attribute("title")
    context.close()
