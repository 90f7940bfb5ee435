"""The documentation: its code runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from attnaudit.api import Audit, audit
from attnaudit.attribution import METHODS
from attnaudit.checks.registry import CHECKS
from attnaudit.cli.app import COMMANDS, command_of
from attnaudit.data import NAMED_SETS, generate_reviews
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import SECTIONS, Settings
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.terminal import run

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
NAMES = {path: str(path.relative_to(ROOT)) for path in TEXTS}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gen = _load(DOCS / "gen.py")


def fences(path: Path, language: str) -> list[str]:
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [body for _, kind, body in found if kind == language]


def written(path: Path) -> str:
    """A page as a reader sees it: tables filled in."""
    text = path.read_text(encoding="utf-8")
    return gen.filled(text) if path.is_relative_to(DOCS) else text


def runnable(path: Path) -> str:
    """The Python of a page in order; what it includes from a file is run with that file."""
    return "\n".join(body for body in fences(path, "python") if "--8<--" not in body)


WITH_CODE = [path for path in TEXTS if runnable(path)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the pages take for granted: reviews.csv, a model, a finished run."""
    folder = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    os.chdir(folder)
    reviews = generate_reviews(220, seed=5, difficulty=0.0)
    short = sorted(reviews, key=lambda record: len(record.units))[:120]
    for name in ("reviews.csv", "held_out.csv"):
        with open(name, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "label"))
            rows.writerows((r.text, reviews.classes[r.label or 0]) for r in short)
    options = TrainOptions(epochs=2)
    done = train(
        "reviews.csv",
        encoder="average",
        hidden=8,
        embedding_dim=8,
        options=options,
        out="model",
        progress=False,
    )
    data = reviews.select(short[:40])
    audit(
        done.model,
        data,
        settings=Settings(resamples=200),
        out="runs/tutorial",
        progress=False,
        include_training_texts=True,
    )
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def finished(place: Path) -> Audit:
    from attnaudit.api import open_run

    return open_run(place / "runs" / "tutorial")


@pytest.mark.parametrize("path", WITH_CODE, ids=NAMES.get)
def test_the_python_of_a_page_runs(path: Path, place: Path, tmp_path: Path) -> None:
    for name in ("reviews.csv", "model", "runs"):
        (tmp_path / name).symlink_to(place / name)
    if path.name == "python.md":  # it makes its own run of that name
        (tmp_path / "runs").unlink()
    if 'out="model"' in runnable(path):  # and its own model, which may not lie there already
        (tmp_path / "model").unlink()
    os.chdir(tmp_path)
    try:
        exec(compile(runnable(path), NAMES[path], "exec"), {"__name__": "page"})
    finally:
        os.chdir(place)


def test_the_example_of_an_own_model_runs(tmp_path: Path) -> None:
    example = runpy.run_path(str(DOCS / "examples" / "own_model.py"))
    result = example["main"](tmp_path / "report.html")
    assert result.report.performance.verdict is Verdict.PASS
    assert result.report.plan.model.name == "gated GRU"
    scored = {name for name in result.instances.columns if name.startswith("scores.")}
    assert scored == {f"scores.{name}" for name in METHODS}
    assert "adversary/exact_jsd" in result.instances.columns
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_included_sections_exist() -> None:
    for path in PAGES:
        for include in re.findall(r'^ *--8<-- "(.*)"$', path.read_text(), re.MULTILINE):
            name, _, section = include.partition(":")
            file = DOCS / name if (DOCS / name).exists() else ROOT / name
            assert not section or f"[start:{section}]" in file.read_text(), include


def commands() -> list[tuple[str, list[str]]]:
    lines = [
        (NAMES[path], line.strip().removeprefix("$ attnaudit").strip())
        for path in TEXTS
        for body in fences(path, "console")
        for line in body.splitlines()
        if line.strip().startswith("$ attnaudit")
    ]
    return [(name, shlex.split(line, comments=True)) for name, line in lines]


