"""Text is read in time that grows with its length, into the units of the plain patterns."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attnaudit.data.named import english as rules
from attnaudit.data.named.english import english
from attnaudit.data.texts.cleaning import CLEANERS
from attnaudit.data.texts.tokens import TOKENIZERS

MAIL = r"  | \w[\w.+-]*@\w[\w-]*(?:\.\w[\w-]*)+"
WEB, REST = rules._WORD.pattern.split("\n  | ", 1)
PLAIN = re.compile(f"{WEB}\n{MAIL}\n  | {REST}", rules._WORD.flags)
GAP = re.compile(r"\[\s*\*\s*\*.*?\*\s*\*\s*\]", re.DOTALL)
PIECES = [
    "a1.b-",
    "a@b.c",
    "@",
    ".",
    "-",
    "_",
    "+",
    " ",
    "www.",
    "don't",
    "U.S.",
    "x",
    "é",
    "[**",
    "**]",
    "*",
    "9",
]
HOSTILE = [
    "a1.b-",
    "_",
    " ",
    "!",
    "9",
    "9.",
    "\u0301",
    "a\u0301",
    "[",
    "[**",
    "[ * ",
    "* ",
    "a'",
    "a@",
    "a@b-",
    "x.y@b ",
    "www.",
    "n't",
    "-LRB-",
    "\u200d",
    "é_",
]


def plain(text):
    spans = []
    for match in PLAIN.finditer(text):
        start, end = match.span()
        cut = rules._FUSED.get(match[0].lower())
        spans += [(start, end)] if cut is None else [(start, start + cut), (start + cut, end)]
    return spans


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@example("-@b.c@d.e")
@example("a.b@c.d@e.f www.x@y.z")
def test_english_units_are_those_of_one_plain_pattern(text):
    assert english(text) == plain(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["[", "*", "]", " ", "a", "\n", "[**"]), max_size=16).map("".join))
def test_gaps_of_notes_are_those_of_one_plain_pattern(text):
    places, units = CLEANERS["notes"](text)
    found = [place for place, unit in zip(places, units, strict=True) if unit == "<DE>"]
    assert found == [match.span() for match in GAP.finditer(text)]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_runs_are_read_to_the_end(piece):
    # patterns that try again at every sign would take hours here
    text = piece * (60_000 // len(piece)) + " end"
    for read in TOKENIZERS.values():
        assert text[slice(*read(text)[-1])] == "end"
    for clean in CLEANERS.values():
        assert clean(text)[1][-1] == "end"
