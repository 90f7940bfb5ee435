"""What damage to stored results does: folders of every kind, each with one file damaged at random.

Every copy is read and, where that is possible, gone on with. Right is: the numbers of the whole
folder, whether made again or not, or an error of `attnaudit.errors`. Wrong is: other numbers, or a
traceback. Prints a table; the exit code is 1 where anything was wrong.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import polars as pl
import torch
import typer
from rich.console import Console
from rich.table import Table

from attnaudit.api import explain, open_run
from attnaudit.audits.plan import facts_of
from attnaudit.audits.result import open_audit
from attnaudit.audits.run import run_audit
from attnaudit.audits.seeds import audit_seeds, save_seeds
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.kinds import TEXTS
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import AttnauditError, DamagedWarning
from attnaudit.evidence.seeds.network import Network
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.settings import (
    JudgeSettings,
    SeedSettings,
    Settings,
    TrainingSettings,
)
from attnaudit.models.load import load
from attnaudit.models.seen import read_held_out
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.studies import STUDIES
from attnaudit.studies.run import options_of, prepare, run_study
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.train import train

Door = Callable[[Path], object]
UNREAD = (".lock", ".html", ".md")
SMALL = TrainOptions(epochs=1)


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        make: Writes one.
        doors: What reads it or goes on with it, by name; each gives all numbers that it shows.
    """

    make: Callable[[Path], None]
    doors: dict[str, Door]


# --- the kinds


def texts() -> dict[str, object]:
    """A few generated reviews in three splits."""
    return dict(resolve("reviews", limit=60).splits())


def models() -> dict[str, Kind]:
    """Models of every kind that `load` reads without a transformer."""
    bags = {"limit": 30, "hidden": 4, "attention_size": 2, "epochs": 1}
    few = {"hidden": 4, "embedding_dim": 4, "progress": False}

    def text_model(folder: Path) -> None:
        train(texts(), encoder="average", options=SMALL, out=folder, **few)

    def selective(folder: Path) -> None:
        train(texts(), kind="selector", epochs=1, out=folder, **few)

    def bag(folder: Path) -> None:
        train("presence-gaussian", kind="bags", out=folder, progress=False, **bags)

    def ensemble(folder: Path) -> None:
        train("presence-gaussian", kind="bags", members=2, out=folder, progress=False, **bags)

    makers = {
        "model": text_model,
        "model: masks": selective,
        "model: bags": bag,
        "model: ensemble": ensemble,
    }
    return {name: Kind(make, {"load": loaded}) for name, make in makers.items()}


def loaded(folder: Path) -> object:
    """What a model says of the records held out, which these are, and what it has seen."""
    model = load(folder)
    seen = model.trained_on
    known = None if seen is None else (sorted(seen.train), sorted(seen.dev))
    data = None if seen is None else read_held_out(seen, model.classes)
    if data is None:
        return model.fingerprint(), known
    batch = model.collate(list(data))
    said = model.forward(batch).double().tolist()
    extra = None
    if model.kind == TEXTS:
        extra = {name: list(s) for name, s in explain(model, "a good film").scores.items()}
    return model.fingerprint(), known, data.fingerprint, said, extra


def audits() -> Kind:
    """An audit of three chunks."""
    done = train(
        texts(), encoder="average", options=SMALL, hidden=4, embedding_dim=4, progress=False
    )
    data = resolve("reviews", limit=60).splits()["train"]
    settings = Settings(chunk=20, resamples=100, permutations=10, costly_limit=10)

    def found(folder: Path) -> object:
        result = run_audit(done.model, data, settings, out=folder)
        return _numbers(result.report), _table(result.instances)

    def opened(folder: Path) -> object:
        result = open_run(folder)
        return _numbers(result.report), _table(result.instances)

    return Kind(lambda folder: _nothing(found(folder)), {"open": opened, "go on": found})


def retraining() -> Kind:
    """An audit that retrains."""
    splits = resolve("reviews", limit=60).splits()
    recipe = Recipe("average", "additive", 4, 4, options=SMALL)
    about = {"recipe": recipe.about()}
    settings = Settings(
        resamples=100, checks=("uniform", "seeds"), trainings=TrainingSettings(seeds=1)
    )

    def found(folder: Path) -> object:
        result = run_audit(
            facts_of(recipe.name, about, splits["test"].classes),
            splits["test"],
            settings,
            splits=splits,
            parts=(recipe,),
            about=about,
            out=folder,
        )
        return _numbers(result.report), _table(result.frames["trainings"])

    def opened(folder: Path) -> object:
        result = open_audit(folder)
        return _numbers(result.report), _table(result.frames["trainings"])

    return Kind(lambda folder: _nothing(found(folder)), {"open": opened, "go on": found})


