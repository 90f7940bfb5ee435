"""Files made to exhaust memory, to hang or to break a reader: one clear error each, in bounds."""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import polars as pl
import pytest

from attnaudit.data.bags.arrays import save_bags
from attnaudit.data.bags.records import BagDataset, bag_record
from attnaudit.data.sources import unpacking
from attnaudit.data.sources.npz import read_npz
from attnaudit.data.sources.parquet import text_size, unpacked_size
from attnaudit.data.sources.resolve import load_data, resolve
from attnaudit.errors import DataError, ModelError, RunError, SettingsError
from attnaudit.findings.settings import read_settings
from attnaudit.models.ensemble import FORMAT, VERSION, member_folders
from attnaudit.models.load import load
from attnaudit.models.siamese.load import load_siamese
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.text.vectors import load_vectors
from attnaudit.nets.text.vocabulary import Vocabulary
from attnaudit.report.files import check_output
from attnaudit.runs.folders import check_run

DEEP = "[" * 200_000
ROWS = [{"text": "good film", "label": 1}, {"text": "bad film", "label": 0}]


def peak_of(call):
    """The most bytes that Python held during a call which must be refused, and the message."""
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, str(caught.value)


def npz_of(path, header, body=b""):
    """An .npz whose one array `instances` has this header, as it stands, and this content."""
    text = header.encode() + b"\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("instances.npy", npy)
    return path


# --- bombs --------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    size = 300 << 20
    with gzip.open(path, "wb", 1) as file:
        for _ in range(300):
            file.write(b"\n" * (1 << 20))
    peak, message = peak_of(lambda: load_data(path))
    assert str(path) in message
    assert "too large" in message
    assert unpacking.VARIABLE in message
    assert peak < size / 2


def test_a_parquet_file_of_repetitions_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"bag": ["a"], "label": [1], "f": [np.zeros(20_000_000)]}).write_parquet(path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=r"x\.parquet is too large"):
        resolve(path, "bags").data()
    pl.DataFrame({"text": ["good film " * 1000] * 10_000, "label": 1}).write_parquet(path)
    peak, message = peak_of(lambda: load_data(path))
    assert "too large" in message
    assert peak < 50_000_000


def test_the_size_of_a_parquet_file_is_that_of_its_columns():
    frame = pl.DataFrame({"a": range(1000), "b": ["xyz"] * 1000, "c": [[1.5, 2.5]] * 1000})
    for options in ({}, {"row_group_size": 100}, {"use_pyarrow": True}):
        out = io.BytesIO()
        frame.write_parquet(out, **options)
        # 8 bytes for each number, 16 for what stands for a text
        assert 40_000 <= unpacked_size(out.getvalue()) < 60_000
    assert [text_size(column) for column in frame] == [0, 3000, 0]


@pytest.mark.parametrize("cut", [0, 11, 40])
def test_a_damaged_parquet_footer(cut):
    out = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(out)
    raw = out.getvalue()
    with pytest.raises(ValueError, match=r"footer|begin"):
        unpacked_size(raw[:4] + raw[-8:] if cut == 11 else raw[:cut])


