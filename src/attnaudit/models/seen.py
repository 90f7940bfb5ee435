"""Which texts a model was trained on, beside the model: so that an audit can leave them out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from attnaudit.data.bags.arrays import save_bags
from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.data.kinds import AnyDataset, Record, Records
from attnaudit.data.reading import ROLES
from attnaudit.data.records import Dataset, TextPair
from attnaudit.data.sources.files import BAG_SUFFIXES, read_file
from attnaudit.data.sources.resolve import Source, resolve
from attnaudit.errors import ModelError
from attnaudit.files import read_json, write_whole
from attnaudit.manifest import known_manifest, seal
from attnaudit.nets.checkpoint import HELD_OUT

SPLITS_FILE, (TEST_FILE, TEST_BAGS) = "splits.json", HELD_OUT
FORMAT, VERSION = "attnaudit-splits", 1
DIGEST = 8
"""Bytes of a text's hash: among a million texts, a new one is mistaken once in 10¹³ times."""


@dataclass(frozen=True)
class SeenTexts:
    """The texts that a model was trained on, or chosen by, as short hashes.

    Attributes:
        train: Hashes of the texts of train.
        dev: Hashes of the texts of dev, by which the epoch was chosen.
        data: What the data are called.
        test: The file of the split that was held out, or None.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> old, new = text_record("a", "good film"), text_record("b", "bad film")
        >>> seen = seen_texts({"train": Dataset("demo", (old,), ("neg", "pos"))})
        >>> text_record("c", "good  film") in seen, new in seen
        (True, False)
    """

    train: frozenset[str]
    dev: frozenset[str]
    data: str = ""
    test: Path | None = None

    def __contains__(self, record: Record) -> bool:
        """Whether what a model reads of a record is what it read of one that was seen."""
        key = text_hash(record)
        return key in self.train or key in self.dev


def text_hash(record: Record) -> str:
    """A hash of what a model reads of a record: its units, and its question if it has one.

    Of a bag, its instances, in whatever order they stand.
    """
    if isinstance(record, Bag):
        rows = sorted(row.tobytes() for row in record.instances.numpy())
        return blake2b(b"".join(rows), digest_size=DIGEST).hexdigest()
    question = record.question_units if isinstance(record, TextPair) else ()
    content = "\x1e".join("\x1f".join(part) for part in (record.units, question))
    return blake2b(content.encode(), digest_size=DIGEST).hexdigest()


def seen_texts(splits: Mapping[str, AnyDataset]) -> SeenTexts:
    """What a model that is trained on these splits has seen."""
    train, dev = (frozenset(map(text_hash, splits.get(name, ()))) for name in ("train", "dev"))
    return SeenTexts(train, dev, next((data.name for data in splits.values()), ""))


def write_splits(folder: str | Path, splits: Mapping[str, AnyDataset]) -> SeenTexts:
    """Write into a saved model's folder which texts it has seen, and the split held out.

    `splits.json` holds hashes and no text. `test.jsonl` (bags: `test.npz`) holds the split `test`,
    if there is one: leave it out where the model goes and the data must not.

    Raises:
        ModelError: The folder cannot be written.
    """
    folder, seen = Path(folder), seen_texts(splits)
    test = splits.get("test")
    file = TEST_BAGS if isinstance(test, BagDataset) else TEST_FILE
    header = {
        "format": FORMAT,
        "version": VERSION,
        "data": seen.data,
        "model": _digest(folder),
        "test": file if test else None,
        "train": sorted(seen.train),
        "dev": sorted(seen.dev),
    }
    try:
        for name in HELD_OUT:
            (folder / name).unlink(missing_ok=True)
        if isinstance(test, BagDataset):
            save_bags(_uniform(test), folder / TEST_BAGS)
        elif isinstance(test, Dataset) and len(test):
            write_whole(folder / TEST_FILE, "".join(f"{x}\n" for x in _lines(test)).encode())
        write_whole(folder / SPLITS_FILE, json.dumps(header).encode())
        if known_manifest(folder).kind:
            seal(folder, "model", (SPLITS_FILE, *HELD_OUT))
    except OSError as error:
        raise ModelError(f"{folder}: the splits cannot be written ({error})") from error
    return replace(seen, test=folder / file if test else None)


def read_splits(folder: str | Path) -> SeenTexts | None:
    """What the model in a folder has seen; None where the folder does not say.

    Raises:
        ModelError: The file is damaged, of another version, or about other parameters.
    """
    folder = Path(folder)
    path = folder / SPLITS_FILE
    if not path.exists():
        return None
    mend = "Train the model again, or remove the file: texts it was trained on are then not known"
    try:
        found: Any = read_json(path)
        if (found["format"], found["version"]) != (FORMAT, VERSION):
            raise ModelError(
                f"{path}: format {found['format']!r}, version {found['version']!r} is unknown; "
                f"this attnaudit reads {FORMAT!r}, version {VERSION}. {mend}"
            )
        seen = SeenTexts(
            frozenset(found["train"]),
            frozenset(found["dev"]),
            str(found["data"]),
            folder / {TEST_FILE: TEST_FILE, TEST_BAGS: TEST_BAGS}[found["test"]]
            if found["test"]
            else None,
        )
        model = found["model"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} is damaged ({error}). {mend}") from error
    if model != _digest(folder):
        raise ModelError(
            f"{path} tells of another model than the one that is saved here now. {mend}"
        )
    return seen


def read_held_out(seen: SeenTexts, classes: tuple[str, ...]) -> AnyDataset | None:
    """The split that was held out when the model was trained; None where there is none.

    Raises:
        DataError: The file is gone or damaged.
    """
    if seen.test is None:
        return None
    table = read_file(seen.test, BAG_SUFFIXES)
    kind: Records = "bags" if seen.test.name == TEST_BAGS else "texts"
    columns = {role: role if role in table.columns else None for role in ROLES[kind]}
    options: dict[str, Any] = {"columns": columns, "classes": classes, "name": seen.data}
    if kind == "texts":
        options |= {"drop_unlabelled": True, "drop_empty": True}
    source: Source[Any] = resolve(table, kind, **options)
    data: AnyDataset = source.data()
    return data.select(data.records, "test")


def _uniform(data: BagDataset) -> BagDataset:
    """The bags without what only some of them have, since one array holds that of all."""
    columns = ("label", "truth", "key_types", "coordinates", "names")
    partly = [
        column
        for column in columns
        if 0 < sum(getattr(bag, column) is None for bag in data) < len(data)
    ]
    if not partly:
        return data
    without: dict[str, Any] = dict.fromkeys(partly)
    return data.select([replace(bag, **without) for bag in data])


def _lines(data: Dataset) -> Iterable[str]:
    """Records as JSON, under the names that `load_data` looks for; texts as lists of units."""
    labelled = any(record.label is not None for record in data)
    for record in data:
        row: dict[str, Any] = {"id": record.id, "text": record.units}
        if labelled:
            row["label"] = None if record.label is None else data.classes[record.label]
        if data.has_truth:
            row["truth"] = None if record.truth is None else [int(flag) for flag in record.truth]
        if isinstance(record, TextPair):
            row["question"] = record.question_units
            allowed = record.allowed
            row["allowed"] = None if allowed is None else [data.classes[i] for i in allowed]
        yield json.dumps(row, ensure_ascii=False)


def _digest(folder: Path) -> str:
    """A hash of the parameters in a folder, so that a file about others is noticed."""
    digest = blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