def shortcuts() -> Kind:
    """A shortcut check."""
    splits = resolve("polarity", limit=120).splits()
    done = train(
        splits, encoder="average", options=SMALL, hidden=8, embedding_dim=8, progress=False
    )
    judges = JudgeSettings(count=1, epochs=1, permutations=100, trees=10)
    settings = Settings(checks=("shortcut",), judges=judges)

    def found(folder: Path) -> object:
        result = run_audit(done.model, splits["test"], settings, splits=splits, out=folder)
        return _numbers(result.report), _table(result.instances)

    def opened(folder: Path) -> object:
        result = open_run(folder)
        return _numbers(result.report), _table(result.instances)

    return Kind(lambda folder: _nothing(found(folder)), {"open": opened, "go on": found})


def seeds() -> Kind:
    """An audit of two groups of seeds, with its model."""
    splits = generate_bag_splits("presence", "gaussian", 20, 10, 20, delta=4.0)
    config = BagConfig(splits["train"].classes, (10,), hidden=4, attention=4)
    network = Network(config, options_for("bags", epochs=1))
    settings = Settings(
        resamples=100,
        bars={"bag_bar": 0.0},
        seeds=SeedSettings(which=(0, 1, 2, 3), at_once=2, subsets=5),
    )

    def found(folder: Path) -> object:
        result = audit_seeds(splits, network, settings, out=folder)
        save_seeds(folder, splits, network, settings)
        return _numbers(result.report), loaded(folder / "model")

    def opened(folder: Path) -> object:
        return _numbers(open_audit(folder).report)

    return Kind(
        lambda folder: _nothing(found(folder)),
        {"open": opened, "model": lambda f: loaded(f / "model"), "go on": found},
    )


def studies() -> Kind:
    """A study of one small cell: a model, an audit, and what a paper reports of them."""
    study = STUDIES["jain2019"]
    given = {
        "data": ["reviews"],
        "encoders": ["average"],
        "train_limit": 40,
        "test_limit": 20,
        "epochs": 1,
        "permutations": 10,
    }
    fields = study.options.model_fields
    options = options_of(study, {k: v for k, v in given.items() if k in fields}, quick=True)

    def found(folder: Path) -> object:
        finished = run_study(prepare(study, options, folder))
        return finished.report.model_dump(include={"claims"}, mode="json"), _table(
            finished.results.frame
        )

    return Kind(lambda folder: _nothing(found(folder)), {"go on": found})


def caches() -> Kind:
    """What is kept of texts for similarity."""
    from attnaudit.models.siamese.cache import Cache
    from attnaudit.models.siamese.contributions import Contributions
    from attnaudit.models.siamese.tokens import Tokens

    words = ("one", "two", "three")
    draw = torch.Generator().manual_seed(0)
    given = {}
    for word in words:
        tokens = Tokens(word, (7,), (word,), ((0, len(word)),), (False,), "")
        given[word] = Contributions(
            tokens=tokens,
            parts=torch.randn(1, 4, generator=draw),
            embedding=torch.randn(4, generator=draw),
            reference=torch.randn(4, generator=draw),
            error=0.0,
            nodes=3,
            mode="forward",
            reached=True,
        )

    def make(folder: Path) -> None:
        cache = Cache("key", folder)
        for one in given.values():
            cache.put(one)

    def found(folder: Path) -> object:
        cache = Cache("key", folder)
        rows = []
        for word in words:
            one = cache.get(word) or given[word]  # nothing: solved again
            rows.append(
                [
                    one.parts.tolist(),
                    one.embedding.tolist(),
                    one.reference.tolist(),
                    one.error,
                    one.tokens.offsets,
                ]
            )
        return rows

    return Kind(make, {"get": found})


def _numbers(report: object) -> object:
    dumped = report.model_dump(mode="json")  # type: ignore[attr-defined]
    for name in ("created", "seconds"):
        dumped.pop(name, None)
    for line in dumped["cells"]:
        line.pop("seconds")
    return dumped


def _table(frame: pl.DataFrame) -> object:
    return hashlib.sha256(frame.write_json().encode()).hexdigest()


def _nothing(_: object) -> None:
    return None


# --- the damage


def flipped(path: Path, draw: random.Random) -> None:
    """Some bits turned over."""
    raw = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 4)):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(raw))


def truncated(path: Path, draw: random.Random) -> None:
    """The end cut off."""
    raw = path.read_bytes()
    path.write_bytes(raw[: draw.randrange(len(raw))])


def removed(path: Path, draw: random.Random) -> None:
    """The file taken away."""
    path.unlink()


def swapped(path: Path, draw: random.Random) -> None:
    """The content exchanged with that of a file of the same kind."""
    others = [p for p in path.parent.rglob(f"*{path.suffix}") if p != path and p.is_file()]
    if not others:
        return flipped(path, draw)
    other = draw.choice(sorted(others))
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)
    return None


def digits(path: Path, draw: random.Random) -> None:
    """One digit of a JSON file changed: it stays valid."""
    raw = path.read_text(encoding="utf-8")
    places = [m.start() for m in re.finditer(r"[1-9]", raw)]
    if not places:
        return flipped(path, draw)
    at = draw.choice(places)
    new = draw.choice([d for d in "123456789" if d != raw[at]])
    path.write_text(raw[:at] + new + raw[at + 1 :], encoding="utf-8")
    return None