def test_an_npz_bomb_is_refused_by_its_directory(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(
        path, instances=np.zeros((9_000_000, 8), np.float32), bag=np.arange(2), label=np.arange(2)
    )
    peak, message = peak_of(lambda: resolve(path, "bags").data())
    assert "too large" in message
    assert peak < 20_000_000


def test_one_hot_rows_are_no_bomb(tmp_path):
    path = tmp_path / "x.npz"
    rows = np.zeros((6_000, 1_000), np.float32)
    rows[np.arange(6_000), np.arange(6_000) % 1_000] = 1
    np.savez_compressed(
        path,
        instances=rows,
        bag=np.repeat(np.arange(60), 100),
        label=np.repeat(np.arange(60) % 2, 100),
    )
    assert rows.nbytes > unpacking.most_bytes(path.stat().st_size)
    data = resolve(path, "bags").data()
    assert len(data) == 60
    assert sum(float(bag.instances.sum()) for bag in data) == pytest.approx(6_000)


def test_the_limit_can_be_raised_and_lowered(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl.gz"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    path.write_bytes(gzip.compress((lines + "\n" * (20 << 20)).encode()))
    with pytest.raises(DataError, match="too large"):
        load_data(path)
    monkeypatch.setenv(unpacking.VARIABLE, str(1 << 30))
    assert len(load_data(path)) == 2
    monkeypatch.setenv(unpacking.VARIABLE, "1000")
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        load_data(path)
    monkeypatch.setenv(unpacking.VARIABLE, "a lot")
    with pytest.raises(SettingsError, match="must be a number of bytes"):
        load_data(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.json.gz", "x.npz"])
def test_a_pipe_is_refused(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{name} cannot be read: not a regular file"):
        resolve(path, "bags" if name == "x.npz" else "texts").data()


def test_a_device_without_end_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="not a regular file"):
        load_data(path)
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=r"config\.json: not a regular file"):
        load(tmp_path)


def test_a_line_of_vectors_without_end(tmp_path):
    path = tmp_path / "v.vec.gz"
    path.write_bytes(gzip.compress(b"film 1 2\n" + b"9" * (50 << 20)))
    peak, message = peak_of(lambda: load_vectors(path, Vocabulary(("film",))))
    assert "line 2" in message
    assert peak < 20_000_000


def test_an_ensemble_of_too_many_members(tmp_path):
    header = {"format": FORMAT, "version": VERSION, "name": "x", "rule": "mean"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**header, "members": ["member-00"] * 20_000}))
    with pytest.raises(ModelError, match="20,000 members, more than the 1,000"):
        member_folders(tmp_path)
    (tmp_path / "member-00").symlink_to(tmp_path)
    config.write_text(json.dumps({**header, "members": ["member-00", "member-00"]}))
    with pytest.raises(ModelError, match="'member-00' is the ensemble itself"):
        load(tmp_path)


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.ndjson"])
def test_data_nested_without_end(tmp_path, name):
    path = tmp_path / name
    path.write_text(json.dumps(ROWS[0]) + '\n{"text": "a", "label": ' + DEEP)
    with pytest.raises(DataError, match=rf"{name}, line 2: not valid JSON: it is nested too deep"):
        load_data(path)


@pytest.mark.parametrize("column", ["truth", "allowed"])
def test_a_column_of_json_nested_without_end(column):
    rows = [{**row, "question": "which", column: DEEP} for row in ROWS]
    options = {"columns": {column: column, "question": "question"}}
    with pytest.raises(DataError, match=rf"row 1, column '{column}': .*nested too deeply"):
        load_data(rows, **options)


def test_values_nested_as_deep_as_json_allows(tmp_path):
    path = tmp_path / "x.jsonl"
    for column in ("text", "label", "id"):
        row = {**ROWS[0], "id": 1, column: 0}
        nested = json.dumps(row).replace(f'"{column}": 0', f'"{column}": {"[" * 900}{"]" * 900}')
        path.write_text(nested + "\n" + json.dumps({**ROWS[1], "id": 2}) + "\n")
        with pytest.raises(DataError, match=rf"line 1, column '{column}'"):
            load_data(path, columns={"id": "id"})


@pytest.mark.parametrize("content", [DEEP, '{"a": 1' + "0" * 5000 + "}", "{", "[]", "\udcff"])
def test_configurations_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=r"config\.json: not "):
        load(tmp_path)
    with pytest.raises(SettingsError, match=r"config\.json"):
        read_settings(path)


def test_a_vocabulary_nested_without_end_or_of_half_characters():
    with pytest.raises(DataError, match="nested too deeply"):
        Vocabulary.from_json(DEEP)
    with pytest.raises(DataError, match=r"word 0: .*half of a character"):
        Vocabulary.from_json('{"lowercase": true, "words": ["\\ud800"]}')


# --- .npz ---------------------------------------------------------------------------------------

