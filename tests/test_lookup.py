"""The generated lookup task of texts with questions, and what all generated tasks share."""

import re
import subprocess
import sys
from collections import Counter

import pytest
from scipy.stats import chi2_contingency, chisquare
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from attnaudit.data.generated.latest import generate_latest_splits
from attnaudit.data.generated.lookup import ROOMS, generate_lookup_splits
from attnaudit.data.generated.polarity import generate_polarity_splits
from attnaudit.data.generated.tasks import task_splits
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.data.records import TextPair
from attnaudit.data.sources.resolve import load_data
from attnaudit.data.texts.tokens import text_record, words
from attnaudit.errors import SettingsError

TASKS = {
    "lookup": generate_lookup_splits,
    "lookup_single": generate_latest_splits,
    "polarity": generate_polarity_splits,
}
every_task = pytest.mark.parametrize("name", list(TASKS))


@pytest.fixture(scope="module")
def made():
    return {name: make(1600, 200, 800, seed=3) for name, make in TASKS.items()}


def sentences(text):
    return re.split(r"(?<=\.) ", text)


def read(text, question):
    """The room and the sentence that answer the question, found in the texts alone."""
    (name,) = re.findall(r" ([A-Z]\w+)", question)
    about = [sentence for sentence in sentences(text) if re.search(rf"\b{name}\b", sentence)]
    if not about:
        return None, None
    (sentence,) = about
    return re.findall(r"[Ii]n the (\w+)", sentence)[0], sentence


def test_same_seed_same_records_in_another_process():
    code = (
        "from attnaudit.data.named.sets import NAMED_SETS;"
        f"[print(d.fingerprint) for n in {[*TASKS]} for d in NAMED_SETS[n].make().values()]"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made = [make() for make in TASKS.values()]
    assert other.stdout.split() == [data.fingerprint for splits in made for data in splits.values()]


@every_task
def test_another_seed_gives_other_records(name):
    first, second = (TASKS[name](40, 8, 8, seed)["train"] for seed in (7, 8))
    assert first.fingerprint != second.fingerprint


@every_task
def test_classes_are_balanced_and_no_text_is_there_twice(made, name):
    for data in made[name].values():
        counts = data.class_counts.values()
        assert max(counts) - min(counts) <= 1
    texts = [record.text for data in made[name].values() for record in data]
    assert len(set(texts)) == len(texts) == 2600
    ids = [record.id for data in made[name].values() for record in data]
    assert len(set(ids)) == len(ids)


@every_task
def test_units_offsets_and_truth_fit_together(made, name):
    for record in made[name]["train"]:
        assert list(record.offsets) == words(record.text)
        assert len(record.truth) == len(record.units)
        assert any(record.truth)
        assert record.text[0].isupper()
        assert not re.search(r"[{}]|  ", record.text)


@every_task
def test_it_is_a_named_set(name):
    data = load_data(name, split="test", limit=20)
    assert data.classes == NAMED_SETS[name].classes
    assert NAMED_SETS[name].truth
    assert data.has_truth
    assert data.has_questions == (name == "lookup")
    assert any("generated: seed 0" in note for note in data.notes)


@every_task
def test_sizes_below_the_number_of_classes_are_refused(name):
    with pytest.raises(SettingsError, match="or more records are needed, got 1"):
        TASKS[name](40, 1, 40)


def test_more_texts_than_there_are_is_refused():
    with pytest.raises(SettingsError, match=r"after [12] different ones: ask for fewer"):
        task_splits(
            "coins", ("no", "yes"), {"train": 4}, 0, lambda rng, label: text_record("", "ny"[label])
        )


def test_the_truth_is_the_sentence_that_answers(made):
    for record in made["lookup"]["train"]:
        assert isinstance(record, TextPair)
        room, sentence = read(record.text, record.question)
        assert ROOMS[record.label] == room
        start = record.text.index(sentence)
        for (first, last), unit, is_true in zip(
            record.offsets, record.units, record.truth, strict=True
        ):
            inside = start <= first and last <= start + len(sentence)
            assert is_true == (inside and unit != ".")


def test_only_the_sentence_of_truth_decides(made):
    for record in made["lookup"]["dev"]:
        told = sentences(record.text)
        _, decisive = read(record.text, record.question)
        for sentence in told:
            rest = " ".join(other for other in told if other != sentence)
            room, _ = read(rest, record.question)
            assert (room == ROOMS[record.label]) == (sentence != decisive)


def test_without_attention_only_a_guess_among_the_rooms_is_left(made):
    found = []
    for record in made["lookup"]["train"]:
        rooms = re.findall(r"[Ii]n the (\w+)", record.text)
        assert len(set(rooms)) == len(rooms) == 6
        found.append(rooms.index(ROOMS[record.label]))
    # The answer stands in each place equally often, so that no place is a better guess.
    assert chisquare(list(Counter(found).values())).pvalue > 0.001
    assert "0.167" in made["lookup"]["test"].notes[1]
    labels = {split: [record.label for record in data] for split, data in made["lookup"].items()}
    for column, chance in (("text", 1 / 6), ("question", 1 / 8)):
        model = make_pipeline(CountVectorizer(), LogisticRegression(C=0.1, max_iter=500))
        texts = {s: [getattr(r, column) for r in data] for s, data in made["lookup"].items()}
        model.fit(texts["train"], labels["train"])
        # Four standard errors of 800 guesses.
        assert model.score(texts["test"], labels["test"]) < chance + 0.053


def test_who_is_asked_for_says_nothing_on_the_room(made):
    counts = Counter(
        (re.findall(r" ([A-Z]\w+)", record.question)[0], record.label)
        for record in made["lookup"]["train"]
    )
    names = sorted({name for name, _ in counts})
    assert len(names) == 16
    table = [[counts[name, label] for label in range(len(ROOMS))] for name in names]
    assert chi2_contingency(table).pvalue > 0.001


@pytest.mark.parametrize("people", [2, 8])
def test_the_number_of_people_is_an_option(people):
    data = generate_lookup_splits(8, 8, 8, people=people)["train"]
    assert {len(sentences(record.text)) for record in data} == {people}


@pytest.mark.parametrize("people", [1, 9])
def test_numbers_of_people_out_of_range_are_refused(people):
    with pytest.raises(SettingsError, match=f"people must be from 2 to 8, got {people}"):
        generate_lookup_splits(8, 8, 8, people=people)