def letters(path: Path, draw: random.Random) -> None:
    """One letter of a JSON file changed."""
    raw = path.read_text(encoding="utf-8")
    places = [m.start() for m in re.finditer(r"[a-z]", raw)]
    if not places:
        return flipped(path, draw)
    at = draw.choice(places)
    path.write_text(raw[:at] + draw.choice("xyzq") + raw[at + 1 :], encoding="utf-8")
    return None


def reread(path: Path, draw: random.Random) -> None:
    """JSON with one item of a list gone, written validly again."""
    found = json.loads(path.read_text(encoding="utf-8"))
    lists: list[list[object]] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for one in value.values():
                walk(one)
        if isinstance(value, list) and value:
            lists.append(value)
            for one in value:
                walk(one)

    walk(found)
    if not lists:
        return flipped(path, draw)
    some = draw.choice(lists)
    some.pop(draw.randrange(len(some)))
    path.write_text(json.dumps(found), encoding="utf-8")
    return None


def rows(path: Path, draw: random.Random) -> None:
    """A row of a table left out, written validly again."""
    frame = pl.read_parquet(path)
    gone = draw.randrange(max(1, len(frame)))
    frame.with_row_index("_row").filter(pl.col("_row") != gone).drop("_row").write_parquet(path)


def values(path: Path, draw: random.Random) -> None:
    """The numbers of one column halved, written validly again."""
    frame = pl.read_parquet(path)
    numeric = [name for name, kind in frame.schema.items() if kind in (pl.Float64, pl.Float32)]
    if not numeric:
        return rows(path, draw)
    frame.with_columns(pl.col(draw.choice(numeric)) * 0.5).write_parquet(path)
    return None


ANY = (flipped, flipped, truncated, removed, swapped)
OWN = {
    ".json": (digits, digits, letters, letters, reread),
    ".jsonl": (digits, letters),
    ".parquet": (rows, rows, values, values),
}


def damaged(folder: Path, draw: random.Random) -> str:
    """Damage one file below a folder, and say which and how."""
    files = [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.endswith(UNREAD) and p.stat().st_size
    ]
    path = draw.choice(files)
    how = draw.choice((*ANY, *OWN.get(path.suffix, ())))
    how(path, draw)
    return f"{path.relative_to(folder).as_posix()} {how.__name__}"


# --- the table


def tried(kind: Kind, whole: Path, wanted: dict[str, object], draw: random.Random) -> list[str]:
    """What came of one damaged copy, one word a door."""
    said = []
    for name, door in kind.doors.items():
        with tempfile.TemporaryDirectory(prefix="attnaudit-damage-") as place:
            copy = Path(place) / "copy"
            shutil.copytree(whole, copy)
            state = draw.getstate()
            what = damaged(copy, draw)
            if name != list(kind.doors)[-1]:
                draw.setstate(state)  # every door gets the same damage
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    found = door(copy)
                except AttnauditError:
                    said.append("refused")
                    continue
                except Exception:
                    said.append(f"TRACEBACK {name}: {what}: {traceback.format_exc(limit=-2)}")
                    continue
            told = any(issubclass(w.category, DamagedWarning) for w in caught)
            if found != wanted[name]:
                said.append(f"WRONG {name}: {what}")
            else:
                said.append("made again and said" if told else "same numbers")
    return said


def main(
    count: Annotated[int, typer.Option(min=1, help="Damaged copies of each kind.")] = 300,
    kinds: Annotated[str, typer.Option(help="Names with commas between; all by default.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the damage.")] = 0,
) -> None:
    """Damage, read, and count."""
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], Kind]] = {
        **{name: (lambda one=one: one) for name, one in models().items()},
        "audit": audits,
        "retraining": retraining,
        "shortcut": shortcuts,
        "seeds": seeds,
        "study": studies,
        "cache": caches,
    }
    console = Console()
    table = Table(title=f"{count} damaged folders of each kind")
    words = ("same numbers", "made again and said", "refused", "WRONG", "TRACEBACK")
    for word in ("kind", *words):
        table.add_column(word, justify="left" if word == "kind" else "right")
    wrong = 0
    for name, maker in makers.items():
        if kinds and name not in kinds.split(","):
            continue
        kind, draw = maker(), random.Random(f"{seed} {name}")
        with tempfile.TemporaryDirectory(prefix="attnaudit-damage-") as place:
            whole = Path(place) / "whole"
            kind.make(whole)
            wanted = {door: go(whole) for door, go in kind.doors.items()}
            found: Counter[str] = Counter()
            for _ in range(count):
                for said in tried(kind, whole, wanted, draw):
                    word = next(w for w in words if said.startswith(w))
                    found[word] += 1
                    if word in ("WRONG", "TRACEBACK"):
                        console.print(f"{name}: {said}", markup=False, soft_wrap=True)
        wrong += found["WRONG"] + found["TRACEBACK"]
        table.add_row(name, *(str(found[word]) for word in words))
        console.print(f"{name}: {dict(found)}", markup=False)
    console.print(table)
    raise typer.Exit(int(wrong > 0))


if __name__ == "__main__":
    typer.run(main)