def test_commands_in_the_documentation_parse() -> None:
    known = {name: command_of(name) for name in COMMANDS}
    shown = commands()
    assert {words[0] for _, words in shown if words[0] in known} == set(known)
    for name, (command, *arguments) in shown:
        if command == "--version":
            continue
        assert command in known, f"{name}: attnaudit has no command {command!r}"
        # parses and checks types without running anything
        known[command].make_context(command, list(arguments))


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["list"],
        ["list", "checks"],
        ["list", "attributions"],
        ["doctor"],
        ["explain", "model", "not a good film"],
        ["explain", "model", "not a good film", "--method", "weights", "--json", "-"],
        ["report", "runs/tutorial", "--markdown"],
        ["audit", "model", "--check", "permutation", "--out", "runs/held_out"],
        ["audit", "model", "reviews.csv", "--check", "permutation", "--out", "runs/own_data"],
    ],
)
def test_cheap_commands_run(words: list[str], place: Path) -> None:
    assert run(*words).strip()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for path in TEXTS
        for target in re.findall(r"(?:\$ |`)make ([a-z]+)", path.read_text(encoding="utf-8"))
    }
    assert named <= targets, named - targets


@pytest.mark.parametrize("path", PAGES, ids=NAMES.get)
def test_tables_can_be_made(path: Path) -> None:
    assert "<!-- " not in written(path)


def test_the_tables_of_the_readme_are_up_to_date() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == gen.refreshed(readme), "run: python docs/gen.py"


def test_everything_declared_is_in_the_documentation() -> None:
    everything = "\n".join(map(written, PAGES))
    bars = [bar.name for check in CHECKS.values() for bar in check.bars]
    own = [name for name in Settings.model_fields if name not in {*SECTIONS, "bars"}]
    names = [*CHECKS, *METHODS, *NAMED_SETS, *own, *bars]
    assert [name for name in names if f"`{name}`" not in everything] == []
    assert [name for name in COMMANDS if f"$ attnaudit {name}" not in everything] == []
    for name in CHECKS:
        page = (DOCS / "checks" / f"{name.replace('_', '-')}.md").read_text(encoding="utf-8")
        for kind in ("check", "bars", "caveat"):
            assert f"<!-- {kind}: {name} -->" in page
        for heading in (
            "What it asks",
            "How it is computed",
            "The verdict",
            "How to read it",
            "When not to trust it",
            "What the debate says",
        ):
            assert f"## {heading}" in page, f"{name} lacks {heading!r}"
    for name, _, meaning in gen.every_setting():
        assert meaning, name


def test_thresholds_are_shown_with_the_checks_that_use_them(finished: Audit) -> None:
    findings = [finished.report.performance, *finished.findings]
    for finding in findings:
        declared = gen.DECLARED[finding.check].bars
        assert set(finding.thresholds) <= {bar.name for bar in declared}, finding.check


def test_columns_of_the_instances_are_documented(finished: Audit) -> None:
    page = (DOCS / "run-folder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", page.partition("## Instances")[2], re.MULTILINE)
    patterns = [re.sub(r"<\w>", "[^~]+?", re.escape(row)) for row in rows]
    unknown = [
        column
        for column in finished.instances.columns
        if not any(re.fullmatch(pattern, column) for pattern in patterns)
    ]
    assert unknown == []
    unused = [
        row
        for row, pattern in zip(rows, patterns, strict=True)
        if not any(re.fullmatch(pattern, column) for column in finished.instances.columns)
    ]
    assert unused == []


def test_statistics_of_the_frame_are_documented(finished: Audit) -> None:
    page = written(DOCS / "run-folder.md")
    names = set(finished.frame["statistic"]) | set(finished.frame.columns)
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def slug(heading: str) -> str:
    text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def anchors(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("path", TEXTS, ids=NAMES.get)
def test_links_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", written(path))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://keepachangelog.com/", "https://semver.org/")):
            continue
        assert "://" not in target, f"{target}: a link out of the documentation"
        file, _, anchor = target.partition("#")
        goal = (path.parent / file).resolve() if file else path
        assert goal.is_file(), f"{target}: no such file"
        assert not anchor or anchor in anchors(goal), f"{target}: no such heading"


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"- ([\w/-]+\.md)", nav)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_pages_name_no_place_of_their_making() -> None:
    for path in [*TEXTS, ROOT / "mkdocs.yml", *DOCS.rglob("*.py")]:
        found = re.search(r"(?<![\w.])/(work|tmp|home|root)/", path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found}"


def test_the_hook_fills_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    hooks = _load(DOCS / "hooks.py")
    page = hooks.on_page_markdown("a\n\n<!-- table: operators -->\n", page=None, config=None)
    assert "| `zero_weight` |" in page
    with pytest.raises(KeyError):
        hooks.on_page_markdown("<!-- table: nothing -->")
    sys.modules.pop("gen", None)
