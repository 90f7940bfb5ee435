"""Numbers and names as people read them."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.attribution import METHODS
from attnaudit.console import visible
from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import (
    STATISTICS,
    count,
    digits_for,
    duration,
    interval_of,
    null_of,
    number,
    shortened,
    spoken,
    subject,
    typeset,
    value_of,
)
from tests.report_fixture import hostile_result

FINITE = st.floats(-1e4, 1e4, allow_nan=False)


def read(text: str) -> float:
    return float(text.replace("−", "-").removesuffix("%"))


@settings(deadline=None)
@given(FINITE, st.integers(0, 4))
def test_numbers_are_rounded_and_never_minus_zero(value: float, digits: int) -> None:
    text = number(value, digits)
    assert math.isclose(read(text), value, abs_tol=0.5 * 10**-digits + 1e-9)
    assert not (text.startswith("−") and read(text) == 0)
    assert "-" not in text


@settings(deadline=None)
@given(FINITE)
def test_percent_is_a_hundred_times(value: float) -> None:
    assert math.isclose(read(number(value, 3, percent=True)), value * 100, abs_tol=0.05 + 1e-6)


@settings(deadline=None)
@given(st.floats(0, 0.9), st.floats(0.0005, 0.1))
def test_the_ends_of_an_interval_never_look_the_same(low: float, width: float) -> None:
    estimate = Estimate(statistic="x", subject="y", value=low, low=low, high=low + width, n=5)
    first, last = interval_of(estimate).split(" to ")
    assert first != last
    assert 2 <= digits_for(estimate) <= 4


def test_what_is_missing_is_a_dash() -> None:
    nothing = Estimate(statistic="x", subject="y", value=None, n=0)
    assert value_of(nothing) == interval_of(nothing) == null_of(nothing) == "–"
    assert spoken(nothing) == "undefined (n = 0)"
    assert number(float("nan")) == number(float("inf")) == "–"


def test_shares_are_written_in_percent_with_their_null() -> None:
    estimate = Estimate(
        statistic="contestable_share",
        subject="permutation",
        value=0.803,
        low=0.752,
        high=0.844,
        n=12_345,
        null=0.0,
    )
    assert spoken(estimate) == "80% (75 to 84%, n = 12,345)"
    assert null_of(estimate) == "0%"


def test_every_statistic_and_subject_of_a_real_audit_has_a_name() -> None:
    report = hostile_result().report
    for finding in (report.performance, *report.findings):
        for estimate in finding.estimates:
            assert estimate.statistic in STATISTICS
            assert "_" not in subject(estimate.subject)
            assert "~" not in subject(estimate.subject)


def test_every_method_has_a_name() -> None:
    assert {subject(name) for name in METHODS} >= {m.title for m in METHODS.values()} - {
        "random scores"
    }
    assert subject("something_new") == "something new"


@settings(deadline=None)
@given(st.text())
def test_nothing_that_steers_a_terminal_stays_visible(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert all(c.isprintable() or c == "\u00ad" or ord(c) > 127 for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x9b")


def test_sentences_are_typeset_without_changing_words() -> None:
    assert typeset("a leave-one-out of -0.05 (-0.10 to 0.00)") == (
        "a leave-one-out of −0.05 (−0.10 to 0.00)"
    )
    assert typeset("gain -0.000 and -0.001") == "gain 0.000 and −0.001"
    assert typeset("2019-05-01, x-1") == "2019-05-01, x-1"


@settings(deadline=None)
@given(st.text(), st.integers(3, 40))
def test_labels_fit(text: str, longest: int) -> None:
    short = shortened(text, longest)
    assert len(short) <= longest
    if len(text) <= longest:
        assert short == text
    else:
        assert len(short) == longest
        places = [place for place, character in enumerate(short) if character == "…"]
        # the beginning and the end of the text are left
        assert any(
            text.startswith(short[:place]) and text.endswith(short[place + 1 :]) and place
            for place in places
        )


def test_counts_and_durations() -> None:
    assert count(25_000) == "25,000"
    assert duration(59.96) == "60.0 s"
    assert duration(3600) == "1 h 0 min"
