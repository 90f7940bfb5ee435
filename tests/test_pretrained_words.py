"""Word pieces of units: what the tokenizer makes of the whole text, word by word."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import pair_record, text_record
from attnaudit.errors import DataError, ModelError
from attnaudit.nets.pretrained.words import UnknownWordsWarning, WordPieces, assigned, reading

transformers = pytest.importorskip("transformers", reason="the extra `transformers` is absent")

from tests.tiny_transformers import FAMILIES, TEXTS, tokenizer_of  # noqa: E402


@pytest.fixture(scope="module")
def words():
    return {family: WordPieces(tokenizer_of(family), family) for family in FAMILIES}


def flat(pieces):
    return [piece for unit in pieces for piece in unit]


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_are_those_of_the_whole_text(words, family):
    for text in TEXTS:
        (pieces,) = words[family]([text_record("a", text, tokenizer="whitespace")])
        whole = words[family].tokenizer(text, add_special_tokens=False)
        assert flat(pieces) == whole["input_ids"]
        # the library's own count of words, where its words are ours
        split = words[family].tokenizer(
            text.split(), is_split_into_words=True, add_special_tokens=False
        )
        sizes = [split.word_ids().count(word) for word in range(len(text.split()))]
        assert [len(unit) for unit in pieces] == sizes


@pytest.mark.parametrize("family", ["bert", "roberta"])
@settings(deadline=None, max_examples=60)
@given(text=st.text(alphabet="agodfilmé ,.'-!😀\t", max_size=40))
def test_any_text_is_read_as_a_whole(words, family, text):
    record = text_record("a", text)
    (pieces,) = words[family]([record])
    assert len(pieces) == len(record.units)
    assert all(pieces)
    read, spans = reading(record)
    whole = words[family].tokenizer(
        read, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
    )
    owner = {place: unit for unit, span in enumerate(spans) for place in range(*span)}
    owners = [{owner[c] for c in range(*o) if c in owner} for o in whole["offset_mapping"]]
    if all(len(some) <= 1 for some in owners):
        assert flat(pieces) == whole["input_ids"]


def test_a_piece_over_two_units_is_cut_by_a_space(words):
    record = text_record("a", "so!!! bad")
    one_piece = words["roberta"].tokenizer.tokenize("so!!! bad")
    assert "!!" in one_piece
    (pieces,) = words["roberta"]([record])
    apart = words["roberta"].tokenizer("so! ! ! bad", add_special_tokens=False)["input_ids"]
    assert flat(pieces) == apart
    assert [len(unit) for unit in pieces][1] == 1


def test_a_tokenizer_that_joins_words_is_refused(words):
    class Joining:
        is_fast, mask_token_id, model_max_length, unk_token_id = True, None, 10**30, None

        def __call__(self, texts, **options):
            if isinstance(texts, str):
                return {"input_ids": [1], "special_tokens_mask": [0]}
            return {
                "input_ids": [[1]] * len(texts),
                "offset_mapping": [[(0, len(text))] for text in texts],
            }

    joining = WordPieces(Joining(), "joining")
    assert joining([text_record("a", "one")]) == [[[1]]]
    with pytest.raises(ModelError, match="spans two units with a space between them"):
        joining([text_record("a", "one"), text_record("b", "New York")])


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_text_cannot_speak_in_special_tokens(words, family):
    own = words[family]
    special = set(own.tokenizer.all_special_ids) - {own.tokenizer.unk_token_id}
    text = f"good {own.tokenizer.mask_token} {own.tokenizer.pad_token} {own.tokenizer.sep_token}"
    (pieces,) = own([text_record("a", text, tokenizer="whitespace")])
    assert not special & set(flat(pieces))


def test_units_are_read_where_they_are_not_the_text(words):
    # a text pipeline may change units, and leave some out
    record = Text("a", "A GOOD film", ("a", "film"), ((0, 1), (7, 11)))
    assert reading(record) == ("a film", [(0, 1), (2, 6)])
    assert words["roberta"]([record]) == words["roberta"]([text_record("b", "a film")])


def test_a_unit_that_leaves_no_piece_is_unknown(words):
    record = text_record("a", "good \u0301 film", tokenizer="whitespace")
    (pieces,) = words["bert"]([record])
    assert pieces[1] == [words["bert"].tokenizer.unk_token_id]
    words["bert"].tokenizer.unk_token = None
    try:
        with pytest.raises(DataError, match="makes nothing of unit 1"):
            words["bert"]([record])
    finally:
        words["bert"].tokenizer.unk_token = "[UNK]"


def test_no_units_no_pieces(words):
    for family in FAMILIES:
        assert words[family]([Text("a", "", (), ())]) == [[]]
        assert words[family]([]) == []
    assert assigned([5], [(0, 0)], []) == ([], frozenset())


@pytest.mark.parametrize("unit", ["", " ", "\t\n"])
def test_empty_words_are_refused_by_name(words, unit):
    record = Text("r7", "good  film", ("good", unit, "film"), ((0, 4), (5, 5), (6, 10)))
    with pytest.raises(DataError, match="record 'r7': unit 1 is"):
        words["bert"]([record])


def test_questions_are_refused(words):
    with pytest.raises(DataError, match="'p' has a question"):
        words["bert"]([pair_record("p", "a film", "which?")])


def test_markers_and_bounds(words):
    bert, llama = words["bert"], words["llama"]
    assert (len(bert.prefix), len(bert.suffix)) == (1, 1)
    assert (len(llama.prefix), len(llama.suffix)) == (1, 0)
    assert bert.mask == bert.tokenizer.mask_token_id
    assert llama.mask is None
    assert bert.most is None


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match=r"give a model with a tokenizer\.json"):
        WordPieces(Slow(), "old")


def test_texts_of_unknown_words_only_are_told_of_once():
    words = WordPieces(tokenizer_of("bert"), "tiny")
    records = [text_record("a", TEXTS[0]), text_record("b", "𐍈𐍈 ฉัน")]
    with pytest.warns(UnknownWordsWarning, match="tiny knows no word of record 'b'"):
        words(records)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words(records)
        WordPieces(tokenizer_of("bert"), "tiny")(records[:1])
