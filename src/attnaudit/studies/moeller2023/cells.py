"""The cells of the study: data x models x layers x references, and cells of their own for steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from attnaudit.data.pairs.scored_pairs import PAIR_SETS
from attnaudit.data.sources.hub import hub_splits
from attnaudit.errors import AttnauditError, MissingExtra, SettingsError
from attnaudit.models.siamese.references import REFERENCES
from attnaudit.nets.pretrained.load import place_of
from attnaudit.studies.declaration import Cell, Names, Planned
from attnaudit.studies.options import UntrainedOptions, check_names
from attnaudit.studies.schema import Missing, Spec
from attnaudit.studies.sources import GENERATED, GIVE, digest_of_file

DATA = ("stsb", GENERATED)
TABLES, STEPS, AGREEMENT = "tables", "steps", "agreement"
"""What a cell measures: tables of pairs, convergence, or two models beside each other."""
Layers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Whole = Annotated[int, Field(ge=1)]
ONE_PAIR = 1.6
"""CPU seconds of a pair of STS-B at the first of MiniLM's six layers."""
SHORT = 0.35
"""What a generated pair costs beside one of STS-B."""
DEPTH = 6


class MoellerOptions(UntrainedOptions):
    """Options of this study.

    Attributes:
        models: `minilm`, folders of sentence-transformers models, or names on the hub.
        exact: Folders that `attnaudit train --kind siamese` wrote, the papers' exact models, or
            nothing.
        layers: Where attribution starts; 0 is the embeddings.
        references: What stands for no text: `padding` is the papers'.
        pairs: At most so many pairs of the test split, drawn with seed 0.
        tolerance: How far a table's sum may lie from its score.
        tags: `closed` (built-in lists of closed-class words), `spacy:PIPELINE`, or `none`.
        steps: Numbers of nodes of the papers' rule; nothing measures no convergence.
        step_layers: Layers of it; those of `layers` where nothing is said.
        step_pairs: Pairs whose whole matrix is compared with a converged one.
        agreement_pairs: Pairs of which an exact model's tables stand beside another's.
    """

    data: Names = ("stsb",)
    models: Names = ("minilm",)
    exact: tuple[str, ...] = ()
    layers: Layers = (0, 3)
    references: Names = ("padding",)
    pairs: Whole = 200
    tolerance: Annotated[float, Field(ge=1e-5, le=0.1)] = 1e-3
    tags: str = "closed"
    steps: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = (10, 25, 50, 125, 250)
    step_layers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    step_pairs: Whole = 4
    agreement_pairs: Whole = 60


def quick(data_dir: Path | None) -> dict[str, object]:
    """Few generated pairs, and as many of STS-B where `data_dir` has it."""
    there = data_dir is not None and (data_dir / "stsb").is_dir()
    return {
        "data": (GENERATED, "stsb") if there else (GENERATED,),
        "pairs": 40,
        "step_pairs": 2,
        "steps": (10, 25, 50),
        "agreement_pairs": 40,
    }


def plan(options: MoellerOptions, data_dir: Path | None) -> Planned:
    """One cell for each data set, model, layer and reference, then those of convergence.

    Raises:
        SettingsError: A name that nothing has.
        MissingExtra: An exact model is named and sentence-transformers is absent.
    """
    _check(options)
    sources, missing = _sources(options.data, data_dir)
    exact = [_exact(folder) for folder in options.exact]
    models = list(dict.fromkeys((*options.models, *exact)))
    known = {name: _model_digest(name) for name in models}
    cells: list[Cell] = []
    for data, source in sources.items():
        base = {
            "data": data,
            "source": source,
            "tolerance": options.tolerance,
            "device": options.device,
        }
        for model in models:
            about = {**base, "model": model, "digest": known[model]}
            cells += _tables(options, about)
            if options.steps:
                cells += _steps(options, about)
        cells += _agreements(options, base, known, exact)
    return Planned(tuple(cells), tuple(missing))


