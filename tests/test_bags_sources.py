"""Bags from files, tables, AnnData-like objects and the classic sets; errors name the place."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.sparse import csr_matrix

from attnaudit.data.bags.arrays import save_bags
from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.bags.sets import BAG_SETS
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import DataError, SettingsError
from tests.shared import shared_dir

ROWS = [
    {"bag": "b", "label": "yes", "f1": 1.5, "f2": 2.0, "truth": 1, "key_type": 2, "x": 3, "y": 4},
    {"bag": "a", "label": "no", "f1": -1.0, "f2": 0.5, "truth": 0, "key_type": 0, "x": 0, "y": 0},
    {"bag": "b", "label": "yes", "f1": 0.25, "f2": 7.0, "truth": 0, "key_type": 0, "x": 1, "y": 2},
]
ARRAYS = {
    "instances": np.array([[1.5, 2.0], [-1.0, 0.5], [0.25, 7.0]]),
    "bag": np.array(["b", "a", "b"]),
    "label": np.array(["yes", "no", "yes"]),
    "truth": np.array([1, 0, 0]),
    "key_type": np.array([2, 0, 0]),
    "coordinates": np.array([[3, 4], [0, 0], [1, 2]]),
}


def rows_with(row, **changes):
    return [{**values, **(changes if place == row else {})} for place, values in enumerate(ROWS)]


def same(a, b):
    return a.fingerprint == b.fingerprint


@pytest.fixture
def expected():
    bags = (
        bag_record("b", [[1.5, 2], [0.25, 7]], 1, [1, 0], [2, 0], [[3, 4], [1, 2]]),
        bag_record("a", [[-1, 0.5]], 0, [0], [0], [[0, 0]]),
    )
    return BagDataset("demo", bags, ("no", "yes"), (2,))


@pytest.mark.parametrize(
    "form", ["csv", "tsv", "jsonl", "parquet", "polars", "pandas", "list", "npz"]
)
def test_every_source_gives_the_same_bags(form, tmp_path, expected):
    frame, path = pl.DataFrame(ROWS), tmp_path / f"bags.{form}"
    write = {
        "csv": lambda: frame.write_csv(path),
        "tsv": lambda: frame.write_csv(path, separator="\t"),
        "jsonl": lambda: frame.write_ndjson(path),
        "parquet": lambda: frame.write_parquet(path),
        "npz": lambda: np.savez(path, **ARRAYS),
    }
    sources = {"polars": frame, "pandas": pd.DataFrame(ROWS), "list": ROWS}
    if form in write:
        write[form]()
    data = resolve(sources.get(form, path), "bags").data()
    assert same(data, expected)
    assert data.name == {"polars": "data frame", "pandas": "data frame", "list": "records"}.get(
        form, "bags"
    )


class Annotated:
    """What AnnData has that is used here."""

    def __init__(self, X, obs, var_names=("f1", "f2")):
        self.X, self.obs, self.var_names = X, obs, list(var_names)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_an_object_like_anndata(kind, expected):
    frame = pd.DataFrame(ROWS, index=["c1", "c2", "c3"]).rename(
        columns={"bag": "patient", "label": "response", "truth": "tumour", "key_type": "kind"}
    )
    cells = Annotated(kind(frame[["f1", "f2"]].to_numpy()), frame.drop(columns=["f1", "f2"]))
    data = resolve(
        cells,
        "bags",
        columns={"bag": "patient", "label": "response", "truth": "tumour", "key_type": "kind"},
    ).data()
    assert data.bags[0].names == ("c1", "c3")
    plain = [
        bag_record(b.id, b.instances, b.label, b.truth, b.key_types, b.coordinates) for b in data
    ]
    assert same(data.select(plain), expected)
    one = resolve(
        cells, "bags", columns={"bag": "patient", "label": None, "features": ["f2"]}
    ).data()
    assert one.bags[0].instances.tolist() == [[2.0], [7.0]]
    assert one.bags[0].label is None
    with pytest.raises(DataError, match="X has no column 'f9'; its columns are: 'f1', 'f2'"):
        resolve(cells, "bags", columns={"bag": "patient", "label": None, "features": ["f9"]}).data()
    with pytest.raises(DataError, match=r"X has the shape \(1, 2\), and obs has 3 rows"):
        resolve(
            Annotated(cells.X[:1], cells.obs), "bags", columns={"bag": "patient", "label": None}
        ).data()
    with pytest.raises(DataError, match="no split 'test'"):
        resolve(cells, "bags", split="test").data()


def test_a_frame_with_columns_called_x_and_obs_is_a_frame():
    frame = pd.DataFrame(
        {"bag": [1, 1, 2], "label": [0, 0, 1], "X": [1.0, 2, 3], "obs": [4.0, 5, 6]}
    )
    assert resolve(frame, "bags").data().bags[0].instances.tolist() == [[1, 4], [2, 5]]


def test_columns_can_be_named_and_those_that_mean_something_are_no_features():
    rows = [{**row, "split": "test", "name": f"cell {place}"} for place, row in enumerate(ROWS)]
    data = resolve(rows, "bags", name="mine").data()
    assert (data.shape, data.name, data.bags[0].names) == ((2,), "mine", ("cell 0", "cell 2"))
    # x and y are features where they are asked for, and a label never is by accident.
    data = resolve(rows, "bags", columns={"features": ["x", "y"], "label": None}).data()
    assert data.bags[0].instances.tolist() == [[3, 4], [1, 2]]
    assert data.bags[0].coordinates is None
    assert resolve(rows, "bags", columns={"label": None}).data().shape == (2,)
    assert len(resolve(rows, "bags", split="test").data()) == 2
    with pytest.raises(DataError, match="no split 'train'"):
        resolve(rows, "bags", split="train").data()


def test_a_column_of_lists_is_a_vector_of_features():
    rows = [{"bag": n // 2, "label": n // 2, "vector": [n, n + 1, n + 2]} for n in range(4)]
    data = resolve(pl.DataFrame(rows), "bags").data()
    assert data.bags[1].instances.tolist() == [[2, 3, 4], [3, 4, 5]]
    rows[3]["vector"] = [1, 2]
    with pytest.raises(DataError, match="row 4, column 'vector': expected a list of 3 numbers"):
        resolve(rows, "bags").data()


def test_labels_are_classes_or_quantities():
    rows = [{"bag": n // 2, "label": n // 2, "f": 0.0} for n in range(6)]
    data = resolve(rows, "bags").data()
    assert (data.classes, [bag.label for bag in data]) == (("0", "1", "2"), [0, 1, 2])
    data = resolve(rows, "bags", classes=["low", "middle", "high"]).data()
    assert data.class_counts == {"low": 1, "middle": 1, "high": 1}
    data = resolve(rows, "bags", regression=True).data()
    assert (data.classes, [bag.label for bag in data]) == ((), [0.0, 1.0, 2.0])
    assert all(isinstance(bag.label, float) for bag in data)
    with pytest.raises(DataError, match="row 5, column 'label': 'x' is no finite number"):
        resolve([*rows[:4], {"bag": 2, "label": "x", "f": 0}], "bags", regression=True).data()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            rows_with(2, label="no"),
            {},
            "row 3, column 'label': bag 'b' has the label 'no' here and 'yes' in the list, row 1",
        ),
        (rows_with(1, label=None), {}, "row 2, column 'label': the label is missing"),
        (rows_with(2, label=None), {}, "row 3, column 'label': bag 'b' has the label None"),
        (rows_with(1, bag=None), {}, "row 2, column 'bag': the bag is missing"),
        (rows_with(1, f2=None), {}, "row 2, column 'f2': nan cannot be used"),
        (rows_with(1, f2=float("inf")), {}, "row 2, column 'f2': inf cannot be used"),
        (rows_with(1, f2=1e300), {}, "row 2, column 'f2': 1e.300 cannot be used"),
        (rows_with(2, f1="red"), {}, "row 3, column 'f1': 'red' is no number"),
        (rows_with(0, truth=2), {}, "row 1, column 'truth': 2 cannot be used; give 0 or 1"),
        (rows_with(0, key_type="T"), {}, "row 1, column 'key_type': 'T' cannot be used"),
        (rows_with(0, key_type=-1), {}, "row 1, column 'key_type': -1 cannot be used"),
        (rows_with(0, key_type=0), {}, "column 'key_type': the key type is 0 and the truth 1"),
        (rows_with(0, x=None), {}, "row 1, column 'x' or 'y': the coordinate is missing"),
        (ROWS, {"columns": {"bag": "slide"}}, "no column 'slide' for the bag"),
        (ROWS, {"columns": {"label": "grade"}}, "no column 'grade' for the label"),
        (ROWS, {"columns": {"truth": "key"}}, "no column 'key' for the truth"),
        (ROWS, {"columns": {"features": ["f3"]}}, "no column 'f3' for the features"),
        (ROWS, {"classes": ["a", "b"]}, "'yes' is not one of the classes"),
        ([{"bag": 1, "label": 1}, {"bag": 2, "label": 0}], {}, "has no column of features"),
    ],
)
def test_messages_name_the_row_and_the_column(rows, options, message):
    with pytest.raises(DataError, match=message):
        resolve(rows, "bags", **options).data()


def test_a_csv_counts_its_header(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("bag,label,f\na,1,0.5\na,0,0.5\nb,0,oops\n")
    with pytest.raises(DataError, match=r"cells\.csv, row 4, column 'f': 'oops' is no number"):
        resolve(path, "bags").data()
    path.write_text("bag,label,f\na,1,0.5\na,0,0.5\nb,0,1\n")
    with pytest.raises(
        DataError, match=r"cells\.csv, row 3, column 'label': bag 'a' has the label"
    ):
        resolve(path, "bags").data()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights": np.ones(3)},
            "unknown array 'weights'. Bags are read from: 'instances', 'bag'",
        ),
        ({"bag": None}, "has no array 'bag'; it has: 'instances', 'label'"),
        ({"label": np.array([1, 0])}, r"the array 'label' has the shape \(2,\), for 3 instances"),
        ({"label": np.array([1, 0, 0])}, "bag 'b' has the label '0' here and '1' in .*instance 0"),
        ({"instances": np.ones(3)}, r"the instances have the shape \(3,\)"),
        (
            {"instances": np.full((3, 2, 2), np.nan)},
            r"instance 0, column 'instances\[…, 0, 0\]': nan",
        ),
        ({"instances": np.array([["a"]] * 3)}, "the instances are no numbers"),
        ({"coordinates": np.ones((3, 3))}, "coordinates are two numbers for each instance"),
        ({"bag": np.array(["b", "a", None], dtype=object)}, "the array 'bag' holds Python objects"),
    ],
)
def test_npz_files_that_cannot_be_used(change, message, tmp_path):
    arrays = {name: array for name, array in {**ARRAYS, **change}.items() if array is not None}
    path = tmp_path / "bags.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        resolve(path, "bags").data()


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "bags.npz"
    for content, message in (
        (b"PK\x03\x04 cut", "cannot be read as .npz"),
        (b"", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            resolve(path, "bags").data()
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataError, match="a single array"):
        resolve(path, "bags").data()
    with pytest.raises(DataError, match=r"no file or folder '.*none\.npz'"):
        resolve(tmp_path / "none.npz", "bags").data()
    with pytest.raises(
        DataError, match=r"no file or folder 'musk3'\. Did you mean 'musk.*sets are: 'musk1'"
    ):
        resolve("musk3", "bags").data()
    with pytest.raises(SettingsError, match=r"data_dir= \(--data-dir\) goes with a classic set"):
        resolve(ROWS, "bags", data_dir=tmp_path).data()
    np.savez(path, **ARRAYS)
    with pytest.raises(DataError, match="no column 'slide' for the bag"):
        resolve(path, "bags", columns={"bag": "slide"}).data()
    with pytest.raises(SettingsError, match="two names"):
        resolve(ROWS, "bags", columns={"coordinates": ["x"]}).data()


@pytest.mark.parametrize(
    ("rule", "modality"), [("T3", "digits"), ("T8", "motifs"), ("T1", "gaussian")]
)
def test_generated_bags_survive_the_round_trip_as_npz(rule, modality, tmp_path):
    data = generate_bags(rule, modality, 12, seed=5)
    again = resolve(save_bags(data, tmp_path / "bags.npz"), "bags").data()
    assert same(again, data)
    unlabelled = resolve(tmp_path / "bags.npz", "bags", columns={"label": None}).data()
    assert {bag.label for bag in unlabelled} == {None}


def test_generated_bags_survive_the_round_trip_as_parquet(tmp_path):
    data = generate_bags("conjunction", "gaussian", 12, seed=5)
    rows = [
        {
            "bag": bag.id,
            "label": data.classes[bag.label],
            "truth": bool(flag),
            "key_type": int(kind),
        }
        | {f"f{place}": value for place, value in enumerate(values)}
        for bag in data
        for values, flag, kind in zip(bag.instances.tolist(), bag.truth, bag.key_types, strict=True)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "bags.parquet")
    assert same(resolve(tmp_path / "bags.parquet", "bags").data(), data)


def test_saving_what_only_some_bags_have_is_refused(tmp_path):
    bags = (bag_record("a", [[1]], 0, [1]), bag_record("b", [[1]], 1))
    with pytest.raises(DataError, match="bag 'b' has no truth, and others have"):
        save_bags(BagDataset("demo", bags, ("no", "yes"), (1,)), tmp_path / "bags.npz")
    numbers = (bag_record("a", [[1]], 0.5), bag_record("b", [[1], [2]], 1.5))
    data = BagDataset("demo", numbers, (), (1,))
    assert same(resolve(save_bags(data, tmp_path / "q.npz"), "bags", regression=True).data(), data)
    with pytest.raises(DataError, match="cannot be written"):
        save_bags(data, tmp_path / "no folder" / "bags.npz")


@pytest.mark.parametrize("name", sorted(BAG_SETS))
def test_the_classic_sets_have_their_published_sizes(name):
    folder = shared_dir("data/mil")
    if not (folder / f"{name}.npz").exists():
        pytest.skip(f"{name}.npz is not among the real data")
    data, entry = resolve(name, "bags", data_dir=folder).data(), BAG_SETS[name]
    published = {
        "musk1": (92, 476, 47, 166),
        "musk2": (102, 6598, 39, 166),
        "fox": (200, 1320, 100, 230),
        "elephant": (200, 1391, 100, 230),
        "tiger": (200, 1220, 100, 230),
    }[name]
    counts = data.class_counts
    assert (len(data), sum(map(len, data)), counts[entry.classes[1]], *data.shape) == published
    assert not data.has_truth
    with np.load(folder / f"{name}.npz") as file:
        last = file["bag"].max()
        np.testing.assert_array_equal(data.bags[last].instances, file["X"][file["bag"] == last])
        assert data.bags[last].id == str(file["bag_name"][last])


def test_a_classic_set_under_the_name_of_another_is_noticed(tmp_path):
    np.savez(
        tmp_path / "musk1.npz",
        X=np.zeros((6598, 166)),
        bag=np.arange(6598) % 102,
        bag_label=(np.arange(102) < 39).astype(int),
    )
    with pytest.raises(DataError, match=r"102 bags, 39 positive, 6598 .*musk1 has 92 bags"):
        resolve("musk1", "bags", data_dir=tmp_path).data()
    (tmp_path / "musk1.npz").rename(tmp_path / "musk2.npz")
    assert resolve("musk2", "bags", data_dir=tmp_path).data().class_counts == {
        "no musk": 63,
        "musk": 39,
    }
    with pytest.raises(SettingsError, match="data_dir="):
        resolve("musk2", "bags").data()
    with pytest.raises(DataError, match=r"tiger\.npz is not there"):
        resolve("tiger", "bags", data_dir=tmp_path).data()
    with pytest.raises(DataError, match="no split 'test'"):
        resolve("musk2", "bags", data_dir=tmp_path, split="test").data()


def test_a_source_of_no_kind_is_refused():
    with pytest.raises(DataError, match="cannot read data from SimpleNamespace"):
        resolve(SimpleNamespace(), "bags").data()
    assert torch.is_tensor(resolve(ROWS, "bags").data().bags[0].instances)
