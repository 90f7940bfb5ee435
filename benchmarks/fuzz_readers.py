"""What the fuzz reads: for each reader, valid inputs whose content is known, and how to read one.

A reader writes content that is drawn here into a folder, in one of the spellings that mean the
same (order of columns, byte order mark, line ends, gzip), and says what must be read of it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.data.texts.tokens import text_record
from attnaudit.findings.settings import Settings, read_settings
from attnaudit.models.load import load
from attnaudit.models.seen import read_held_out, write_splits
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import Vocabulary

Row = dict[str, Any]
WORDS = (
    "good",
    "bad",
    "film",
    "It's",
    "well-made",
    "été",
    "naïve",
    "我",
    "हिन्दी",
    "👍🏽",
    "a,b",
    'say "x"',
    "tab",
    "1,000.50",
    "semi;colon",
    "=1+1",
    "null",
    "NaN",
    "-",
    "<b>",
    "\u2028",
)
LABELS = (("neg", "pos"), ("0", "1"), ("a", "b", "c"))


@dataclass(frozen=True)
class Reader:
    """One way into the library.

    Attributes:
        write: Writes a valid input into a folder; gives what `read` must find in it.
        read: Reads what lies in the folder, as plain values.
        whole: Whether every input that is read without an error must hold the same as the valid
            one, as where digests are kept.
    """

    write: Callable[[random.Random, Path], object]
    read: Callable[[Path], object]
    whole: bool = False


def texts(rng: random.Random, rows: int | None = None) -> list[Row]:
    """Rows of texts with labels, both classes among them; no text is blank or `NaN` alone."""
    names = rng.choice(LABELS)
    count = rows or rng.randint(len(names), 12)
    return [
        {
            "text": " ".join(("film", *rng.choices(WORDS, k=rng.randint(0, 8)))),
            "label": names[place % len(names)],
        }
        for place in range(count)
    ]


def expected_texts(rows: list[Row]) -> list[tuple[str, str]]:
    """What `read_texts` must find."""
    return [(row["text"], row["label"]) for row in rows]


def read_texts(source: Any) -> list[tuple[str, str | None]]:
    """Texts with the names of their labels."""
    data = load_data(source)
    return [
        (record.text, None if record.label is None else data.classes[record.label])
        for record in data
    ]


def table_bytes(rows: list[Row], suffix: str, rng: random.Random) -> bytes:
    """Rows in the format of a suffix, in one of its spellings."""
    names = list(rows[0])
    rng.shuffle(names)
    rows = [{name: row[name] for name in names} for row in rows]
    if suffix.endswith(".gz"):
        return gzip.compress(table_bytes(rows, suffix.removesuffix(".gz"), rng), mtime=0)
    if suffix == ".parquet":
        file = io.BytesIO()
        compression = rng.choice(("zstd", "snappy", "uncompressed"))
        pl.DataFrame(rows).write_parquet(file, compression=compression)
        return file.getvalue()
    if suffix == ".json":
        text = json.dumps(rows, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    elif suffix == ".jsonl":
        blank = "\n" if rng.random() < 0.2 else ""
        lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows]
        text = blank + "\n".join(lines) + "\n"
    else:
        buffer = io.StringIO(newline="")
        end = rng.choice(("\n", "\r\n"))
        writer = csv.DictWriter(
            buffer,
            names,
            delimiter="\t" if suffix == ".tsv" else ",",
            lineterminator=end,
            quoting=rng.choice((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)),
        )
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    mark = b"\xef\xbb\xbf" if rng.random() < 0.2 else b""
    return mark + text.encode()


def only_file(folder: Path) -> Path:
    """The file in a folder of one, or the path that stands for it."""
    return next(iter(sorted(folder.iterdir())), folder / "absent.csv")


def text_file(suffix: str) -> Reader:
    """Texts in one file."""

    def write(rng: random.Random, folder: Path) -> object:
        rows = texts(rng)
        (folder / f"data{suffix}").write_bytes(table_bytes(rows, suffix, rng))
        return expected_texts(rows)

    return Reader(write, lambda folder: read_texts(only_file(folder)))


def write_folder(rng: random.Random, folder: Path) -> object:
    """Texts in a folder with one file per split, each in a format of its own."""
    names = rng.choice(LABELS)
    found = {}
    for split in ("train", "dev", "test"):
        rows = texts(rng, 6)
        for place, row in enumerate(rows):
            row["label"] = names[place % len(names)]
        suffix = rng.choice((".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz"))
        (folder / f"{split}{suffix}").write_bytes(table_bytes(rows, suffix, rng))
        found[split] = expected_texts(rows)
    return found


def read_folder(folder: Path) -> object:
    """All splits of a folder."""
    return {
        split: [(record.text, data.classes[int(record.label or 0)]) for record in data]
        for split, data in resolve(folder).splits().items()
    }


def bag_rows(rng: random.Random) -> list[Row]:
    """One row per instance; bags of one to three."""
    rows = []
    for bag in range(rng.randint(2, 6)):
        rows += [
            {
                "bag": f"b{bag}",
                "label": ("neg", "pos")[bag % 2],
                "truth": rng.randint(0, 1),
                "f0": rng.randint(-8, 8) / 4,
                "f1": rng.randint(-8, 8) / 4,
            }
            for _ in range(rng.randint(1, 3))
        ]
    return rows


def expected_bags(rows: list[Row]) -> list[object]:
    """What `read_bags` must find."""
    found: list[object] = []
    for bag in dict.fromkeys(row["bag"] for row in rows):
        own = [row for row in rows if row["bag"] == bag]
        found.append(
            (
                bag,
                own[0]["label"],
                [sorted((row["f0"], row["f1"])) for row in own],
                [bool(row["truth"]) for row in own],
            )
        )
    return found


def read_bags(folder: Path) -> object:
    """Bags: id, label, features (in no order, as columns have none) and truth."""
    data = resolve(only_file(folder), "bags").data()
    return [
        (
            bag.id,
            None if bag.label is None else data.classes[int(bag.label)],
            [sorted(row) for row in bag.instances.tolist()],
            None if bag.truth is None else bag.truth.tolist(),
        )
        for bag in data
    ]


def bag_table(suffix: str) -> Reader:
    """Bags in a table."""

    def write(rng: random.Random, folder: Path) -> object:
        rows = bag_rows(rng)
        (folder / f"bags{suffix}").write_bytes(table_bytes(rows, suffix, rng))
        return expected_bags(rows)

    return Reader(write, read_bags)


def write_npz(rng: random.Random, folder: Path) -> object:
    """Bags in arrays."""
    rows = bag_rows(rng)
    arrays = {
        "instances": np.array([[row["f0"], row["f1"]] for row in rows], rng.choice(("f4", "f8"))),
        "bag": np.array([row["bag"] for row in rows]),
        "label": np.array([row["label"] for row in rows]),
        "truth": np.array([row["truth"] for row in rows], rng.choice(("i8", "?", "u1"))),
    }
    names = list(arrays)
    rng.shuffle(names)
    save = rng.choice((np.savez, np.savez_compressed))
    save(folder / "bags.npz", **{name: arrays[name] for name in names})
    return expected_bags(rows)


def pair_file(suffix: str) -> Reader:
    """Scored pairs in a table."""

    def write(rng: random.Random, folder: Path) -> object:
        rows = [
            {
                "sentence1": " ".join(("film", *rng.choices(WORDS, k=3))),
                "sentence2": " ".join(("plot", *rng.choices(WORDS, k=3))),
                "score": rng.randint(0, 50) / 10,
            }
            for _ in range(rng.randint(1, 8))
        ]
        (folder / f"pairs{suffix}").write_bytes(table_bytes(rows, suffix, rng))
        return [tuple(row.values()) for row in rows]

    def read(folder: Path) -> object:
        return [(pair.a, pair.b, pair.score) for pair in resolve(only_file(folder), "pairs").data()]

    return Reader(write, read)


def write_eraser(rng: random.Random, folder: Path) -> object:
    """Movie reviews as ERASER publishes them, with evidence as spans of tokens."""
    documents = folder / "movies" / "docs"
    documents.mkdir(parents=True)
    lines, found = [], []
    for place in range(6):
        tokens = rng.choices(("good", "bad", "film", ".", "plot"), k=rng.randint(3, 9))
        name = f"{place}.txt"
        (documents / name).write_text(" ".join(tokens), encoding="utf-8")
        start = rng.randrange(len(tokens))
        end = rng.randint(start + 1, len(tokens))
        part = {"docid": name, "start_token": start, "end_token": end}
        label = ("NEG", "POS")[place % 2]
        lines.append({"annotation_id": name, "classification": label, "evidences": [[part]]})
        truth = [start <= unit < end for unit in range(len(tokens))]
        found.append((tokens, ("negative", "positive")[place % 2], truth))
    for split in ("train", "val", "test"):
        text = "\n".join(map(json.dumps, lines)) + "\n"
        (folder / "movies" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return found


def read_eraser(folder: Path) -> object:
    """The test split: tokens, label, evidence."""
    data = load_data("eraser_movies", data_dir=folder)
    return [
        (
            list(record.units),
            data.classes[int(record.label or 0)],
            None if record.truth is None else list(record.truth),
        )
        for record in data
    ]


def write_settings(rng: random.Random, folder: Path) -> object:
    """Settings, some of them named."""
    given: Row = {
        "seed": rng.randint(0, 99),
        "confidence": rng.choice((0.9, 0.95)),
        "chunk": rng.randint(1, 500),
        "fractions": [0.1, 0.5],
        "bars": {"skill": rng.choice((0.2, 0.4))},
    }
    names = rng.sample(list(given), rng.randint(0, len(given)))
    given = {name: given[name] for name in names}
    (folder / "settings.json").write_text(json.dumps(given), encoding="utf-8")
    return Settings.model_validate(given).model_dump()


def write_model(rng: random.Random, folder: Path) -> object:
    """A small classifier, saved with the texts that it was trained on."""
    rows = [{**row, "label": ("neg", "pos")[place % 2]} for place, row in enumerate(texts(rng, 8))]
    splits = {name: load_data(rows, name="made") for name in ("train", "dev", "test")}
    torch.manual_seed(rng.randint(0, 99))
    config = ClassifierConfig(
        ("neg", "pos"), rng.choice(("bilstm", "cnn")), hidden=2, embedding_dim=2
    )
    vocabulary = Vocabulary(("good", "bad", "film"))
    model = TextClassifier(AttentionClassifier(config, len(vocabulary)), vocabulary, "made")
    model.save(folder)
    write_splits(folder, splits)
    return read_model(folder)


def read_model(folder: Path) -> object:
    """What a saved model says of two texts, and the texts that it keeps."""
    model = load(folder)
    probes = [text_record("a", "good bad film x"), text_record("b", "bad")]
    with torch.no_grad():
        said = model.forward(model.collate(probes)).double().numpy().round(6).tolist()
    seen = model.trained_on
    held_out = None if seen is None else read_held_out(seen, model.classes)
    kept = None if seen is None else (sorted(seen.train), sorted(seen.dev))
    rows = [] if held_out is None else [(r.units, r.label) for r in held_out]  # type: ignore[union-attr]
    return model.classes, said, kept, rows


READERS: dict[str, Reader] = {
    **{
        f"text{suffix}": text_file(suffix)
        for suffix in (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.gz")
    },
    "text folder": Reader(write_folder, read_folder),
    "bags.npz": Reader(write_npz, read_bags),
    **{f"bags{suffix}": bag_table(suffix) for suffix in (".csv", ".jsonl", ".parquet")},
    **{f"pairs{suffix}": pair_file(suffix) for suffix in (".tsv", ".jsonl")},
    "eraser": Reader(write_eraser, read_eraser),
    "settings": Reader(
        write_settings, lambda folder: read_settings(only_file(folder)).model_dump()
    ),
    "model": Reader(write_model, read_model, whole=True),
}
"""Readers of what lies on disk."""
