"""The HTML report, read by a parser: escaping, structure, completeness, standing alone."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from attnaudit.api import Audit
from attnaudit.audits.judgement import decides
from attnaudit.errors import RunError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.pictures import Figure
from attnaudit.findings.wording import typeset
from attnaudit.report.evidence import BARS, evidence_rows
from attnaudit.report.files import write_text
from attnaudit.report.page import render_html
from tests.report_fixture import (
    CLASSES,
    DATA_NAME,
    MODEL_NAME,
    bare,
    enlarged,
    hostile_result,
    void,
    with_verdict,
)

VOID_TAGS = {"meta", "br", "link", "img", "input", "hr", "source", "base", "embed"}
FOREIGN = ("//", "http:", "https:", "ftp:", "data:", "javascript:", "file:")


class Page(HTMLParser):
    """A page as a browser's parser would see it: tags, texts, scripts."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.headings: list[tuple[int, str]] = []
        self.rows = 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attrs, code = self.scripts[-1]
            self.scripts[-1] = (attrs, code + data)
        elif not self.open or self.open[-1] != "style":
            self.texts.append(data)
            if any(re.fullmatch("h[1-6]", tag) for tag in self.open):
                level, text = self.headings[-1]
                self.headings[-1] = (level, text + data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def source() -> str:
    return render_html(hostile_result())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_every_element_is_closed_where_it_belongs(page: Page) -> None:
    assert page.open == []
    assert page.all("html")[0]["lang"] == "en"


def test_texts_of_data_and_model_are_shown_and_never_run(page: Page) -> None:
    for text in (
        DATA_NAME,
        MODEL_NAME,
        *CLASSES,
        "<script>",
        "alert('unit')",
        '"><img',
        "&amp;",
        "te<s>t",
        "note with <i>markup</i>",
        '"><b>0',
    ):
        assert re.sub(r"\s+", " ", text) in page.text
    drawn = {tag for tag, _ in page.tags}
    assert not drawn & {"img", "b", "s", "i", "iframe", "object", "embed", "link", "base", "form"}
    running = [attrs for attrs, _ in page.scripts if attrs.get("type") != "application/json"]
    assert running == [{}, {}]
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]


def test_nothing_is_loaded_from_anywhere(page: Page, source: str) -> None:
    for _, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attrs.get(name)
            assert value is None or value.startswith("#")
    style = "".join(re.findall(r"<style>(.*?)</style>", source, flags=re.DOTALL))
    assert "@import" not in style
    assert "url(" not in style
    for attrs, code in page.scripts:
        if attrs.get("type") == "application/json":
            assert not any(f'"{start}' in code for start in FOREIGN)


def test_the_policy_allows_exactly_the_scripts_of_the_file(page: Page) -> None:
    policy = next(
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    running = [code for attrs, code in page.scripts if not attrs]
    hashes = [base64.b64encode(hashlib.sha256(c.encode()).digest()).decode() for c in running]
    assert allowed == hashes
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_the_drawing_library_comes_with_its_licence(source: str) -> None:
    assert "University of Washington Interactive Data Lab" in source
    assert "Redistributions in binary form must reproduce" in source


def test_headings_step_down_one_at_a_time(page: Page) -> None:
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text.strip() for _, text in page.headings)


def test_ids_are_unique_and_references_point_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = [a["href"] for a in page.all("a")]
    wanted += [
        f"#{attrs['aria-labelledby']}" for _, attrs in page.tags if "aria-labelledby" in attrs
    ]
    wanted += [f"#{attrs['data-chart']}" for _, attrs in page.tags if "data-chart" in attrs]
    assert wanted
    assert {str(w)[1:] for w in wanted} <= set(map(str, ids))


def test_every_finding_and_caution_is_shown(page: Page) -> None:
    report = hostile_result().report
    for finding in (report.performance, *report.findings):
        assert typeset(finding.sentence) in page.text
        assert str(finding.verdict) in page.text
        for note in finding.notes:
            assert typeset(note) in page.text
    for caution in report.judgement.cautions:
        said = [f.sentence for f in report.findings if caution.endswith(f.sentence)]
        assert typeset(said[0] if said else caution) in page.text
    assert report.judgement.headline in page.text
    assert typeset(report.judgement.advice) in page.text


