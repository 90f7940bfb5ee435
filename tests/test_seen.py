"""What a model was trained on is stored with it, and an audit leaves it out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit import api
from attnaudit.audits.held_out import choose
from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.data.records import Dataset, Text, TextPair
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.findings.settings import Settings
from attnaudit.models.load import load
from attnaudit.models.seen import (
    SPLITS_FILE,
    TEST_FILE,
    SeenTexts,
    read_held_out,
    read_splits,
    seen_texts,
    text_hash,
    write_splits,
)
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.toys import dataset, reader

FAST = Settings(costly_limit=20, resamples=200, permutations=10, checks=("permutation",))
WORDS = st.lists(st.sampled_from(["a", "b", "ab", "", "\x1f", "a\x1fb"]), max_size=4)


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return generate_review_splits(n_train=120, n_dev=30, n_test=40, seed=4)


@pytest.fixture(scope="module")
def folder(splits: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("seen") / "model"
    train(
        splits,
        encoder="average",
        hidden=8,
        embedding_dim=8,
        options=TrainOptions(epochs=1),
        out=place,
        progress=False,
    )
    return place


def ids(data: Dataset) -> list[str]:
    return [record.id for record in data]


def whole(splits: dict[str, Dataset]) -> Dataset:
    """All splits together, as the file is that was cut into them."""
    records = [
        replace(r, id=f"{name}-{r.id}") for name, part in splits.items() for r in part.records
    ]
    return splits["train"].select(records, "all")


def pair(name: str, passage: str, question: str, **more: object) -> TextPair:
    text = text_record(name, passage)
    return TextPair(
        name,
        text.text,
        text.units,
        text.offsets,
        question=question,
        question_units=tuple(question.split()),
        **more,
    )


@settings(deadline=None)
@given(WORDS, WORDS, WORDS, WORDS)
def test_equal_hashes_mean_equal_units_and_questions(
    units: list[str], asked: list[str], others: list[str], other_asked: list[str]
) -> None:
    def record(words: list[str], question: list[str]) -> TextPair:
        return TextPair("x", "", tuple(words), (), question_units=tuple(question))

    clean = not any(
        "\x1f" in word for words in (units, asked, others, other_asked) for word in words
    )
    first, second = record(units, asked), record(others, other_asked)
    if (units, asked) == (others, other_asked):
        assert text_hash(first) == text_hash(second)
    elif clean and all(units) and all(others) and all(asked) and all(other_asked):
        assert text_hash(first) != text_hash(second)


def test_ids_labels_and_blanks_do_not_matter_and_questions_do() -> None:
    seen = seen_texts({"train": Dataset("x", (text_record("1", "good  film", 1),), ("n", "p"))})
    assert text_record("2", "good film", 0) in seen
    assert text_record("1", "good films", 1) not in seen
    asked = Dataset("x", (pair("1", "Mary went home", "Where is Mary"),), ("home", "away"))
    seen = seen_texts({"train": asked})
    assert pair("9", "Mary went home", "Where is Mary") in seen
    assert pair("9", "Mary went home", "Who went home") not in seen
    assert text_record("9", "Mary went home") not in seen


def test_train_and_dev_are_seen_and_test_is_not(splits: dict[str, Dataset], folder: Path) -> None:
    seen = load(folder).trained_on
    assert seen is not None
    assert all(record in seen for name in ("train", "dev") for record in splits[name])
    assert not any(record in seen for record in splits["test"])


def test_hashes_are_stored_and_no_text(splits: dict[str, Dataset], folder: Path) -> None:
    stored = json.loads((folder / SPLITS_FILE).read_text())
    assert (stored["format"], stored["version"]) == ("attnaudit-splits", 1)
    assert stored["train"] == sorted(map(text_hash, splits["train"]))
    assert {len(key) for key in stored["train"] + stored["dev"]} == {16}


def test_the_held_out_split_comes_back_as_it_was(splits: dict[str, Dataset], folder: Path) -> None:
    seen = read_splits(folder)
    assert seen is not None
    again = read_held_out(seen, splits["test"].classes)
    assert again is not None
    assert again.fingerprint == splits["test"].fingerprint
    assert (again.name, again.split) == (splits["test"].name, "test")
    assert again.has_truth


def test_pairs_come_back_with_question_and_answers(tmp_path: Path) -> None:
    classes = ("home", "garden", "office")
    records = (
        replace(pair("1", "Mary went home", "Where is Mary"), label=0, truth=(True, True, False)),
        replace(pair("2", "John left", "Where is John", allowed=(1, 2)), label=2),
    )
    data = Dataset("rooms", records, classes, "test")
    write_splits(tmp_path, {"test": data})
    seen = read_splits(tmp_path)
    assert seen is not None
    again = read_held_out(seen, classes)
    assert again is not None
    assert again.fingerprint == data.fingerprint
    assert [r.question for r in again if isinstance(r, TextPair)] == [
        "Where is Mary",
        "Where is John",
    ]


def test_the_file_is_read_as_any_other_data(splits: dict[str, Dataset], folder: Path) -> None:
    chosen = choose(load(folder), folder / TEST_FILE)
    assert [r.units for r in chosen.data] == [r.units for r in splits["test"]]
    assert [r.label for r in chosen.data] == [r.label for r in splits["test"]]


def test_training_texts_are_left_out_and_that_is_said(
    splits: dict[str, Dataset], folder: Path
) -> None:
    audit = api.audit(folder, whole(splits), settings=FAST, progress=False)
    assert audit.report.plan.data.left_out == 150
    assert audit.report.plan.data.trained_on == 0
    assert sorted(audit.instances["id"]) == sorted(f"test-{i}" for i in ids(splits["test"]))
    assert any(
        "150 texts were in the model's training data" in c for c in audit.report.judgement.cautions
    )
    assert "150 texts were in the model's training data" in audit.card()


def test_training_texts_can_be_kept_and_that_is_said(
    splits: dict[str, Dataset], folder: Path
) -> None:
    audit = api.audit(
        folder, whole(splits), settings=FAST, progress=False, include_training_texts=True
    )
    assert audit.report.plan.data.instances == 190
    assert audit.report.plan.data.trained_on == 150
    assert any("150 of the 190 texts" in c for c in audit.report.judgement.cautions)


def test_a_limit_is_drawn_from_what_is_left(splits: dict[str, Dataset], folder: Path) -> None:
    chosen = choose(load(folder), whole(splits), limit=25)
    assert len(chosen.data) == 25
    assert chosen.left_out == 150
    assert all(record.id.startswith("test-") for record in chosen.data)
    kept = choose(load(folder), whole(splits), limit=25, include=True)
    assert len(kept.data) == 25
    assert kept.left_out == 0


def test_without_data_the_held_out_split_is_audited(
    splits: dict[str, Dataset], folder: Path
) -> None:
    audit = api.audit(folder, settings=FAST, progress=False)
    assert sorted(audit.instances["id"]) == sorted(ids(splits["test"]))
    assert audit.report.plan.data.fingerprint == splits["test"].fingerprint
    assert not any("training data" in c for c in audit.report.judgement.cautions)


def test_a_model_in_memory_knows_as_well(splits: dict[str, Dataset]) -> None:
    done = train(
        splits,
        encoder="average",
        hidden=8,
        embedding_dim=8,
        options=TrainOptions(epochs=1),
        progress=False,
    )
    assert choose(done.model, whole(splits)).left_out == 150
    with pytest.raises(SettingsError, match="no held-out split is stored"):
        choose(done.model)


def test_nothing_left_is_an_error_that_says_what_to_do(
    splits: dict[str, Dataset], folder: Path
) -> None:
    with pytest.raises(DataError, match="all 120 texts were in the model's training data") as said:
        choose(load(folder), splits["train"])
    for word in ("--include-training-texts", "held out"):
        assert word in str(said.value)


def test_a_model_that_train_did_not_make_is_audited_as_before() -> None:
    chosen = choose(reader(), dataset(20))
    assert (len(chosen.data), chosen.left_out) == (20, 0)
    with pytest.raises(SettingsError, match="no data are named"):
        choose(reader())


def test_options_that_mean_nothing_without_data_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match="--column text="):
        choose(load(folder), columns={"text": "review"})
    assert len(choose(load(folder), limit=7, seed=3).data) == 7


def test_splits_of_another_model_are_noticed(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    model.save(tmp_path)  # type: ignore[attr-defined]
    assert load(tmp_path).trained_on is None
    (tmp_path / SPLITS_FILE).write_bytes((folder / SPLITS_FILE).read_bytes())
    assert load(tmp_path).trained_on is not None
    model.net.head.weight.data += 1  # type: ignore[attr-defined]
    (tmp_path / SPLITS_FILE).unlink()
    model.save(tmp_path, overwrite=True)  # type: ignore[attr-defined]
    (tmp_path / SPLITS_FILE).write_bytes((folder / SPLITS_FILE).read_bytes())
    with pytest.raises(ModelError, match="another model"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "attnaudit-splits", "version": 99}',
        '{"format": "attnaudit-splits", "version": 1, "train": 3}',
    ],
)
def test_damaged_splits_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / SPLITS_FILE).write_text(content)
    with pytest.raises(ModelError, match=r"splits\.json"):
        read_splits(tmp_path)


def test_a_held_out_split_that_is_gone_is_an_error(folder: Path) -> None:
    seen = read_splits(folder)
    assert seen is not None
    gone = replace(seen, test=folder / "nowhere.jsonl")
    with pytest.raises(DataError, match="nowhere"):
        read_held_out(gone, ("negative", "positive"))
    assert read_held_out(SeenTexts(frozenset(), frozenset()), ("a", "b")) is None


def test_without_a_test_split_none_is_stored(tmp_path: Path) -> None:
    (tmp_path / TEST_FILE).write_text("of an earlier model")
    part = Dataset("x", (Text("1", "good", ("good",), ((0, 4),), 1),), ("n", "p"))
    assert write_splits(tmp_path, {"train": part}).test is None
    assert not (tmp_path / TEST_FILE).exists()
