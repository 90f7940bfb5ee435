"""Bags from a name, a file, a folder or a frame: one data set, or train, dev and test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from attnaudit.data.bags.generated import generate_bag_splits, generate_bags
from attnaudit.data.bags.modalities import MODALITIES
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.rules import RULES
from attnaudit.data.bags.sets import BAG_SETS
from attnaudit.data.bags.sources import CLAM, CLAM_RECIPE, load_bags
from attnaudit.data.bags.splits import split_bags
from attnaudit.data.build import check_limit, draw
from attnaudit.data.sources.files import path_exists
from attnaudit.data.sources.folders import split_name
from attnaudit.data.sources.resolve import Source, folder_note, read_source
from attnaudit.data.splits import SPLITS
from attnaudit.errors import DataError, SettingsError

DEV_SHARE = 0.15
"""Of the training bags, where there are no bags for development."""
GENERATED = tuple(f"{rule}-{modality}" for rule in RULES for modality in MODALITIES)
"""The names of generated data: what makes a bag positive, and what its instances are."""
SIZES = {"train": 200, "dev": 100, "test": 500}
"""Bags of a generated split."""


def load_bag_data(source: Source, *, split: str | None = None, **options: Any) -> BagDataset:
    """One data set of bags: a generated one by its name, or what `load_bags` reads.

    Args:
        source: A name of `GENERATED`, or as in `load_bags`; a folder gives one of its files.
        split: `train`, `dev` or `test`; test by default, where there are splits.
        **options: Those of `load_bags`; of `generate_bags` for generated data.

    Raises:
        DataError: The source cannot be used.
        SettingsError: An option that means nothing here.

    Example:
        >>> load_bag_data("presence-gaussian", n_bags=4).name
        'presence-gaussian'
    """
    if _means_generated(source):
        options.pop("classes", None)
        rule, modality = source.rsplit("-", 1)
        part = split_name(split or "test")
        if part not in SPLITS:
            raise SettingsError(f"split is {split!r}; generated bags have {', '.join(SPLITS)}")
        n_bags = options.pop("n_bags", SIZES[part])
        return generate_bags(rule, modality, n_bags, split=part, **_generating(options, modality))
    _check_name(source)
    files = _folder(source)
    if files:
        part = split_name(split or "test")
        if part not in files:
            raise DataError(f"{source} has no split {part!r}; it has {', '.join(sorted(files))}")
        return _told(replace(load_bags(files[part], **options), split=part), source)
    if split is None and _has_splits(source):
        split = "test"
    return load_bags(source, split=split, **options)


def load_bag_splits(
    source: Source, *, limit: int | None = None, seed: int = 0, **options: Any
) -> dict[str, BagDataset]:
    """Train, dev and test of a source, with the classes of train in each.

    A folder has one file a split (`train.npz`, `test.parquet`, …), a table a column `split`.
    Without splits the bags are cut 80 : 10 : 10; where dev is missing, 15 % of train becomes it.

    Args:
        source: As in `load_bag_data`.
        limit: At most so many bags in each split, drawn at random; the size of generated splits.
        seed: Of the cut, the limit and what is generated.
        **options: Those of `load_bags`, except `split`; `n_train`, `n_dev`, `n_test` and others of
            `generate_bag_splits` for generated data.

    Raises:
        DataError: The source cannot be used, has no train split, or too few bags.
        SettingsError: An option that means nothing here.

    Example:
        >>> splits = load_bag_splits("presence-digits", limit=20)
        >>> {name: len(part) for name, part in splits.items()}
        {'train': 20, 'dev': 20, 'test': 20}
    """
    check_limit(limit)
    if _means_generated(source):
        rule, modality = source.rsplit("-", 1)
        sizes = {f"n_{name}": min(limit or size, size) for name, size in SIZES.items()}
        return generate_bag_splits(
            rule, modality, **{**sizes, "seed": seed, **_generating(options, modality)}
        )
    _check_name(source)
    files = _folder(source)
    if files:
        parts = _of_files(source, files, options)
    elif _has_splits(source):
        parts = _of_table(source, options)
    else:
        parts = split_bags(load_bags(source, **options), seed=seed)
    train = parts["train"]
    parts = {
        name: _with_classes(part, train).in_order_of(train.features) for name, part in parts.items()
    }
    parts = {name: _with_overlap(part, train) for name, part in parts.items()}
    if "dev" not in parts:
        cut = split_bags(train, (1 - DEV_SHARE, DEV_SHARE, 0), seed)
        parts |= {"train": cut["train"], "dev": cut["dev"]}
    if "test" not in parts:
        cut = split_bags(parts["train"], (1 - DEV_SHARE, 0, DEV_SHARE), seed)
        parts |= {"train": cut["train"], "test": cut["test"]}
    return {name: draw(_told(parts[name], source), limit, seed) for name in SPLITS}


def _means_generated(source: Source) -> TypeGuard[str]:
    """Whether a source is generated data, and not a folder here of the same name."""
    return isinstance(source, str) and source in GENERATED and not Path(source).is_dir()


def _told(data: BagDataset, source: Source) -> BagDataset:
    """The data with a note where a folder was read that is called as generated data are."""
    known = isinstance(source, str) and source in GENERATED
    return data.noted(folder_note(str(source))) if known else data


def _generating(options: dict[str, Any], modality: str) -> dict[str, Any]:
    """Options of a generator, without those that only say how files are read and are not set."""
    known = {key: value for key, value in options.items() if value is not None}
    for name in (
        "label_column",
        "bag_column",
        "truth_column",
        "key_type_column",
        "feature_columns",
        "coordinate_columns",
    ):
        if name in known:
            raise SettingsError(f"generated bags are not read: leave out {name}=")
    if "data_dir" in known:
        if modality != "mnist":
            raise SettingsError(f"{modality} is generated: leave out data_dir= (--data-dir)")
        known["folder"] = known.pop("data_dir")
    return known


def _check_name(source: Source) -> None:
    """Say which names there are, where a string is neither a file nor one of them."""
    if isinstance(source, str) and source not in BAG_SETS and not path_exists(source):
        raise DataError(
            f"{source!r}: there is no such file, folder or classic set. Generated bags are called "
            f"RULE-MODALITY: {', '.join(RULES)}; {', '.join(MODALITIES)}"
        )


def _folder(source: Source) -> dict[str, Path]:
    """The files of a folder by the name of their split; empty where the source is no folder."""
    if not isinstance(source, str | Path) or str(source) in BAG_SETS or not path_exists(source):
        return {}
    folder = Path(source)
    if not folder.is_dir():
        return {}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = split_name(path.name.partition(".")[0])
        if path.is_file() and name in SPLITS:
            if name in files:
                raise DataError(
                    f"{folder} holds two files of the split {name}: {files[name].name} and "
                    f"{path.name}; move one away"
                )
            files[name] = path
    if not files and any(path.suffix.lower() in CLAM for path in folder.iterdir()):
        raise DataError(f"{folder}: {CLAM_RECIPE}")
    if not files:
        raise DataError(
            f"{folder} holds no file of a split (train.npz, dev.npz, test.npz, or tables of these "
            "names); name a file, or put one there"
        )
    return files


def _has_splits(source: Source) -> bool:
    """Whether the source is a table with a column `split`."""
    if isinstance(source, str | Path):
        path = Path(source)
        if str(source) in BAG_SETS or not path_exists(path):
            return False
        if path.suffix.lower() in (".npz", *CLAM):
            return False
    elif hasattr(source, "obs"):
        return False
    return "split" in read_source(source, None)[0].columns


def _of_files(
    source: Source, files: dict[str, Path], options: dict[str, Any]
) -> dict[str, BagDataset]:
    """The files of a folder, train first: its classes are those of all."""
    if "train" not in files:
        raise DataError(f"{source} has no train split; it has {', '.join(sorted(files))}")
    train = replace(load_bags(files["train"], **options), split="train")
    known = _known(train, options)
    others = {
        name: replace(load_bags(files[name], **known), split=name)
        for name in SPLITS[1:]
        if name in files
    }
    return {"train": train, **others}


def _of_table(source: Source, options: dict[str, Any]) -> dict[str, BagDataset]:
    """The splits of a table by its column `split`, train first."""
    table = read_source(source, None)[0]
    bag_column = options.get("bag_column") or "bag"
    found = [split_name(str(value)) for value in table.column("split", "split")]
    strange = sorted(set(found) - set(SPLITS))
    if strange:
        raise DataError(
            f"{table.name}: the column 'split' holds {strange[0]!r}; it may hold train, dev and "
            "test. Rename it, or leave such rows out"
        )
    if "train" not in found:
        raise DataError(f"{table.name} has no train split; it has {', '.join(sorted(set(found)))}")
    first: dict[Any, str] = {}
    for row, bag in enumerate(table.column(bag_column, "bag")):
        if first.setdefault(bag, found[row]) != found[row]:
            raise DataError(
                f"{table.place(row)}: bag {bag!r} has rows of the splits {first[bag]} and "
                f"{found[row]}; a bag is never divided, or training would see what it is tested on"
            )
    train = load_bags(source, split="train", **options)
    known = _known(train, options)
    others = {name: load_bags(source, split=name, **known) for name in SPLITS[1:] if name in found}
    return {"train": train, **others}


def _known(train: BagDataset, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the classes of train, so that a split may lack one."""
    given = options.get("classes") is not None or not train.classes
    return options if given else {**options, "classes": train.classes}


def _with_overlap(part: BagDataset, train: BagDataset) -> BagDataset:
    """The split with a note where bags of train occur in it."""
    if part.split == "train":
        return part
    seen = {bag.instances.numpy().tobytes() for bag in train}
    both = sum(bag.instances.numpy().tobytes() in seen for bag in part)
    if not both:
        return part
    return part.noted(f"{part.split}: {both} of {len(part)} bags are in train too")


def _with_classes(part: BagDataset, train: BagDataset) -> BagDataset:
    """The split with labels numbered as in train."""
    if part.classes == train.classes:
        return part
    unknown = sorted(set(part.classes) - set(train.classes))
    if unknown:
        raise DataError(f"{part.name}: {part.split} has the class {unknown[0]!r}, and train not")
    index = [train.classes.index(name) for name in part.classes]
    labels = [None if bag.label is None else index[int(bag.label)] for bag in part]
    return part.relabelled(labels, train.classes)