HEADERS = {
    "terabytes": ("{'descr': '<f8', 'fortran_order': False, 'shape': (256000000000,), }", "shape"),
    "huge integers": (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 400 + ",), }",
        "shape|header",
    ),
    "negative": ("{'descr': '<f8', 'fortran_order': False, 'shape': (-8, 2), }", "shape|header"),
    "nested": ("[" * 9000, "cannot be read"),
    "objects": ("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "Python objects"),
    "no type": ("{'descr': 7, 'fortran_order': False, 'shape': (2,), }", "cannot be read"),
    "cut short": ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", "cannot be read"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_npz_headers_that_promise_what_is_not_there(tmp_path, case):
    header, message = HEADERS[case]
    path = npz_of(tmp_path / "x.npz", header)
    with pytest.raises(DataError, match=rf"x\.npz.*({message})"):
        resolve(path, "bags").data()


@pytest.mark.parametrize(
    ("flags", "method", "message"),
    [
        (1, 8, "'instances' is encrypted"),
        (0, 97, r"NumPy does not write \(number 97\)"),
        (32, 8, "cannot be read as .npz"),
        (0, 12, "NumPy does not write"),
    ],
)
def test_npz_files_that_are_encrypted_or_packed_by_another_method(tmp_path, flags, method, message):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, instances=np.zeros((2, 3)))
    raw = bytearray(path.read_bytes())
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.index(start) + at
        raw[place : place + 4] = struct.pack("<HH", flags, method)
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message):
        resolve(path, "bags").data()


@pytest.mark.parametrize("name", ["instances", "bag", "label", "classes", "features", "truth"])
def test_arrays_of_no_axis(tmp_path, name):
    arrays = {"instances": np.zeros((2, 3)), "bag": np.arange(2), "label": np.arange(2)}
    np.savez(tmp_path / "x.npz", **{**arrays, name: np.array(7)})
    with pytest.raises(DataError, match=rf"the array '{name}' has the shape \(\)"):
        resolve(tmp_path / "x.npz", "bags").data()


@pytest.mark.parametrize("name", ["X", "bag", "bag_label", "bag_name"])
def test_a_classic_set_with_arrays_of_no_axis(tmp_path, name):
    arrays = {
        "X": np.zeros((476, 166)),
        "bag": np.zeros(476, int),
        "bag_label": np.ones(92, int),
        "bag_name": np.arange(92),
    }
    np.savez(tmp_path / "musk1.npz", **{**arrays, name: np.array(7)})
    with pytest.raises(DataError, match=r"musk1\.npz"):
        resolve("musk1", "bags", data_dir=tmp_path).data()


def test_what_is_written_is_read(tmp_path):
    bags = tuple(bag_record(str(i), [[float(i), 1.0]], label=i % 2) for i in range(4))
    path = save_bags(BagDataset("demo", bags, ("no", "yes"), (2,)), tmp_path / "x.npz")
    assert resolve(path, "bags").data().classes == ("no", "yes")
    assert read_npz(path, ["label"])["label"].tolist() == ["no", "yes", "no", "yes"]


@pytest.mark.parametrize("name", ["slide.h5", "slide.pt"])
def test_clam_files_are_told_how_to_become_npz(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    for place in (tmp_path / name, tmp_path):
        with pytest.raises(DataError, match=r"CLAM .* into one \.npz .*`features` and `coords`"):
            resolve(place, "bags").data()


@pytest.mark.parametrize("read", [load, load_siamese, load_transformer])
def test_a_model_named_by_a_file_or_by_a_whole_text(tmp_path, monkeypatch, read):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = tmp_path / "model.csv"
    path.write_text("text,label\n")
    with pytest.raises(ModelError, match=r"a file, not a folder"):
        read(str(path))
    with pytest.raises(ModelError, match=r"no such folder|neither a folder|was not fetched"):
        read("a text given by mistake " * 99)


def test_a_place_whose_name_is_too_long_is_refused(tmp_path):
    place = tmp_path / ("x" * 400)
    with pytest.raises(RunError, match="name is too long"):
        check_run(place, "audit")
    with pytest.raises(RunError, match="name is too long"):
        check_output(place, "--json")