def _parts(
    options: MoellerOptions, layers: Sequence[int], about: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Specifications of every layer and reference."""
    for layer, reference in product(layers, options.references):
        yield {"pairs": options.pairs, **about, "layer": layer, "reference": reference}


def _tables(options: MoellerOptions, about: dict[str, Any]) -> Iterator[Cell]:
    for spec in _parts(options, options.layers, {**about, "part": TABLES, "tags": options.tags}):
        yield Cell(_name(spec), spec, 5 + options.pairs * _cost(spec))


def _steps(options: MoellerOptions, about: dict[str, Any]) -> Iterator[Cell]:
    # about 22 nodes a pair in a table, and 160 of our own rule beside the papers'
    nodes = (160 + sum(options.steps)) / 22
    more = {"part": STEPS, "steps": list(options.steps), "step_pairs": options.step_pairs}
    for spec in _parts(options, options.step_layers or options.layers, {**about, **more}):
        cost = 5 + options.step_pairs * nodes * _cost(spec) + 20 * _cost(spec)
        yield Cell(f"{_name(spec)}, steps", spec, cost)


def _agreements(
    options: MoellerOptions, base: dict[str, Any], known: dict[str, str], exact: Sequence[str]
) -> Iterator[Cell]:
    pairs = min(options.pairs, options.agreement_pairs)
    for model, other in product(options.models, exact):
        about = {
            **base,
            "part": AGREEMENT,
            "model": model,
            "digest": known[model],
            "exact": other,
            "exact_digest": known[other],
            "pairs": pairs,
        }
        for spec in _parts(options, options.layers, about):
            name = f"{_name(spec)}, beside {title_of_model(other)}"
            yield Cell(name, spec, 5 + 2 * pairs * _cost(spec))


def title_of_data(data: str) -> str:
    """What the page calls a data set."""
    return {"stsb": "STS-B", GENERATED: "generated pairs"}.get(data, data)


def title_of_model(model: str) -> str:
    """What the page calls a model: the last part of a folder.

    Example:
        >>> title_of_model("minilm"), title_of_model("/home/me/models/exact/")
        ('MiniLM', 'exact')
    """
    return "MiniLM" if model == "minilm" else Path(model).name or model


def setting_of(spec: Spec) -> str:
    """Data, model, layer and reference of a cell, in words."""
    return (
        f"{title_of_data(spec['data'])}, {title_of_model(spec['model'])}, layer {spec['layer']}, "
        f"reference {spec['reference']}"
    )


def _name(spec: Spec) -> str:
    return f"{setting_of(spec)}, {spec['pairs']} pairs"


def _cost(spec: Spec) -> float:
    """CPU seconds of a pair, roughly: a deeper layer leaves less of the model and fewer nodes."""
    left: float = max(DEPTH - spec["layer"], 1) / DEPTH
    return ONE_PAIR * left**2 * (SHORT if spec["data"] == GENERATED else 1.0)


def _check(options: MoellerOptions) -> None:
    check_names((options.data, DATA, "data set of this study"))
    tags, _, pipeline = options.tags.partition(":")
    if tags not in ("closed", "none", "spacy") or (tags == "spacy") != bool(pipeline):
        raise SettingsError(
            f"tags is {options.tags!r}; give closed, none, or spacy:PIPELINE, such as "
            "spacy:en_core_web_sm"
        )
    empty = [name for name in options.references if not name.strip()]
    if empty:
        raise SettingsError(
            f"a reference has no name; give one of {', '.join(REFERENCES)}, or a token"
        )


def _sources(names: Sequence[str], data_dir: Path | None) -> tuple[dict[str, str], list[Missing]]:
    """Sets that can be had, with what tells their content, and those that cannot, with why."""
    found: dict[str, str] = {}
    missing: list[Missing] = []
    for name in dict.fromkeys(names):
        folder = None if data_dir is None else data_dir / name
        try:
            if name == GENERATED:
                found[name] = GENERATED
            elif folder is None:
                hub_splits(PAIR_SETS[name])
                found[name] = f"hub {PAIR_SETS[name]}"
            elif folder.is_dir():
                found[name] = digest_of_file(folder)
            else:
                missing.append(Missing(what=name, reason=f"{folder} is no folder. {GIVE}"))
        except (AttnauditError, OSError) as error:
            missing.append(Missing(what=name, reason=f"{error}. {GIVE}"))
    return found, missing


def _exact(folder: str) -> str:
    """A folder with an exact model, as it is named in cells.

    Raises:
        MissingExtra: sentence-transformers is absent.
        SettingsError: The folder holds no such model.
    """
    try:
        from attnaudit.models.siamese.shifted import is_shifted
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "siamese", "An exact model") from error
    if not is_shifted(folder):
        raise SettingsError(
            f"exact: {folder} holds no exact model; make one with `attnaudit train stsb "
            f"--kind siamese --out {folder}`"
        )
    return str(Path(folder).resolve())


def _model_digest(name: str) -> str:
    """What tells other weights of the same name; nothing for a model that is not here."""
    try:
        folder = Path(place_of(name))
    except AttnauditError:
        return ""  # the cell says which package is missing
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.suffix in (".safetensors", ".json"):
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
