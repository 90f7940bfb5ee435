"""Many texts explained into a file, as each of them alone."""

from __future__ import annotations

import polars as pl
import pytest
from typer.testing import CliRunner

import attnaudit
from attnaudit.audits.explain import explain_records
from attnaudit.cli.app import app
from attnaudit.errors import SettingsError
from tests.small_models import saved_model

METHODS = ("weights", "leave_one_out", "gradient")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    model, data = saved_model(folder)
    return folder, model, data


def test_each_is_as_alone_and_in_the_order_of_the_data(place):
    _, model, data = place
    frame = explain_records(model, data.records, METHODS, budget=200)
    assert frame["id"].to_list() == [record.id for record in data]
    for row in (0, 7, 39):
        alone = attnaudit.explain(model, data.records[row], methods=METHODS)
        assert frame["predicted"][row] == alone.predicted
        for name in METHODS:
            own = frame[f"scores.{name}"][row].to_list()
            assert own == pytest.approx(alone.scores[name], abs=1e-5)


def test_a_file_from_the_command_line(place, tmp_path):
    folder, _, _ = place
    data = tmp_path / "texts.csv"
    data.write_text("text\na good film\nit was boring\n")
    for name in ("out.parquet", "out.jsonl"):
        out = tmp_path / name
        args = ["explain", str(folder / "model"), "--data", str(data), "--out", str(out)]
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, done.output
        assert "2 explained" in done.output
    frame = pl.read_parquet(tmp_path / "out.parquet")
    assert frame["units"].to_list()[0] == ["a", "good", "film"]
    assert frame.height == pl.read_ndjson(tmp_path / "out.jsonl").height == 2


def test_what_cannot_be_written_is_refused_before_any_work(place, tmp_path):
    folder, model, data = place
    args = ["explain", str(folder / "model"), "--out", str(tmp_path / "x.parquet")]
    assert "--data" in str(CliRunner().invoke(app, args).exception)
    with pytest.raises(SettingsError, match="no method is called"):
        explain_records(model, data.records, ("weightz",))