def test_every_estimate_is_a_row_with_value_interval_size_and_null(source: str) -> None:
    report = hostile_result().report
    checks = {f.check for f in (report.performance, *report.findings)}
    for check in checks:
        mine = [f for f in (report.performance, *report.findings) if f.check == check]
        different = {e.model_dump_json() for f in mine for e in f.estimates}
        article = re.search(f'id="check-{check}".*?</article>', source, flags=re.DOTALL)
        assert article is not None
        table = re.search(r'class="estimates".*?</table>', article[0], flags=re.DOTALL)
        rows = [] if table is None else re.findall(r"<tr><th scope=\"row\".*?</tr>", table[0])
        assert len(rows) == len(different)
        assert all(row.count('class="num"') == 5 for row in rows)


def test_evidence_shows_number_interval_size_and_null(source: str) -> None:
    table = re.search(r'<table class="evidence".*?</table>', source, flags=re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table[0], flags=re.DOTALL)[1:]
    expected = evidence_rows(hostile_result().report)
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        cells = re.findall(r'class="num">(.*?)</td>', row)
        assert (f"needs {wanted.needs}" in html.unescape(row)) == bool(wanted.needs)
        # the narrow layout shows no header: every number brings its name
        assert row.count("data-label=") == len(cells)
        assert [html.unescape(c) for c in cells] == [
            wanted.value,
            wanted.interval,
            wanted.n,
            wanted.null,
        ]
        assert re.sub("<.*?>", "", row).count(str(wanted.verdict)) >= 1


def test_every_decided_check_says_what_it_needs() -> None:
    needs = {r.check: r.needs for r in evidence_rows(hostile_result().report) if not r.calibration}
    bars = {name: bar.value for name, bar in BARS.items()}
    own = next(f for f in hostile_result().report.findings if f.check == "agreement")
    in_force = next(e.value for e in own.estimates if e.statistic == "agreement_bar")
    mutual = next(
        e.value
        for e in own.estimates
        if (e.statistic, e.subject, e.group) == ("kendall_tau", "gradient~leave_one_out", "all")
    )
    assert mutual is not None
    assert in_force == min(bars["agreement_tau"], mutual)
    wanted = {
        "performance": f"at least {bars['skill']:g}",
        "agreement": f"at least {in_force:.2f}"
        if in_force < bars["agreement_tau"]
        else f"at least {bars['agreement_tau']:g}",
        "permutation": f"at least {bars['permutation_moved']:g}",
        "adversary": "below 50%",
        "erasure": f"above chance, and less than {bars['erasure_margin']:g} below the best",
        "ground_truth": f"at least {bars['truth_auroc']:g}",
    }
    assert {name: needs[name] for name in wanted} == wanted
    assert set(needs) == {f.check for f in hostile_result().report.findings} | {"performance"}


def test_checks_that_decide_stand_apart_from_those_that_caution(source: str) -> None:
    because = re.search(r'<div class="because">.*?</div>', source, flags=re.DOTALL)
    assert because is not None
    decide, caution = because[0].split("Checks that only caution")
    reasons = hostile_result().report.judgement.reasons
    for decisive, shown in ((True, decide), (False, caution)):
        names = [r.check for r in reasons if decides(r.check, reasons) is decisive]
        assert re.findall(r"#check-(\w+)", shown) == names
        assert names


def test_what_speaks_against_is_said_to_readers_and_not_written_into_the_text(
    source: str,
) -> None:
    units = re.findall(r'<span class="u neg[^"]*"[^>]*title="([^"]*)">([^<]*)</span>', source)
    assert units
    for title, text in units:
        assert ", against the prediction" in title
        assert not text.startswith("−")
    style = "".join(re.findall(r"<style>(.*?)</style>", source, flags=re.DOTALL))
    assert 'content: "−"' not in style


def test_thresholds_stand_with_their_sources(page: Page) -> None:
    for name in (
        "agreement_tau",
        "permutation_moved",
        "adversary_share",
        "erasure_margin",
        "skill",
        "least_instances",
    ):
        assert BARS[name].source.replace("`", "") in page.text


