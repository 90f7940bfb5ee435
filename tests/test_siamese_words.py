"""Words and phrases of a table: right boundaries, offsets kept, and sums that stay."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.errors import DataError
from attnaudit.models.siamese.boundaries import word_spans
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.models.siamese.words import by_words, gathered, grouped, merged, words_of
from tests.pair_tables import A, B, any_grouping, pieces_of, table_of, tables, texts, tokens
from tests.tiny_siamese import tiny_siamese


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("isn't O’Neill's rock'n'roll 'quoted'", "isn't|O’Neill's|rock'n'roll|'|quoted|'"),
        ("well-known co‑op pre- and -post a--b", "well-known|co‑op|pre|-|and|-|post|a|-|-|b"),
        ("3.14 1,000 12:30 a,b end.", "3.14|1,000|12:30|a|,|b|end|."),
        ("snake_case café cafe\u0301s\u00a0x\u200by", "snake_case|café|cafe\u0301s|x|y"),
        ("中国人ひと ไทย한국어 カタカナ", "中|国|人|ひ|と|ไ|ท|ย|한국어|カタカナ"),
        ("हिन्दी में", "हिन्दी|में"),
        ("שלום עולם صباح", "שלום|עולם|صباح"),
        ("👨\u200d👩\u200d👧👍🏽❤️🇩🇪🇫🇷", "👨\u200d👩\u200d👧|👍🏽|❤️|🇩🇪|🇫🇷"),
        ("co\u00adoperate", "co\u00adoperate"),
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_words_are_where_a_reader_sees_them(text: str, words: str) -> None:
    assert "|".join(text[start:end] for start, end in word_spans(text)) == words


@settings(deadline=None)
@given(texts())
def test_words_cover_all_but_whitespace_once_and_in_order(text: str) -> None:
    spans = word_spans(text)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    inside = {i for start, end in spans for i in range(start, end)}
    blank = {i for i, c in enumerate(text) if c.isspace() or c == "\u200b"}
    assert inside == set(range(len(text))) - blank
    starts = {start for start, _ in spans}
    after_blank = {0, *(i + 1 for i in blank)}
    marks = {i for i, c in enumerate(text) if unicodedata.category(c) in ("Mn", "Mc", "Me")}
    assert not starts & (marks - after_blank)


def test_pieces_become_the_words_of_the_text() -> None:
    words = words_of(pieces_of(A))
    assert words.shown == (
        "[CLS]",
        "Don't",
        "play",
        "the",
        "state-of-the-art",
        "guitar",
        "solo",
        ".",
        "[SEP]",
    )
    assert words.offsets[4] == (15, 31)
    assert words.members[1] == (1, 2, 3)
    assert [bool(s) for s in words.special] == [True, *[False] * 7, True]


@settings(deadline=None)
@given(tokens(), st.sampled_from(["alone", "together"]))
def test_every_token_is_in_one_word_whose_span_holds_it(made: Tokens, special: str) -> None:
    words = words_of(made, special=special)  # type: ignore[arg-type]
    assert sorted(i for group in words.members for i in group) == list(range(len(made)))
    word = word_spans(made.text)
    home = {i: g for g, group in enumerate(words.members) for i in group}
    for span in word:
        touching = {
            home[i]
            for i, (s, e) in enumerate(made.offsets)
            if max(s, span[0]) < min(e, span[1]) and not made.special[i]
        }
        assert len(touching) <= 1, "tokens that share a word are one"
    for group, (start, end) in zip(words.members, words.offsets, strict=True):
        for i in group:
            covered = made.text[slice(*made.offsets[i])]
            if covered.strip() and not made.special[i]:
                assert start <= made.offsets[i][0] + len(covered) - len(covered.lstrip())
                assert made.offsets[i][1] - (len(covered) - len(covered.rstrip())) <= end


def test_bytes_of_one_character_are_one_word_and_blanks_go_with_the_next() -> None:
    made = Tokens(
        "a 👍 b",
        tuple(range(8)),
        ("<s>", "a", "▁", "ð", "Ł", "ij", "▁b", "</s>"),
        ((0, 0), (0, 1), (1, 2), (2, 3), (2, 3), (2, 3), (3, 5), (0, 0)),
        (True, *[False] * 6, True),
    )
    words = words_of(made)
    assert words.members == ((0,), (1,), (2, 3, 4, 5), (6,), (7,))
    assert words.shown == ("<s>", "a", "👍", "b", "</s>")


def test_special_tokens_and_prompts_stay_alone_or_come_together() -> None:
    made = pieces_of("cat", prompt=2)
    assert words_of(made).shown == ("[CLS]", "query0", "query1", "cat", "[SEP]")
    together = words_of(made, special="together")
    assert together.shown == ("[special]", "[prompt]", "cat")
    assert together.members == ((0, 4), (1, 2), (3,))
    assert together.special == (True, False, False)


def test_phrases_are_found_by_text_and_by_span() -> None:
    words = words_of(pieces_of(A), ["the STATE-of-the-art guitar"])
    assert "the state-of-the-art guitar" in words.shown
    assert words_of(pieces_of(A), [(6, 14)]).shown[2] == "play the"
    every = words_of(pieces_of("no cat, no dog, nothing"), ["no"])
    assert every.shown == words_of(pieces_of("no cat, no dog, nothing")).shown
    cut = words_of(pieces_of(A), [(7, 12)])
    assert "play the" in cut.shown, "words that a phrase cuts through are taken whole"
    assert words_of(pieces_of("中国人民", size=1), ["国人"]).shown == (
        "[CLS]",
        "中",
        "国人",
        "民",
        "[SEP]",
    )


@pytest.mark.parametrize(
    ("phrases", "said"),
    [
        (["violin"], "'violin' is not in the text"),
        ([""], "is not in the text"),
        ([(5, 3)], r"\(5, 3\) is no stretch"),
        ([(0, 999)], "is no stretch"),
        (["play the", (0, 10)], "share the word 'play'"),
        ([(5, 6)], "has no token"),
    ],
)
def test_bad_phrases_are_refused(phrases: list[str | tuple[int, int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        words_of(pieces_of(A), phrases)


def test_a_phrase_beyond_the_models_limit_is_refused() -> None:
    with pytest.raises(DataError, match="beyond what the model reads"):
        words_of(pieces_of("short text", cut=" and a long tail"), ["long tail"])


@settings(deadline=None, max_examples=40)
@given(tables(), st.integers(0, 99))
def test_any_merging_keeps_every_sum(table: PairTable, seed: int) -> None:
    a = grouped(table.a, any_grouping(len(table.a), seed))
    b = grouped(table.b, any_grouping(len(table.b), seed + 1))
    small = merged(table, a, b)
    assert small.values.shape == (len(a) + 1, len(b) + 1)
    places_a = [*map(list, a.members), [len(table.a)]]
    places_b = [*map(list, b.members), [len(table.b)]]
    slow = [[float(table.values[p][:, q].sum()) for q in places_b] for p in places_a]
    torch.testing.assert_close(small.values, torch.tensor(slow, dtype=torch.float64))
    assert small.total == pytest.approx(table.total, abs=1e-12)
    assert small.residual == pytest.approx(table.residual, abs=1e-12)
    assert small.corner == table.corner
    assert float(small.pairs.sum()) == pytest.approx(float(table.pairs.sum()), abs=1e-12)
    assert (small.score, small.kind, small.tolerance) == (table.score, table.kind, table.tolerance)


@settings(deadline=None, max_examples=40)
@given(tables(), st.sampled_from(["alone", "together"]), st.integers(1, 6))
def test_words_and_the_strongest_of_them_keep_the_sum(
    table: PairTable, special: str, most: int
) -> None:
    words = by_words(table, special=special)  # type: ignore[arg-type]
    few = gathered(words, most)
    assert words.total == pytest.approx(table.total, abs=1e-12)
    assert few.total == pytest.approx(table.total, abs=1e-12)
    assert max(len(few.a), len(few.b)) <= most + 1 or min(len(words.a), len(words.b)) <= most + 1


def test_a_block_is_summed_and_not_averaged() -> None:
    table = table_of()
    words = by_words(table)
    i, j = words.a.shown.index("guitar"), words.b.shown.index("guitarist")
    rows = [k for k, (s, e) in enumerate(table.a.offsets) if 32 <= s < 38 and e]
    columns = [k for k, (s, e) in enumerate(table.b.offsets) if 8 <= s < 17 and e]
    block = table.values[rows][:, columns]
    assert block.numel() == 6
    assert float(words.values[i, j]) == pytest.approx(float(block.sum()))


def test_the_strongest_words_stay_in_the_order_of_the_text() -> None:
    words = by_words(table_of(A, B))
    few = gathered(words, 3)
    sizes = words.values.abs()[:-1].sum(1)
    kept = sorted(sizes.argsort(descending=True)[:3].tolist())
    assert few.a.shown == (*(words.a.shown[i] for i in kept), f"[{len(words.a) - 3} others]")
    assert gathered(words, 100).values.equal(words.values)


def test_groups_must_be_of_the_tokens_of_the_table() -> None:
    table = table_of()
    with pytest.raises(DataError, match="groups of the second text"):
        merged(table, b=words_of(table.a))
    with pytest.raises(DataError, match="do not hold each of the"):
        grouped(table.a, [[0, 1], [1, 2]])


def test_words_can_be_merged_again() -> None:
    table = table_of()
    again = by_words(by_words(table), phrases_a=["play the"])
    straight = by_words(table, phrases_a=["play the"])
    assert again.a.shown == straight.a.shown
    torch.testing.assert_close(again.values, straight.values)


@pytest.mark.parametrize(
    ("text", "pieces", "offsets", "words"),
    [
        ("मैं हूँ", ("म", "ह"), ((0, 1), (4, 5)), ("मैं", "हूँ")),
        (
            unicodedata.normalize("NFD", "phở"),
            ("pho",),
            ((0, 3),),
            (unicodedata.normalize("NFD", "phở"),),
        ),
        ("กิน ข้าว", ("ก", "น", "ข้าว"), ((0, 1), (2, 3), (4, 8)), ("กิ", "น", "ข้าว")),
    ],
)
def test_marks_that_a_tokenizer_drops_stay_with_their_word(
    text: str, pieces: tuple[str, ...], offsets: tuple[tuple[int, int], ...], words: tuple[str, ...]
) -> None:
    made = Tokens(text, tuple(range(len(pieces))), pieces, offsets, (False,) * len(pieces))
    assert words_of(made).shown == words


def test_a_word_that_is_cut_ends_where_the_model_stops_reading() -> None:
    made = Tokens(
        "a guitarist plays",
        (0, 1),
        ("a", "guitar"),
        ((0, 1), (2, 8)),
        (False, False),
        cut="ist plays",
    )
    assert words_of(made).shown == ("a", "guitar")


def test_whitespace_that_is_trimmed_is_no_special_token(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path, "roberta")
    encoder = SiameseEncoder(model)
    (read,) = encoder.tokens(["a good   film  "])
    blank = [i for i, piece in enumerate(read.pieces) if not piece.strip("Ġ")]
    assert blank
    assert not any(read.special[i] for i in blank)
    assert [i for i, special in enumerate(read.special) if special] == [0, len(read) - 1]
    assert words_of(read).shown == ("<s>", "a", "good", "film", "</s>")
    # the tokens of a prompt stay special, blank or not
    (asked,) = SiameseEncoder(model, prompt="made:  ").tokens(["film"])
    assert words_of(asked).special == (*[True] * (len(words_of(asked)) - 2), False, True)
