"""Parts of claims: data set by data set, seed by seed, and which of them count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attnaudit.studies.claims import (
    PAPERS,
    Found,
    Rule,
    data_notes,
    near_chance,
    parts_of,
    seed_parts,
    stood_in,
)
from attnaudit.studies.declaration import Results
from attnaudit.studies.schema import CellRecord, Part
from attnaudit.studies.wiegreffe2019.paper import RECALLED
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, TASKS, Role, difference_of

Stated = Callable[[str], float | None]
Doubt = Callable[[CellRecord], str]
LATER = ("sst", "imdb", "diabetes", "anemia")
"""The sets that the paper goes on with after its section 3.1."""


def no_doubt(record: CellRecord) -> str:
    """Nothing speaks against deciding."""
    return ""


def configurations(results: Results) -> list[tuple[str, str]]:
    """Encoder and attention of every model that was run, the one that counts first."""
    return sorted(
        {parts_of(r) for r in results.records}, key=lambda config: (config != PAPERS, config)
    )


def counted(
    results: Results,
    found: Found,
    rule: Rule,
    *,
    stated: Stated = lambda data: None,
    sets: Sequence[str] = LATER,
    doubt: Doubt = no_doubt,
) -> list[Part]:
    """Parts of all sets but the generated tasks: of each the mean over seeds, then every seed.

    The paper's model counts, another one only where that was not run. The stand-in counts only
    where nothing of the paper's was measured.

    Args:
        results: The finished cells.
        found: The number.
        rule: From the number to the answer. Of a model near chance nothing is decided.
        stated: The paper's own number of a set, recalled.
        sets: Only these, and the stand-in.
        doubt: Why a cell can tell nothing, in words, or nothing. Such a set does not count.
    """
    wanted = [
        name
        for name, setting in SETTINGS.items()
        if setting.role is Role.STAND_IN or (setting.role is Role.PAPER and name in sets)
    ]
    return stood_in(
        (SETTINGS[name].role is Role.STAND_IN, place == 0, part)
        for name in wanted
        for place, config in enumerate(configurations(results))
        for part in of_set(results, name, config, found, rule, stated=stated(name), doubt=doubt)
    )


def of_set(
    results: Results,
    data: str,
    config: tuple[str, str],
    found: Found,
    rule: Rule,
    *,
    stated: float | None = None,
    doubt: Doubt = no_doubt,
) -> Iterator[Part]:
    """The part of a data set and a model, and those of its seeds where there are several."""
    encoder, attention = config
    records = results.where(data=data, encoder=encoder, attention=attention)
    weak = any(map(near_chance, records))
    doubts = ["a model near chance"] if weak else [said for said in map(doubt, records) if said][:1]
    model = [] if config == PAPERS else [f"{encoder} + {attention}"]
    words = [SETTINGS[data].title, *model, *doubts]
    return seed_parts(
        [(int(r.spec["seed"]), found(r)) for r in records],
        lambda seed: ", ".join(filter(None, (*words, seed))),
        rule,
        stated if config == PAPERS else None,
        bool(doubts),
    )


def note_of(results: Results, *sets: str) -> str:
    """How the data here differ from the paper's, set by set."""
    used = [d for d in sets or SETTINGS if results.where(data=d) and SETTINGS[d].role not in TASKS]
    texts = [
        f"{SETTINGS[d].title}: {difference_of(d, results.where(data=d)[0].spec)}" for d in used
    ]
    texts = data_notes(results.records, texts, [SETTINGS[d].role is Role.STAND_IN for d in used])
    if not texts:
        return "No data set could be measured."
    return "; ".join([*texts, f"the paper's numbers are {RECALLED}"]) + "."
