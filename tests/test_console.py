"""Texts of data in the terminal: they steer nothing, and nothing in them is markup."""

from __future__ import annotations

import inspect
import io
import json
import re
import unicodedata
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.columns import Columns
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from attnaudit.cli.app import COMMANDS
from attnaudit.cli.doctor import doctor
from attnaudit.console import Plain, harmless, printable_json, visible
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.terminal import run

HOSTILE = (
    "[bold]x[/bold] [link=http://a.example]y[/link] [/] :skull: \x1b[31m\x1b]8;;http://b.example"
    "\x1b\\ \x9b2J\x07\x7f\r \u202e\u2066\u200f"
)
STEERS = {
    *map(chr, [*range(9), *range(11, 32), *range(127, 160)]),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}


def test_nothing_printed_steers_or_is_markup() -> None:
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE, footer=HOSTILE)
    table.add_column(Text(HOSTILE))
    table.add_row(HOSTILE, Text(HOSTILE))
    for shown in (
        HOSTILE,
        Text(HOSTILE),
        table,
        Panel(Text(HOSTILE), title=Text(HOSTILE)),
        Rule(HOSTILE),
        Columns([HOSTILE, Text(HOSTILE)]),
        Tree(HOSTILE),
    ):
        console = Plain()
        console.file = io.StringIO()
        console.width = 300
        console.print(shown)
        written = console.file.getvalue()
        assert not STEERS & set(written), repr(written)
        assert "[bold]x[/bold] [link=http://a.example]y[/link] [/] :skull:" in written


def test_bars_show_names_as_they_are() -> None:
    console = Plain()
    console.file, console.width = io.StringIO(), 300
    column = TextColumn("{task.description}", markup=False)
    with Progress(column, console=console) as progress:
        progress.add_task(HOSTILE, total=1)
    assert "[bold]x[/bold]" in console.file.getvalue()
    assert not (STEERS & set(console.file.getvalue()))


def test_our_own_styles_pass() -> None:
    console = Plain()
    console.file = io.StringIO()
    console.print(Text.assemble(("a", "bold"), "\x1b[1m"), "b")
    assert "a�[1m" in console.file.getvalue()


@given(st.text())
def test_harmless_text_keeps_all_else(text: str) -> None:
    kept = [c for c in text if c not in STEERS and unicodedata.category(c) != "Cs"]
    assert [c for c in harmless(text) if c != "�"] == [c for c in kept if c != "�"]
    assert len(harmless(text)) == len(visible(text)) == len(text)
    assert "\n" not in visible(text)


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_parses_to_the_same_value(value: object) -> None:
    text = printable_json(value)
    assert json.loads(text) == value
    assert not {*STEERS, "\u2028", "\u2029"} & set(text)


def test_errors_and_usage_are_plain(tmp_path: Path) -> None:
    for arguments in (
        ("audit", HOSTILE),
        (HOSTILE,),
        ("list", HOSTILE),
        ("list", f"--{HOSTILE}"),
        ("train", str(tmp_path / HOSTILE[:30])),
    ):
        said = run(*arguments, code=2)
        assert not STEERS & set(said), repr(said)
    assert "[bold]x[/bold]" in run("audit", HOSTILE, code=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose folder, data, classes and words are hostile."""
    place = tmp_path_factory.mktemp("hostile") / "[bold]m\x1b[31m\u202e"
    lines = [
        json.dumps({"text": f"w{i % 7} {HOSTILE} word", "label": f"{'ab'[i % 2]}{HOSTILE}"})
        for i in range(80)
    ]
    data = place.parent / "data[red]\x1b[32m.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    train(
        str(data),
        hidden=4,
        embedding_dim=4,
        options=TrainOptions(epochs=1),
        out=place,
        tokenizer="whitespace",
    )
    return place


def test_a_hostile_model_is_shown_plainly(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "[link=x]run\x1b[5m\u2067"
    said = run("audit", str(folder), "--out", str(out), "--set", "costly_limit=5")
    assert not STEERS & set(said), repr(said)
    assert "[link=x]run" in said
    assert not STEERS & set(run("report", str(out)))
    assert not STEERS & set(run("report", str(out), "--markdown"))
    said = run("explain", str(folder), f"w1 {HOSTILE}", "--method", "weights")
    assert not STEERS & set(said), repr(said)
    assert "[/]" in said
    for page in ("report.html", "card.md"):
        written = (out / page).read_text(encoding="utf-8")
        assert not (STEERS - {"\x7f"}) & set(written), page
        assert "<link=" not in written


def test_json_of_a_hostile_text(folder: Path) -> None:
    said = run(
        "explain",
        str(folder),
        f"w1 {HOSTILE}",
        "--method",
        "weights",
        "--json",
        "-",
        "--tokenizer",
        "whitespace",
    )
    assert not STEERS & set(said)
    found = json.loads(said)
    assert any("\x1b[31m" in unit for unit in found["units"])


def test_help_shows_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(COMMANDS) >= 8
    for name, listed in COMMANDS.items():
        module, function = listed.place.split(":")
        callback = getattr(import_module(f"attnaudit.cli.{module}"), function)
        asked = [inspect.getdoc(callback) or ""]
        for parameter in inspect.signature(callback, eval_str=True).parameters.values():
            for said in parameter.annotation.__metadata__:
                asked.append(said.help or "")
        shown = re.sub("[│╭╮╰╯─]", " ", run(name, "--help"))
        for text in asked:
            place = 0
            for word in text.split():
                # names of types stand between the words where a help is laid out in columns
                place = shown.find(word, place)
                assert place >= 0, (name, word, text)
    monkeypatch.setattr(doctor, "__doc__", 'Look for "[head]" and "[tail]".')
    assert '"[head]" and "[tail]"' in run("doctor", "--help")
