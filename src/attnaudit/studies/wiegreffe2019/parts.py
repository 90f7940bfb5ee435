"""Parts of claims: data set by data set, seed by seed, and which of them count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attnaudit.studies.claims import measured, over
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.schema import CellRecord, Holds, Measured, Part
from attnaudit.studies.wiegreffe2019.paper import RECALLED
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, TASKS, Role, difference_of, named

Found = Callable[[CellRecord], Measured | None]
Rule = Callable[[Measured | None], Holds]
Stated = Callable[[str], float | None]
Doubt = Callable[[CellRecord], str]
PAPERS = ("bilstm", "additive")
"""The paper's model; others are shown for information where it was run."""


def value(statistic: str, subject: str, unit: str, group: str = "all") -> Found:
    """What finds an estimate in a cell."""
    return lambda record: measured(find(record.rows, statistic, subject, group), unit)


def no_doubt(record: CellRecord) -> str:
    """Nothing speaks against deciding."""
    return ""


def configurations(results: Results) -> list[tuple[str, str]]:
    """Encoder and attention of every model that was run, the one that counts first."""
    present = {(str(r.spec["encoder"]), str(r.spec["attention"])) for r in results.records}
    return sorted(present, key=lambda config: (config != PAPERS, config))


def counted(
    results: Results,
    found: Found,
    rule: Rule,
    *,
    stated: Stated = lambda data: None,
    sets: Sequence[str] | None = None,
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
        if setting.role not in TASKS and (sets is None or name in (*sets, *named(Role.STAND_IN)))
    ]
    parts = [
        (name, place, part if place == 0 else part.model_copy(update={"counts": False}))
        for name in wanted
        for place, config in enumerate(configurations(results))
        for part in of_set(results, name, config, found, rule, stated=stated(name), doubt=doubt)
    ]
    # a set that can tell nothing is not replaced by the stand-in either
    real = any(
        place == 0 and part.measured is not None and SETTINGS[name].role is Role.PAPER
        for name, place, part in parts
    )
    return [
        part.model_copy(update={"counts": False})
        if real and SETTINGS[name].role is Role.STAND_IN
        else part
        for name, _, part in parts
    ]


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
    if not records:
        return
    weak = any(near_chance(r) for r in records)
    doubtful = "" if weak else next(filter(None, map(doubt, records)), "")
    decided = undecided if weak or doubtful else rule
    whole = over([found(r) for r in records])
    shown = stated if config == PAPERS else None
    words = [
        SETTINGS[data].title,
        "" if config == PAPERS else f"{encoder} + {attention}",
        "a model near chance" if weak else doubtful,
    ]
    of = ", ".join(w for w in words if w)
    yield Part(
        of=of, measured=whole, paper=shown, holds=decided(whole), counts=not (weak or doubtful)
    )
    for record in records if len(records) > 1 else ():
        one = found(record)
        yield Part(
            of=f"{of}, seed {record.spec['seed']}",
            measured=one,
            paper=shown,
            holds=decided(one),
            counts=False,
        )


def near_chance(record: CellRecord) -> bool:
    """Whether the base model is not good enough to say anything about."""
    return record.facts.get("gate") == "fail"


def undecided(found: Measured | None) -> Holds:
    """The answer where the model is near chance."""
    return Holds.NOT_MEASURED if found is None else Holds.UNDECIDED


def note_of(results: Results, *sets: str) -> str:
    """How the data here differ from the paper's, set by set."""
    used = [d for d in sets or SETTINGS if results.where(data=d) and SETTINGS[d].role not in TASKS]
    texts = [
        f"{SETTINGS[d].title}: {difference_of(d, results.where(data=d)[0].spec)}" for d in used
    ]
    limited = {r.spec["train_limit"] for r in results.records} - {None}
    if limited:
        texts.insert(0, f"At most {min(limited):,} training texts a set")
    if used and all(SETTINGS[d].role is Role.STAND_IN for d in used):
        texts.insert(0, "Generated data stand in for the paper's, which were not given")
    if not texts:
        return "No data set could be measured."
    return "; ".join([*texts, f"the paper's numbers are {RECALLED}"]) + "."
