"""Parts of speech: the right tag for each piece, sums that add up, intervals over texts."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from attnaudit.errors import DataError, MissingExtra, SettingsError
from attnaudit.measures.bootstrap import bootstrap_interval
from attnaudit.models.siamese.parts_of_speech import (
    SPECIAL,
    UNTAGGED,
    part_of_speech_table,
    spacy_tagger,
    tags_of,
)
from attnaudit.models.siamese.reading import REFERENCE
from attnaudit.models.siamese.words import by_words
from tests.pair_tables import A, B, pieces_of, table_of

TEXTS = [A, B, "Rice cooks slowly.", "Nobody likes cold soup", "A cat sat.", "No."]


@dataclass
class Word:
    """What the adapter reads of a spaCy token."""

    idx: int
    text: str
    pos_: str


def fake(text: str, tags: bool = True) -> list[Word]:
    """As a spaCy pipeline: words, punctuation and runs of spaces, with coarse tags."""
    return [
        Word(
            m.start(),
            m[0],
            ("PUNCT" if not m[0][0].isalnum() else "NOUN" if len(m[0]) > 4 else "VERB")
            if tags
            else "",
        )
        for m in re.finditer(r"\w+|[^\w\s]|\s{2,}|\n", text)
    ]


def many() -> list:  # type: ignore[type-arg]
    return [table_of(a, b, seed=i) for i, a in enumerate(TEXTS) for b in TEXTS[i + 1 :]]


def test_a_spacy_pipeline_gives_offsets_and_coarse_tags() -> None:
    tagged = list(spacy_tagger(fake)("Cats  play\nguitar"))
    assert tagged == [(0, 4, "VERB"), (6, 10, "VERB"), (11, 17, "NOUN")]
    assert list(spacy_tagger(fake)("  ")) == []
    with pytest.raises(SettingsError, match="gives no parts of speech"):
        list(spacy_tagger(lambda text: fake(text, tags=False))("a cat"))


def test_spacy_is_an_extra_and_its_pipelines_are_installed_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtra, match=r"\.\[pos\]"):
        spacy_tagger("en_core_web_sm")

    def load(name: str) -> object:
        if name != "en":
            raise OSError("[E050]")
        return fake

    module = ModuleType("spacy")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", module)
    assert list(spacy_tagger("en")("cat")) == [(0, 3, "VERB")]
    with pytest.raises(SettingsError, match="spacy download en_core_web_sm"):
        spacy_tagger("en_core_web_sm")


def test_a_piece_has_the_tag_of_the_word_it_shares_most_with() -> None:
    tokens = pieces_of("Don't stop", size=3)  # Don ' t sto p
    tagged = [(0, 2, "AUX"), (2, 5, "PART"), (6, 10, "VERB")]
    assert tags_of(tokens, tagged) == (SPECIAL, "AUX", "PART", "PART", "VERB", "VERB", SPECIAL)
    assert tags_of(tokens, tagged[:2])[-2] == UNTAGGED
    with pytest.raises(DataError, match="outside the text"):
        tags_of(tokens, [(6, 99, "VERB")])


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("words", [False, True])
def test_the_summary_is_that_of_a_plain_loop_and_adds_up(ordered: bool, words: bool) -> None:
    tables = [by_words(t) if words else t for t in many()]
    frame = part_of_speech_table(tables, spacy_tagger(fake), ordered=ordered, resamples=50)
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    sizes: dict[tuple[str, ...], float] = defaultdict(float)
    counts: Counter[tuple[str, ...]] = Counter()
    for table in tables:
        tags = [[*tags_of(t, spacy_tagger(fake)(t.text)), REFERENCE] for t in (table.a, table.b)]
        for i, one in enumerate(tags[0]):
            for j, other in enumerate(tags[1]):
                kind = (one, other) if ordered else tuple(sorted((one, other)))
                value = float(table.values[i, j])
                sums[kind] += value
                sizes[kind] += abs(value)
                counts[kind] += 1
    assert len(frame) == len(sums)
    for line in frame.iter_rows(named=True):
        kind = (line["tag_a"], line["tag_b"])
        assert line["sum"] == pytest.approx(sums[kind])
        assert line["count"] == counts[kind]
        assert line["mean"] == pytest.approx(sums[kind] / counts[kind])
        assert line["share"] == pytest.approx(sizes[kind] / sum(sizes.values()))
        assert line["share_of_total"] == pytest.approx(sums[kind] / sum(sums.values()))
    assert frame["sum"].sum() == pytest.approx(sum(t.total for t in tables))
    assert frame["share"].sum() == pytest.approx(1)
    assert frame["share"].is_sorted(descending=True)


def test_the_interval_of_a_mean_is_the_bootstrap_over_texts() -> None:
    # one entry of the kind in each table: the ratio of sums is then a plain mean
    tables = [table_of("go", "run", seed=i) for i in range(40)]
    frame = part_of_speech_table(tables, spacy_tagger(fake), seed=3)
    line = frame.filter((frame["tag_a"] == "VERB") & (frame["tag_b"] == "VERB")).row(0, named=True)
    values = np.array([float(t.values[1, 1]) for t in tables])
    plain = bootstrap_interval(values, seed=5)
    assert plain.low is not None
    assert plain.high is not None
    width = plain.high - plain.low
    assert line["mean"] == pytest.approx(plain.value)
    assert line["mean_low"] == pytest.approx(plain.low, abs=0.08 * width)
    assert line["mean_high"] == pytest.approx(plain.high, abs=0.08 * width)
    assert line["share_low"] < line["share"] < line["share_high"]


def test_the_summary_does_not_depend_on_the_order_of_texts() -> None:
    tables = many()
    one = part_of_speech_table(tables, spacy_tagger(fake), resamples=100)
    other = part_of_speech_table(tables[::-1], spacy_tagger(fake), resamples=100)
    assert one.equals(other)


def test_every_text_is_tagged_once() -> None:
    asked: Counter[str] = Counter()

    def counting(text: str) -> list[tuple[int, int, str]]:
        asked[text] += 1
        return list(spacy_tagger(fake)(text))

    part_of_speech_table(many(), counting, resamples=10)
    assert set(asked.values()) == {1}


def test_one_pair_has_no_interval_and_none_is_refused() -> None:
    frame = part_of_speech_table([table_of()], spacy_tagger(fake))
    assert frame["mean_low"].null_count() == len(frame)
    assert frame["mean"].null_count() == 0
    with pytest.raises(DataError, match="no table to summarise"):
        part_of_speech_table([], spacy_tagger(fake))
    with pytest.raises(SettingsError, match="between 0 and 1"):
        part_of_speech_table([table_of()], spacy_tagger(fake), confidence=95)
