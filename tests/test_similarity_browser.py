"""The page of pairs in a browser: linked texts, nothing cut, read in every scheme, in print."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from attnaudit.report.files import write_text
from attnaudit.report.similarity import render_similarity
from tests.pair_tables import HOSTILE_A, HOSTILE_B, A, B, pieces_of, table_of
from tests.test_browser import CONTRASTS

pytestmark = pytest.mark.browser
SIZES = [(1280, 900), (390, 844)]
BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNFOLD = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
LONG = "A very long documentation of guitars, " * 12


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    tables = [
        table_of(reference=1.1, seed=3),
        table_of(HOSTILE_A, HOSTILE_B, residual=0.02),
        table_of(pieces_of(LONG, cut="w" * 300), "W" * 200, seed=4),
    ]
    path = tmp_path_factory.mktemp("similarity") / "many.html"
    return write_text(path, render_similarity(tables, [("Model", "</script><b>m")])).as_uri()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("one") / "one.html"
    return write_text(path, render_similarity([table_of()])).as_uri()


@pytest.fixture
def page(browser: Browser, one: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.goto(one)
    yield opened
    context.close()


def side(page: Page, name: str) -> Locator:
    return page.locator(f'.units[data-side="{name}"] .u')


def shades(units: Locator) -> list[float]:
    read = "(all) => all.map((u) => (u.classList.contains('neg') ? -1 : 1) * "
    found: list[float] = units.evaluate_all(read + "Number(u.style.getPropertyValue('--s')))")
    return found


def values(page: Page) -> tuple[list[list[float]], float]:
    data = json.loads(page.locator("script.values").first.text_content() or "")
    return data["values"], data["full"]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_can_be_read_and_asks_for_nothing(
    browser: Browser, many: str, width: int, height: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("request", lambda r: complaints.append(r.url) if r.url != many else None)
    page.on("dialog", lambda d: (complaints.append("dialog"), d.dismiss()))
    page.goto(many)
    assert page.evaluate(BEYOND) == 0
    page.evaluate(UNFOLD)
    assert page.evaluate(BEYOND) == 0
    side(page, "a").nth(4).hover()
    assert page.evaluate(BEYOND) == 0
    found = page.evaluate(CONTRASTS)
    assert found["seen"] > 600
    assert found["poor"] == []
    assert complaints == []
    context.close()


def test_pointing_at_a_word_shades_the_other_text_by_its_row_and_back(page: Page) -> None:
    table, full = values(page)
    usual = shades(side(page, "a")), shades(side(page, "b"))
    side(page, "a").nth(4).hover()
    row = [max(-1.0, min(1.0, value / full)) for value in table[4]]
    assert shades(side(page, "b")) == pytest.approx(row, abs=1e-3)
    assert shades(side(page, "a")) == usual[0]
    expect(side(page, "a").nth(4)).to_have_class("u at")
    page.mouse.move(2, 2)
    assert (shades(side(page, "a")), shades(side(page, "b"))) == usual
    expect(page.locator(".u.at")).to_have_count(0)
    side(page, "b").nth(3).hover()
    column = [max(-1.0, min(1.0, line[3] / full)) for line in table]
    assert shades(side(page, "a")) == pytest.approx(column, abs=1e-3)


def test_the_line_below_names_the_strongest_partners_with_their_values(page: Page) -> None:
    table, _ = values(page)
    line = page.locator(".linked")
    expect(line).to_contain_text("Point at a word")
    side(page, "a").nth(4).hover()
    expect(line).to_contain_text("“state-of-the-art” with")
    words = side(page, "b").all_text_contents()
    order = sorted(range(len(words)), key=lambda j: -abs(table[4][j]))[:5]
    found = [" ".join(t.split()) for t in line.locator(".with").all_text_contents()]
    assert found == [f"{words[j]} {table[4][j]:.4f}".replace("-0", "−0") for j in order]


def test_the_references_are_linked_as_well(page: Page) -> None:
    table, full = values(page)
    side(page, "a").last.hover()
    row = [max(-1.0, min(1.0, value / full)) for value in table[-1]]
    assert shades(side(page, "b")) == pytest.approx(row, abs=1e-3)


def test_arrow_keys_move_and_escape_ends(page: Page) -> None:
    usual = shades(side(page, "b"))
    side(page, "a").first.focus()
    page.keyboard.press("ArrowRight")
    expect(side(page, "a").nth(1)).to_have_class("u at")
    side(page, "b").nth(2).hover()
    page.mouse.move(2, 2)
    expect(side(page, "a").nth(1)).to_have_class("u at")  # the focus holds
    page.keyboard.press("Escape")
    assert shades(side(page, "b")) == usual
    expect(page.locator(".u.at")).to_have_count(0)
    assert page.locator('.units .u[tabindex="0"]').count() == 2


def test_a_cell_of_the_matrix_points_at_its_two_words(page: Page) -> None:
    page.locator('.matrix td[data-i="5"][data-j="3"]').hover()
    assert page.locator(".units .u.at").all_text_contents() == [
        side(page, "a").nth(5).text_content(),
        side(page, "b").nth(3).text_content(),
    ]
    page.mouse.move(2, 2)
    expect(page.locator(".at")).to_have_count(0)


def test_a_tap_links_on_a_phone_and_the_tip_stays_inside(browser: Browser, many: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(many)
    view = page.locator("#pair-3")
    units = view.locator('[data-side="a"] .u')
    units.nth(5).tap()
    expect(units.nth(5)).to_have_class("u at")
    for part in (page.locator("#tip"), view.locator(".linked")):
        expect(part).to_be_visible()
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844, "in sight of the word"
    context.close()


def test_a_word_at_the_bottom_of_the_screen_can_be_tapped(browser: Browser, one: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(one)
    unit = side(page, "a").nth(3)
    top = unit.evaluate("(u) => u.getBoundingClientRect().bottom + scrollY")
    page.set_viewport_size({"width": 390, "height": int(top) + 4})
    unit.tap()
    expect(unit).to_have_class("u at")
    expect(page.locator(".linked")).to_contain_text("“the” with")
    context.close()


def test_the_names_of_rows_stay_in_view(browser: Browser, one: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(one)
    region = page.locator(".scroll:has(.matrix)")
    assert region.evaluate("(e) => e.scrollWidth > e.clientWidth")
    region.evaluate("(e) => { e.scrollLeft = 300; }")
    box = page.locator(".matrix tbody th").nth(4).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    context.close()


def test_print_shows_all_of_it_on_white(browser: Browser, many: str) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 688, "height": 1000})
    page = context.new_page()
    page.goto(many)
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("details:not([open])")).to_have_count(0)
    assert page.locator(".matrix td").evaluate_all("(all) => all.every((e) => e.checkVisibility())")
    expect(page.locator(".linked").first).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRASTS)["poor"] == []
    assert page.evaluate(BEYOND) == 0, "no matrix is wider than the paper"
    context.close()


def test_without_scripts_words_are_shaded_and_named(browser: Browser, one: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(one)
    assert "in all" in str(side(page, "a").nth(2).get_attribute("title"))
    assert max(map(abs, shades(side(page, "a")))) == 1
    expect(page.locator(".linked")).to_be_hidden()
    assert A.split()[1] in (page.locator('[data-side="a"]').text_content() or "")
    assert B.split()[2] in (page.locator('[data-side="b"]').text_content() or "")
    context.close()
