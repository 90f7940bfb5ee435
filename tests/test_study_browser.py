"""The page of a study in a browser: it fits, draws, asks for nothing, and can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from attnaudit.report.files import write_text
from attnaudit.studies.jain2019 import JAIN2019
from attnaudit.studies.page import render_study
from attnaudit.studies.run import options_of, prepare, run_study
from tests.test_browser import CLASHES, CONTRASTS

pytestmark = pytest.mark.browser
BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = {
        "encoders": ("bilstm", "average"),
        "attentions": ("additive",),
        "train_limit": 200,
        "test_limit": 60,
        "epochs": 3,
        "hidden": 8,
        "embedding_dim": 16,
    }
    place = tmp_path_factory.mktemp("study")
    options = options_of(JAIN2019, given, quick=True)
    finished = run_study(prepare(JAIN2019, options, place, quick=True))
    return write_text(place / "report.html", render_study(finished))


@pytest.mark.parametrize("width", [1280, 390, 340])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_draws_and_can_be_read(
    browser: Browser, page_file: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: complaints.append(str(e)))
    page.on("request", lambda r: complaints.append(r.url) if r.url != page_file.as_uri() else None)
    page.goto(page_file.as_uri())
    figures = page_file.read_text().count("<figure data-chart=")
    expect(page.locator("figure.drawn")).to_have_count(figures)
    assert complaints == []
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(BEYOND) == 0
    found = page.evaluate(CONTRASTS)
    assert found["seen"] > 200
    assert found["poor"] == []
    clashes = page.evaluate(CLASHES)
    assert clashes["seen"] > 30
    assert clashes["clashes"] == []
    context.close()