def test_a_changed_threshold_is_marked() -> None:
    result = bare(hostile_result())
    findings = tuple(
        f.model_copy(update={"thresholds": {**f.thresholds, "permutation_moved": 0.25}})
        if f.check == "permutation"
        else f
        for f in result.report.findings
    )
    changed = replace(result, report=result.report.model_copy(update={"findings": findings}))
    assert "changed from 0.1" in Page(render_html(changed)).text
    assert "changed from 0.1" not in Page(render_html(result)).text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdict_words_are_those_of_the_schema(verdict: Verdict) -> None:
    source = render_html(with_verdict(bare(hostile_result()), verdict))
    assert f"</svg><span>{verdict.value}</span>" in source
    assert source.count("<h1") == 1


def test_a_void_check_says_what_it_would_have_said() -> None:
    result = void(bare(hostile_result()))
    text = Page(render_html(result)).text
    own = next(f for f in result.report.findings if f.check == "agreement")
    assert "but must not: the check is void" in text
    if own.verdict is not Verdict.INCONCLUSIVE:
        assert f"{own.verdict} by its rule, but void" in text


def test_without_truth_the_check_is_shown_as_not_applicable() -> None:
    page = Page(render_html(bare(hostile_result(truth=False))))
    assert "Not applicable: the data does not say which units are evidence." in page.text


def test_an_audit_of_one_check_without_instances_still_gives_a_report() -> None:
    result = bare(hostile_result())
    only = tuple(f for f in result.report.findings if f.check == "permutation")
    report = result.report.model_copy(update={"findings": only})
    page = Page(render_html(replace(result, report=report)))
    assert not page.all("figure")
    assert [attrs for attrs, _ in page.scripts] == [{}]
    assert "Permuted weights" in page.text


def test_missing_columns_and_undefined_values_are_dashes_not_errors() -> None:
    result = hostile_result()
    columns = [
        "index",
        "id",
        "length",
        "label",
        "predicted",
        "max_weight",
        "units",
        "truth",
        "probability.0",
        "probability.1",
        "scores.weights",
    ]
    frame = result.instances.select(columns).with_columns(
        pl.lit(None, dtype=pl.Int64).alias("label"),
        pl.col("scores.weights").list.eval(pl.lit(float("nan"))),
    )
    page = Page(render_html(replace(result, instances=frame)))
    assert "nan" not in page.text.lower().split()
    assert "wrongly" not in page.text


def test_the_file_stays_small_however_many_instances(source: str) -> None:
    large = render_html(enlarged(hostile_result(), 25_000))
    assert len(large.encode()) < 3_000_000
    assert abs(len(large) - len(source)) < 100_000


def test_the_same_run_gives_the_same_file_again(source: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert Audit.of(hostile_result()).to_html(path) == path
    assert path.read_text(encoding="utf-8") == source
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_charts_are_valid_json_with_counts_and_no_instances(page: Page) -> None:
    charts = [json.loads(code) for attrs, code in page.scripts if attrs]
    pictures = [b for blocks in hostile_result().pictures.values() for b in blocks]
    assert len(charts) == sum(isinstance(b, Figure) for b in pictures) > 5
    for spec in charts:
        assert "$schema" not in spec
        assert max(len(values) for values in spec["datasets"].values()) < 500


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(RunError, match="part of its path is a file"):
        write_text(tmp_path / "file" / "report.html", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="it is a folder"):
        write_text(tmp_path / "folder", "x")
    assert (tmp_path / "file").read_text() == "kept"
    assert not list(tmp_path.glob("*.part"))


def test_a_name_without_a_utf8_form_is_written_all_the_same(tmp_path: Path) -> None:
    result = hostile_result()
    model = result.report.plan.model.model_copy(update={"name": "m\udc80"})
    plan = result.report.plan.model_copy(update={"model": model})
    odd = replace(result, report=result.report.model_copy(update={"plan": plan}))
    path = Audit.of(odd).to_card(tmp_path / "card.md")
    assert "m�" in path.read_text(encoding="utf-8")
    assert write_text(tmp_path / "r.html", "m\udc80").read_bytes() == b"m?"


def test_a_notebook_gets_the_same_report_in_a_frame_of_its_own(source: str) -> None:
    frame = Page(Audit.of(hostile_result())._repr_html_())
    assert [tag for tag, _ in frame.tags] == ["iframe"]
    assert frame.all("iframe")[0]["srcdoc"] == source
