"""Pictures: what they draw is what the table holds, and no instance is in the file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import altair as alt
import numpy as np
import pytest

from attnaudit.audits.result import SHOWN
from attnaudit.findings.findings import Estimate
from attnaudit.findings.pictures import (
    Distribution,
    Distributions,
    Figure,
    Guide,
    IntervalRow,
    Intervals,
    Series,
    histogram,
)
from attnaudit.report.charts import NARROW, WIDE
from attnaudit.report.curves import spec_of
from attnaudit.report.vega import javascript, static_svg
from tests.report_fixture import CLASSES, hostile_result, pictures_of


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    blocks = [b for some in hostile_result().pictures.values() for b in some]
    return {block.name: block for block in blocks if isinstance(block, Figure)}


def rows_of(spec: dict[str, Any], field: str) -> list[dict[str, Any]]:
    return [row for values in spec["datasets"].values() for row in values if field in row]


def points(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Each interval once: layers share one set of values."""
    return rows_of(spec, "interval")


def test_every_check_has_its_picture(figures: dict[str, Figure]) -> None:
    assert {"effect", "agreement", "permutation", "adversary"} <= set(figures)
    pictures = hostile_result().pictures
    drawn = {check for check, blocks in pictures.items() if blocks}
    assert drawn == {f.check for f in hostile_result().report.findings}
    for figure in figures.values():
        assert figure.title
        assert figure.caption
        assert figure.description


def test_histograms_hold_every_instance_once(figures: dict[str, Figure]) -> None:
    frame = hostile_result().instances
    columns = {
        "weights · gradient": "agreement/tau.weights~gradient",
        "random · leave-one-out": "agreement/tau.random~leave_one_out",
    }
    bars = rows_of(spec_of(figures["agreement"].chart), "from to")
    for row, column in columns.items():
        drawn = sum(int(bar["instances"]) for bar in bars if bar["row"] == row)
        assert drawn == frame[column].is_not_null().sum()
    moved = rows_of(spec_of(figures["permutation"].chart), "from to")
    whole = sum(int(bar["instances"]) for bar in moved if bar["row"] == "all instances")
    parts = sum(int(bar["instances"]) for bar in moved if bar["row"] != "all instances")
    assert whole == parts == frame["permutation/median_tvd"].is_not_null().sum()


def test_bars_match_numpy(figures: dict[str, Figure]) -> None:
    values = hostile_result().instances["adversary/permutation_jsd"].to_numpy()
    expected, _ = np.histogram(values, bins=35, range=(0, 0.7))
    bars = rows_of(spec_of(figures["adversary"].chart), "from to")
    drawn = [int(b["instances"]) for b in bars if b["row"] == "same weights, reordered"]
    assert drawn == [int(size) for size in expected if size]


def test_means_and_intervals_are_those_of_the_findings(figures: dict[str, Figure]) -> None:
    report = hostile_result().report
    numbers = {
        (e.value, e.value if e.low is None else e.low, e.value if e.high is None else e.high)
        for f in report.findings
        for e in f.estimates
    }
    for figure in figures.values():
        drawn = points(spec_of(figure.chart))
        assert drawn
        for point in drawn:
            assert (point["x"], point["low"], point["high"]) in numbers
    erased = points(spec_of(figures["comprehensiveness"].chart))
    known = [
        e
        for f in report.findings
        if f.subject == "weights"
        for e in f.estimates
        if e.statistic == "comprehensiveness"
    ]
    assert len(erased) == len(known)


def test_few_classes_are_told_apart_and_many_are_not(figures: dict[str, Figure]) -> None:
    rows = {bar["row"] for bar in rows_of(spec_of(figures["permutation"].chart), "from to")}
    assert len([row for row in rows if row.endswith(CLASSES[0])]) >= 2
    result = hostile_result()
    four = tuple("abcd")
    (figure,) = pictures_of("permutation", result.instances, result.report.findings, four)
    assert isinstance(figure, Figure)
    drawn = {bar["row"] for bar in rows_of(spec_of(figure.chart), "from to")}
    assert drawn == {row.split(",")[0] for row in rows}


