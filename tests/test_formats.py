"""Sets that come in a format of their own, on small files made here in that format."""

import csv
import gzip
import io
import json
import tarfile

import pytest

from attnaudit.data.named.babi import read_questions
from attnaudit.data.named.inference import marked_spans
from attnaudit.data.named.mimic import split_of_patient
from attnaudit.data.named.named import columns_for
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.data.sources.hub import from_hub
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.texts.build import build_dataset
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_lines(path, rows):
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path, rows, quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return write(path, out.getvalue())


# --- bAbI ---------------------------------------------------------------------------------------

STORY = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Mary went to the garden.
6 Where is Mary? \tgarden\t5
1 Sandra journeyed to the kitchen.
2 Where is Sandra?\tkitchen\t1
"""


@pytest.mark.parametrize("place", ["", "en", "tasks_1-20_v1-2/en"])
def test_babi_as_published(tmp_path, place):
    for split in ("train", "test"):
        write(tmp_path / place / f"qa1_single-supporting-fact_{split}.txt", STORY)
    data = load_data("babi_1", data_dir=tmp_path, split="train")
    assert [record.text for record in data] == [
        "Mary moved to the bathroom . John went to the hallway",
        "Mary moved to the bathroom . John went to the hallway . Daniel went back to the hallway . "
        "Mary went to the garden",
        "Sandra journeyed to the kitchen",
    ]
    assert {record.question for record in data} == {"Where is Mary", "Where is Sandra"}
    assert [data.classes[record.label] for record in data] == ["bathroom", "garden", "kitchen"]
    for record, fact in zip(
        data,
        (
            "Mary moved to the bathroom",
            "Mary went to the garden",
            "Sandra journeyed to the kitchen",
        ),
        strict=True,
    ):
        marked = [u for u, true in zip(record.units, record.truth, strict=True) if true]
        assert " ".join(marked) == fact
    assert [record.id for record in data] == ["1-1", "1-2", "2-1"]


def test_babi_takes_the_size_that_was_asked_for(tmp_path):
    for folder, text in (("en", STORY), ("en-10k", STORY * 3)):
        for split in ("train", "test", "valid"):
            write(tmp_path / folder / f"qa2_two-supporting-facts_{split}.txt", text)
    assert len(load_data("babi_2", data_dir=tmp_path, split="train")) == 3
    assert len(load_data("babi_2_10k", data_dir=tmp_path, split="dev")) == 9
    with pytest.raises(DataError, match="holds no files of bAbI task 3 with 10,000 training"):
        load_data("babi_3_10k", data_dir=tmp_path)


def test_babi_as_json_lines_is_the_same_as_published(tmp_path):
    write(tmp_path / "text" / "qa1_x_train.txt", STORY)
    rows = [
        {
            "task": 1,
            "story": question.id.split("-")[0],
            "context": list(question.facts),
            "question": question.question,
            "answer": question.answer,
            "supporting": list(question.supporting),
        }
        for question in read_questions(STORY, "story")
    ]
    write_lines(tmp_path / "lines" / "en_qa1-3_train.jsonl", [*rows, {**rows[0], "task": 2}])
    published = load_data("babi_1", data_dir=tmp_path / "text", split="train")
    lines = load_data("babi_1", data_dir=tmp_path / "lines", split="train")
    assert lines.fingerprint == published.fingerprint
    assert len(load_data("babi_2", data_dir=tmp_path / "lines", split="train")) == 1
    write_lines(tmp_path / "lines" / "en_qa1-3_test.jsonl", rows)
    with pytest.raises(DataError, match="no files of bAbI task 1 with 10,000 training questions"):
        load_data("babi_1_10k", data_dir=tmp_path / "lines")
    write_lines(tmp_path / "lines" / "en10k_qa1-2_train.jsonl", rows * 2)
    sizes = [
        len(load_data("babi_1_10k", data_dir=tmp_path / "lines", split=split))
        for split in ("train", "test")
    ]
    assert sizes == [6, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Mary left.\nJohn left.\n", "line 2: 'John left.' is neither a number with"),
        ("1 Mary left.\n2 Where? \thall\n", "line 2: .* is neither"),
        ("1 Mary left.\n2 Where? \thall\t3\n", "line 2: '3' are no numbers of facts before it"),
        ("1 Mary left.\n1 Where? \thall\t1\n", "line 2: '1' are no numbers of facts"),
        ("1 Mary left.\n", "is empty: there are no rows"),
    ],
)
def test_damaged_babi_files(tmp_path, text, message):
    write(tmp_path / "qa1_x_test.txt", text)
    with pytest.raises(DataError, match=message) as caught:
        load_data("babi_1", data_dir=tmp_path)
    assert "qa1_x_test.txt" in str(caught.value)


def test_babi_gets_a_dev_split():
    splits = resolve("babi_1", data_dir=shared_dir("data/babi"), seed=3).splits()
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 850,
        "dev": 150,
        "test": 1000,
    }
    # In task 1 one fact of five or six words gives the answer, and the answer is its last word.
    for record in splits["test"]:
        marked = [u for u, true in zip(record.units, record.truth, strict=True) if true]
        assert len(marked) in (5, 6)
        assert marked[-1] == splits["test"].classes[record.label]


# --- inference ----------------------------------------------------------------------------------

RELATION = ("entailment", "neutral", "contradiction")


def test_snli_as_published(tmp_path):
    rows = [
        {"gold_label": label, "sentence1": f"A man {i}.", "sentence2": f"He {i}!", "pairID": "x"}
        for i, label in enumerate([*RELATION, "-", "entailment"])
    ]
    for split in ("train", "dev", "test"):
        write_lines(tmp_path / f"snli_1.0_{split}.jsonl", rows)
    splits = resolve("snli", data_dir=tmp_path).splits()
    data = splits["dev"]
    assert data.classes == ("contradiction", "entailment", "neutral")
    assert [record.label for record in data] == [1, 2, 0, 1]
    assert "1 of 5 rows of other labels are left out" in data.notes
    assert (data.records[0].text, data.records[0].question) == ("A man 0.", "He 0!")


def test_snli_as_on_the_hub():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(RELATION)),
        }
    )
    columns = {"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [0, -1, 2]}
    table = from_hub(datasets.Dataset.from_dict(columns, features), "snli")
    data = build_dataset(table, columns_for(NAMED_SETS["snli"], table), "snli")
    assert [(record.text, record.question, record.label) for record in data] == [
        ("a", "d", 1),
        ("c", "f", 0),
    ]


@pytest.mark.parametrize(
    ("sentence", "marked", "words"),
    [
        ("A man, asleep.", "A *man,* *asleep.*", ["man", "asleep"]),
        ("A man.", "A man.", []),
        ('Two well-made "hats"', 'Two *well-made* *"hats"*', ["well-made", "hats"]),
        ("A * b", "A * *b*", ["b"]),
        ("A  man\tsits", "A *man* sits", ["man"]),
        ("A *star* man", "A *star* *man*", ["man"]),
        ("... and", "*...* and", []),
        ("A man", "A man sits", None),
        ("A man", "A *woman*", None),
    ],
)
def test_marked_words(sentence, marked, words):
    spans = marked_spans(sentence, marked)
    assert (spans if spans is None else [sentence[a:b] for a, b in spans]) == words


def esnli_row(label="entailment", premise="A man, asleep.", marks=("A *man,* asleep.",)):
    row = {"pairID": "1", "gold_label": label, "Sentence1": premise, "Sentence2": "He sleeps."}
    for number, copy in enumerate(marks, start=1):
        row[f"Sentence1_marked_{number}"] = copy
        row[f"Sentence2_marked_{number}"] = "*He* sleeps."
    return row


def test_esnli_gives_truth_on_the_premise(tmp_path):
    write_csv(tmp_path / "esnli_train_1.csv", [esnli_row(), esnli_row("neutral", marks=["A b c."])])
    write_csv(tmp_path / "esnli_train_2.csv", [esnli_row("contradiction", "B c.", ["*B* *c.*"])])
    three = ("A *man,* asleep.", "*A* *man,* asleep.", "A man, *asleep.*")
    unmarked = ("A man, asleep.",) * 3
    write_csv(
        tmp_path / "esnli_test.csv",
        [esnli_row(marks=three), esnli_row("neutral", marks=unmarked), esnli_row("-", marks=three)],
    )
    train = load_data("esnli", data_dir=tmp_path, split="train")
    # Marked words without the comma; another sentence; both words, without the stop.
    assert [record.truth for record in train] == [
        (False, True, False, False, False),
        None,
        (True, True, False),
    ]
    assert "1 premises differ from their marked copy; their evidence is unknown" in train.notes
    test = load_data("esnli", data_dir=tmp_path)
    # Two of three annotators marked the man, one each the other words; none is no evidence.
    assert [record.truth for record in test] == [(False, True, False, False, False), None]
    cleaned = load_data("esnli", data_dir=tmp_path, split="train", pipeline="jain2019")
    assert cleaned.records[0].truth == train.records[0].truth
    write_csv(tmp_path / "esnli_dev.csv", [esnli_row(marks=three)])
    splits = resolve("esnli", data_dir=tmp_path).splits()
    assert splits["dev"].has_truth
    assert len(splits["train"]) == 3


def test_esnli_files_are_missed_by_name(tmp_path):
    write_csv(tmp_path / "train.csv", [esnli_row()])
    with pytest.raises(DataError, match=r"no files of e-SNLI: expected esnli_train_1\.csv"):
        load_data("esnli", data_dir=tmp_path)
    write_csv(
        tmp_path / "esnli_test.csv", [{"gold_label": "neutral", "Sentence1": "a", "Sentence2": "b"}]
    )
    with pytest.raises(DataError, match="no column 'Sentence1_marked_1', which files of"):
        load_data("esnli", data_dir=tmp_path)


@pytest.mark.parametrize("root", ["", "NLI"])
def test_augmented_snli_as_published(tmp_path, root):
    for kind, count in (("original", 2), ("revised_premise", 4), ("revised_hypothesis", 4)):
        rows = [f"{kind} {i}\tH {i}\t{RELATION[i % 3]}" for i in range(count)]
        text = "\n".join(["sentence1\tsentence2\tgold_label", *rows]) + "\n"
        for split in ("train", "dev", "test"):
            write(tmp_path / root / kind / f"{split}.tsv", text)
    data = load_data("cad_snli", data_dir=tmp_path, split="dev")
    assert len(data) == 10
    assert [record.id for record in data][:3] == ["original-0", "original-1", "revised_premise-0"]
    assert data.records[2].text == "revised_premise 0"
    assert [record.label for record in data][:2] == [1, 2]


def test_augmented_snli_as_lines():
    splits = resolve("cad_snli", data_dir=shared_dir("data/cad_snli")).splits()
    assert {name: len(data) for name, data in splits.items()} == {
        "train": 8330,
        "dev": 1000,
        "test": 2000,
    }
    originals = [r for r in splits["train"] if r.id.startswith("original-")]
    assert len(originals) == 1666
    by_id = {record.id: record for record in splits["train"]}
    edited = by_id["revised_premise-0"]
    assert edited.question == by_id["original-0"].question
    assert edited.label != by_id["original-0"].label


# --- ERASER -------------------------------------------------------------------------------------


def movie(id, spans, label="POS"):
    parts = [{"docid": id, "start_token": a, "end_token": b} for a, b in spans]
    return {"annotation_id": id, "classification": label, "evidences": [parts]}


def test_movies_as_published(tmp_path):
    root = tmp_path / "movies"
    write(root / "docs" / "a.txt", "a fine film .\nit is good\n")
    write(root / "docs" / "b.txt", "bad")
    rows = [movie("a.txt", [(1, 3), (6, 7)]), movie("b.txt", [(0, 1)], "NEG")]
    for split in ("train", "val", "test"):
        write_lines(root / f"{split}.jsonl", rows)
    data = resolve("eraser_movies", data_dir=tmp_path).splits()["dev"]
    first = data.records[0]
    assert first.units == ("a", "fine", "film", ".", "it", "is", "good")
    assert first.truth == (False, True, True, False, False, False, True)
    assert [data.classes[record.label] for record in data] == ["positive", "negative"]
    for bad, message in (
        (movie("c.txt", []), "line 1: there is no document 'c.txt'"),
        (movie("../test.jsonl", []), "there is no document '../test.jsonl'"),
        (movie("a.txt", [(5, 9)]), r"column 'rationales': \[5, 9\] is no span of the 7 units"),
        ({**rows[0], "evidences": [["x"]]}, "column 'evidences': expected groups"),
    ):
        write_lines(root / "test.jsonl", [bad, rows[1]])
        with pytest.raises(DataError, match=message):
            load_data("eraser_movies", data_dir=tmp_path)


# --- tweets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "labels"),
    [(("tweet", "label"), (0, 1)), (("Text", "ADR"), ("nonADR", "ADR")), (("text", "y"), (0, 1))],
)
def test_tweets_in_one_file_with_a_column_of_splits(tmp_path, columns, labels):
    text, label = columns
    rows = [
        {
            text: f"my head # {i}",
            label: labels[i % 4 == 0],
            "exp_split": "test" if i < 8 else "train",
        }
        for i in range(48)
    ]
    write_csv(tmp_path / "adr_dataset.csv", rows)
    splits = resolve("adr_tweets", data_dir=tmp_path).splits()
    assert {name: len(data) for name, data in splits.items()} == {"train": 34, "dev": 6, "test": 8}
    assert splits["test"].class_counts == {"no reaction": 6, "reaction": 2}


def test_tweets_in_files_named_after_splits_or_in_one_without_splits(tmp_path):
    rows = [{"tweet": f"ow {i}", "label": i % 2} for i in range(40)]
    write_csv(tmp_path / "adr_dataset_train.csv", rows)
    sizes = {
        name: len(data) for name, data in resolve("adr_tweets", data_dir=tmp_path).splits().items()
    }
    assert sizes == {"train": 32, "dev": 4, "test": 4}
    write_csv(tmp_path / "adr_dataset_test.csv", rows[:10])
    assert len(load_data("adr_tweets", data_dir=tmp_path)) == 10
    alone = tmp_path / "alone"
    write_csv(alone / "tweets.csv", rows)
    sizes = {
        name: len(data) for name, data in resolve("adr_tweets", data_dir=alone).splits().items()
    }
    assert sizes == {"train": 32, "dev": 4, "test": 4}


# --- CNN ----------------------------------------------------------------------------------------


def question_file(passage, answer="@entity1", question="@placeholder won", entities="@entity1:Ann"):
    return f"http://a.org/{passage[:3]}\n\n{passage}\n\n{question}\n\n{answer}\n\n{entities}\n"


CNN = {
    "training": {
        "a": question_file("( @entity0 ) @entity1 beat @entity0 ."),
        "b": question_file("@entity12 and @entity1 met .", "@entity12"),
        "c": question_file("@entity0 lost to @entity1 ."),
    },
    "validation": {"d": question_file("@entity1 ran .")},
    "test": {
        "e": question_file("@entity77 , @entity0 and @entity1 .", "@entity0"),
        "f": question_file("@entity77 ran .", "@entity77"),
    },
}


def cnn_folder(root):
    for split, files in CNN.items():
        for name, text in files.items():
            write(root / split / f"{name}.question", text)


def cnn_archive(root):
    with tarfile.open(root / "cnn.tgz", "w:gz") as tar:
        for split, files in CNN.items():
            for name, text in files.items():
                raw = text.encode()
                info = tarfile.TarInfo(f"cnn/questions/{split}/{name}.question")
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))


CNN_LAYOUTS = {
    "questions": cnn_folder,
    "cnn": lambda root: cnn_folder(root / "cnn" / "questions"),
    "archive": cnn_archive,
}


@pytest.mark.parametrize("layout", CNN_LAYOUTS)
def test_cnn_as_published(tmp_path, layout):
    CNN_LAYOUTS[layout](tmp_path)
    splits = resolve("cnn_qa", data_dir=tmp_path).splits()
    train, test = splits["train"], splits["test"]
    # Every entity of a training passage can be an answer, whether or not it ever is.
    assert train.classes == test.classes == ("@entity0", "@entity1", "@entity12")
    assert [train.classes[record.label] for record in train] == [
        "@entity1",
        "@entity12",
        "@entity1",
    ]
    assert [record.allowed for record in train] == [(0, 1), (1, 2), (0, 1)]
    assert train.records[0].units[:3] == ("(", "@entity0", ")")
    assert train.records[0].question_units == ("@placeholder", "won")
    # In test one answer is new and left out; of the other passage the new entity is.
    assert [record.allowed for record in test] == [(0, 1)]
    assert any("1 of 2 rows have an answer that is none of the classes" in n for n in test.notes)


@pytest.mark.parametrize("layout", CNN_LAYOUTS)
def test_cnn_reads_no_more_than_is_asked_for(tmp_path, layout):
    CNN_LAYOUTS[layout](tmp_path)
    options = {"data_dir": tmp_path, "split": "train", "limit": 2}
    data = load_data("cnn_qa", seed=1, **options)
    assert len(data) == 2
    assert "a random 2 of 3 files (seed 1)" in data.notes
    assert load_data("cnn_qa", seed=1, **options).fingerprint == data.fingerprint
    drawn = {load_data("cnn_qa", seed=seed, **options).fingerprint for seed in range(12)}
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n\nc\n", "found 3 parts"),
        (question_file("nobody"), "the answer '@entity1' is no entity of the passage"),
        (question_file(""), "expected an address, a passage"),
        ("", "x.question is empty"),
    ],
)
def test_damaged_question_files(tmp_path, text, message):
    write(tmp_path / "test" / "x.question", text)
    with pytest.raises(DataError, match=message) as caught:
        load_data("cnn_qa", data_dir=tmp_path)
    assert "x.question" in str(caught.value)


def test_a_damaged_archive(tmp_path):
    cnn_archive(tmp_path)
    raw = (tmp_path / "cnn.tgz").read_bytes()
    (tmp_path / "cnn.tgz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match=r"cnn\.tgz is a damaged archive"):
        load_data("cnn_qa", data_dir=tmp_path)


# --- MIMIC-III ----------------------------------------------------------------------------------

CODES = {
    # patient: {admission: codes}
    "1": {"101": ["25000", "4019"], "102": ["2851"]},
    "2": {"103": ["25001", "28521"]},
    "3": {"104": ["2851", "28529"]},
    "4": {"105": ["4019"]},
}


def mimic_folder(root, patients=CODES, gz=False, header=str):
    notes, codes = [], []
    for patient, admissions in patients.items():
        for admission, found in admissions.items():
            codes += [
                {
                    "ROW_ID": len(codes),
                    "SUBJECT_ID": patient,
                    "HADM_ID": admission,
                    "SEQ_NUM": 1,
                    "ICD9_CODE": code,
                }
                for code in found
            ]
            for category, text in (
                ("Discharge summary", f'Seen [**2101-1-1**], "well",\nBP 120/80 ===== {admission}'),
                ("Nursing", "not this one"),
            ):
                notes.append(
                    {
                        "ROW_ID": len(notes),
                        "SUBJECT_ID": patient,
                        "HADM_ID": admission,
                        "CATEGORY": category,
                        "DESCRIPTION": "Report",
                        "ISERROR": "",
                        "TEXT": text,
                    }
                )
    first = next(iter(next(iter(patients.values()))))
    notes.append({**notes[0], "HADM_ID": first, "DESCRIPTION": "Addendum", "TEXT": "Addendum."})
    notes.append({**notes[0], "HADM_ID": first, "ISERROR": "1", "TEXT": "Written in error."})
    notes.append({**notes[0], "HADM_ID": "", "TEXT": "Of no admission."})
    for name, rows in (("NOTEEVENTS", notes), ("DIAGNOSES_ICD", codes)):
        rows = [{header(key): value for key, value in row.items()} for row in rows]
        path = write_csv(root / f"{name}.csv", rows, csv.QUOTE_NONNUMERIC)
        if gz:
            (root / f"{name}.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()


def all_of(name, folder):
    found = {}
    for split in ("train", "dev", "test"):
        try:
            data = load_data(name, data_dir=folder, split=split)
        except DataError as error:
            assert "no discharge summary" in str(error)  # noqa: PT017
            continue
        found.update({r.id: (split, data.classes[r.label], r) for r in data})
    return found


@pytest.mark.parametrize(("gz", "header"), [(False, str), (True, str), (False, str.lower)])
def test_diabetes_without_lists_of_admissions(tmp_path, gz, header):
    mimic_folder(tmp_path, gz=gz, header=header)
    found = all_of("diabetes", tmp_path)
    assert {id: label for id, (_, label, _) in found.items()} == {
        "101": "diabetes",
        "102": "no diabetes",
        "103": "no diabetes",
        "104": "no diabetes",
        "105": "no diabetes",
    }
    for patient, admissions in CODES.items():
        assert {found[id][0] for id in admissions} == {split_of_patient(patient)}
    record = found["101"][2]
    assert record.text.endswith("101\nAddendum.")
    assert record.units[:4] == ("seen", "<DE>", ",", '"')
    assert record.text[slice(*record.offsets[1])] == "[**2101-1-1**]"
    assert record.units[-5:] == ("qqq", "=", "qqq", "addendum", ".")


def test_diabetes_takes_the_admissions_of_the_lists(tmp_path):
    mimic_folder(tmp_path)
    for split, ids in (("train", "103\n105\n"), ("dev", "104\n"), ("test", "101\n102\n")):
        write(tmp_path / f"{split}_50_hadm_ids.csv", ids)
    splits = {id: split for id, (split, _, _) in all_of("diabetes", tmp_path).items()}
    assert splits == {"101": "test", "102": "test", "103": "train", "104": "dev", "105": "train"}
    (tmp_path / "dev_50_hadm_ids.csv").unlink()
    with pytest.raises(DataError, match=r"lacks dev_50_hadm_ids\.csv: give all three"):
        load_data("diabetes", data_dir=tmp_path)


def test_anemia_is_acute_or_chronic_and_not_both(tmp_path):
    mimic_folder(tmp_path)
    found = all_of("anemia", tmp_path)
    assert {id: label for id, (_, label, _) in found.items()} == {"102": "acute", "103": "chronic"}
    assert NAMED_SETS["anemia"].classes == ("chronic", "acute")


def test_patients_are_cut_in_the_shares_of_the_paper(tmp_path):
    patients = {str(i): {str(1000 + i): ["2851" if i % 2 else "2852"]} for i in range(600)}
    mimic_folder(tmp_path, patients)
    splits = resolve("anemia", data_dir=tmp_path).splits()
    sizes = {name: len(data) for name, data in splits.items()}
    assert sum(sizes.values()) == 600
    for name, share in (("train", 0.68), ("dev", 0.12), ("test", 0.2)):
        assert abs(sizes[name] / 600 - share) < 0.05
    few = load_data("anemia", data_dir=tmp_path, split="train", limit=20, seed=4)
    assert len(few) == 20
    assert any("looked for a random 40 of" in note for note in few.notes)
    bounded = resolve("anemia", data_dir=tmp_path, pipeline="jain2019", max_length=12).splits()
    # Only one text has an addendum, and so more than 12 units.
    assert sum(len(data) for data in bounded.values()) == 599


def test_mimic_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"no NOTEEVENTS\.csv or NOTEEVENTS\.csv\.gz"):
        load_data("anemia", data_dir=tmp_path)
    mimic_folder(tmp_path)
    path = tmp_path / "NOTEEVENTS.csv"
    whole = path.read_bytes()
    for content, message in (
        (whole.replace(b"CATEGORY", b"KIND"), "has no column 'CATEGORY'"),
        (whole[:-30], "damaged after .* rows"),
        (whole.replace(b"well", b"w\xe9ll"), "damaged after .* rows"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_data("diabetes", data_dir=tmp_path, split="train")
    mimic_folder(tmp_path, gz=True)
    packed = (tmp_path / "NOTEEVENTS.csv.gz").read_bytes()
    (tmp_path / "NOTEEVENTS.csv.gz").write_bytes(packed[:-40])
    with pytest.raises(DataError, match="damaged after"):
        load_data("diabetes", data_dir=tmp_path, split="train")


# --- where to get them --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, e in NAMED_SETS.items() if not (e.hub or e.make)])
def test_a_set_that_is_not_on_the_hub_says_what_to_get(name, tmp_path):
    for call in (load_data, lambda *given, **more: resolve(*given, **more).splits()):
        with pytest.raises(SettingsError, match=f"'{name}' is not on the hub: get .*--data-dir"):
            call(name)
        with pytest.raises(DataError, match=f"is no folder: the set '{name}' needs one with"):
            call(name, data_dir=tmp_path / "nowhere")
        with pytest.raises(DataError):
            call(name, data_dir=tmp_path)


def test_a_set_decides_on_its_question():
    with pytest.raises(SettingsError, match="'snli' decides on its question itself"):
        load_data("snli", columns={"question": "hypothesis"})