def test_the_bar_of_agreement_is_the_one_in_force(figures: dict[str, Figure]) -> None:
    result = hostile_result()
    finding = next(f for f in result.report.findings if f.check == "agreement")
    for value, words in ((0.2345, "bar 0.23"), (0.5, "bar 0.50")):
        lowered = finding.model_copy(
            update={
                "estimates": tuple(
                    e.model_copy(update={"value": value}) if e.statistic == "agreement_bar" else e
                    for e in finding.estimates
                )
            }
        )
        (figure,) = pictures_of("agreement", result.instances, [lowered])
        assert isinstance(figure, Figure)
        labels = {
            row["label"]: row["x"]
            for row in rows_of(spec_of(figure.chart), "label")
            if "short" not in row
        }
        assert labels == {"unrelated 0": 0, words: value}
        assert ("less than the 0.5" in figure.caption) == (value < 0.5)


def test_no_line_crosses_the_words_of_a_row(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        names = [row["y"] for row in rows_of(spec_of(figure.chart), "short")]
        lines = [row for row in rows_of(spec_of(figure.chart), "y2") if "x2" not in row]
        assert lines
        for line in lines:
            low, high = sorted((line["y"], line["y2"]))
            assert not any(low < y < high for y in names)


def test_only_variables_of_the_page_colour_a_picture(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        svg = static_svg(spec_of(figure.chart), NARROW)
        colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg))
        assert colours
        assert all(c in ("none", "transparent") or c.startswith("var(--") for c in colours)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_still_pictures_are_well_formed_and_as_wide_as_asked(
    figures: dict[str, Figure], width: int
) -> None:
    for figure in figures.values():
        root = ElementTree.fromstring(static_svg(spec_of(figure.chart), width))
        assert abs(float(root.attrib["width"]) - width) <= 1
        texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
        assert all(texts)
        names = {
            row["short" if width == NARROW else "label"]
            for row in rows_of(spec_of(figure.chart), "short")
        }
        assert len(names) > 1
        assert names <= set(texts)


def test_specs_are_valid_vega_lite(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        alt.LayerChart.from_dict(spec_of(figure.chart)).to_dict()


def test_empty_and_single_rows_are_drawn() -> None:
    estimate = Estimate(statistic="t", subject="w", value=0.5, n=1)
    rows = (
        Distribution("none", histogram(np.array([np.nan]), (0, 1), 5), None),
        Distribution("one", histogram(np.ones(1), (0, 1), 5), estimate),
    )
    spec = spec_of(
        Distributions(rows=rows, domain=(0, 1), bins=5, axis="x", guides=(Guide(0.9, "bar"),))
    )
    assert sum(int(b["instances"]) for b in rows_of(spec, "from to")) == 1
    assert "one" in static_svg(spec, WIDE)
    spec = spec_of(
        Intervals(
            rows=(IntervalRow("a", (estimate, None)),),
            series=(Series("x", "red"), Series("y", "blue")),
            domain=(0, 1),
            axis="x",
            nulls=True,
        )
    )
    assert len(points(spec)) == 1
    assert static_svg(spec, WIDE).startswith("<svg")


def test_values_outside_the_domain_are_in_the_last_bin() -> None:
    counts = histogram(np.array([-3.0, 0.5, 7.0]), (0, 1), 4)
    spec = spec_of(
        Distributions(rows=(Distribution("x", counts, None),), domain=(0, 1), bins=4, axis="x")
    )
    assert [b["instances"] for b in rows_of(spec, "from to")] == ["1", "1", "1"]


def test_labels_of_data_are_escaped_in_still_pictures(figures: dict[str, Figure]) -> None:
    svg = static_svg(spec_of(figures["permutation"].chart), WIDE)
    assert "</script>" not in svg
    assert "&lt;" in svg


def test_the_library_is_one_piece_that_asks_for_nothing() -> None:
    code = javascript()
    assert "vegaEmbed" in code
    assert not re.search(r"\bimport\s*\(|\bimport\s+[\w{*]", code)
    assert "cdn." not in code


def test_the_frame_of_a_check_without_rows_gives_no_picture() -> None:
    result = hostile_result()
    frame = result.instances.drop("permutation/median_tvd")
    assert pictures_of("permutation", frame, result.report.findings) == []


def test_pictures_are_plain_data() -> None:
    pictures = hostile_result().pictures
    assert SHOWN.validate_json(SHOWN.dump_json(pictures)) == pictures
