"""The page of the study wiegreffe2019: the paper's tables and figures, with its numbers beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from attnaudit.audit.run import open_audit
from attnaudit.checks.guide import SOURCES
from attnaudit.checks.seeds import DOMAIN
from attnaudit.checks.uniform import WITH
from attnaudit.errors import RunError
from attnaudit.evidence.trainings.calibration import TABLE
from attnaudit.findings.estimates import by_max_weight, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import NOTHING, count, number, spoken, typeset
from attnaudit.report.blocks import (
    Block,
    Picture,
    Row,
    StudySection,
    StudyTable,
    Value,
    Words,
)
from attnaudit.report.charts import (
    ACCENT,
    INK,
    MUTED,
    Figure,
    Guide,
    IntervalRow,
    Series,
    interval_rows,
)
from attnaudit.report.curves import Curve, Half, Violin, curves, violins
from attnaudit.report.figures import PALETTE, SECOND, SHAPES, THIRD
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.jain2019.page import _plain, _table
from attnaudit.studies.schema import CellRecord
from attnaudit.studies.wiegreffe2019.conclude import DIFFERENT, EPSILON, STABLE
from attnaudit.studies.wiegreffe2019.measure import AUDIT_FOLDER, CONTROLS_FOLDER
from attnaudit.studies.wiegreffe2019.paper import HALVED, RECALLED, Paper
from attnaudit.studies.wiegreffe2019.parts import PAPERS
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, TASKS, difference_of

CLOSE = 0.03
"""How far our interval may lie from the paper's number before it is marked."""
THERE = "the paper*"
STAR = f" *Numbers of the paper are {RECALLED}; its TVD is {HALVED}."
"""Stands under every table and picture that shows some."""
SEEDS_WORDS, SEARCH_WORDS = "other seeds", "Jain & Wallace's adversary"


@dataclass(frozen=True)
class Shown:
    """One data set on the page: its cells, and the one whose instances are drawn.

    Attributes:
        trained: What the trainings of that cell say of its texts, where its folder is there.
        search: `id`, `search_jsd` and `search_tvd` of its texts, likewise.
    """

    name: str
    title: str
    records: tuple[CellRecord, ...]
    main: CellRecord
    trained: pl.DataFrame | None
    search: pl.DataFrame | None

    @property
    def task(self) -> bool:
        """Whether it is a generated task of known answer."""
        return SETTINGS[self.name].role in TASKS


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, then the paper's four experiments, then the generated tasks."""
    paper = Paper(results.reference)
    shown = list(_shown(results))
    yield _differences(shown)
    for section in (
        _uniform(shown, paper),
        _seeds(shown),
        _guide(shown, paper),
        _adversary(shown, paper),
        _tasks(shown),
    ):
        if section.blocks:
            yield section


def _shown(results: Results) -> Iterator[Shown]:
    for name, setting in SETTINGS.items():
        records = results.where(data=name)
        if records:
            first = min(records, key=lambda r: (_config(r) != PAPERS, int(r.spec["seed"])))
            yield Shown(
                name,
                setting.title,
                tuple(records),
                first,
                _trained(results, first),
                _search(results, first),
            )


def _config(record: CellRecord) -> tuple[str, str]:
    return str(record.spec["encoder"]), str(record.spec["attention"])


def _trained(results: Results, record: CellRecord) -> pl.DataFrame | None:
    try:
        return open_audit(results.folder_of(record) / CONTROLS_FOLDER).tables.get(TABLE)
    except (RunError, pl.exceptions.PolarsError, OSError):
        return None  # the numbers of the cell stand; only its pictures are gone


def _search(results: Results, record: CellRecord) -> pl.DataFrame | None:
    try:
        found = open_audit(results.folder_of(record) / AUDIT_FOLDER).instances
    except (RunError, pl.exceptions.PolarsError, OSError):
        return None
    return found.select("id", search_jsd="adversary/search_jsd", search_tvd="adversary/search_tvd")


def _differences(shown: Sequence[Shown]) -> StudySection:
    points = []
    for one in shown:
        texts = ", ".join(f"{n} {count(int(s))}" for n, s in one.main.facts["sizes"].items())
        spec = one.main.spec
        said = difference_of(one.name, spec)
        points.append(
            f"{one.title}: {texts} texts; hidden {spec['hidden']}, {spec['embedding_dim']} "
            f"numbers a word, {spec['epochs']} epochs, adversaries at most "
            f"{spec['adversary_epochs']}. {said[0].upper()}{said[1:]}."
        )
    points += [
        "Epochs are chosen on a development split here; the released code chose them on the test "
        "split.",
        "The strength λ weighs the divergence against the whole output distance of two classes. "
        "The released code takes half that distance, so the paper's λ is shown doubled.",
        *(
            f"{one.title}, {_plain(r)}: {note}."
            for one in shown
            for r in one.records
            for note in r.notes
            if note.startswith("training ")
        ),
    ]
    return StudySection(
        "differences",
        "What differs",
        f"The paper's authors released no result files. Its numbers are {RECALLED}: they help to "
        "find one's way, and no answer rests on them. A number of ours is marked ≠ where its "
        f"interval lies further than {CLOSE} (F1) from the paper's.",
        (Words("", tuple(points)),),
    )


def _uniform(shown: Sequence[Shown], paper: Paper) -> StudySection:
    rows = []
    for one in shown:
        if one.task:
            continue
        for record in one.records:
            values = []
            for name in ("learned", *WITH):
                subject = f"uniform/{name}"
                stated = paper.f1(one.name, name) if _config(record) == PAPERS else None
                values.append(_here(find(record.rows, "f1", subject), stated))
                if name in ("learned", "uniform"):
                    values.append(_theirs(stated))
            rows.append(Row(_label(record, one), tuple(values)))
    blocks: list[Block] = [
        _table(
            "F1 with learned attention and with replacements",
            f"Intervals below. The paper has uniform weights only; the others are "
            f"ours.{_star(rows)}",
            "data set",
            ("learned", THERE, "uniform", THERE, "fixed random", "by position", "by word alone"),
            tuple(rows),
        )
    ]
    picture = _lost([one for one in shown if not one.task])
    if picture is not None:
        blocks.append(picture)
    return StudySection(
        "uniform",
        "Is attention needed?",
        "The same model trained again with weights that cannot be learned or that know less. Where "
        "it does as well, the task does not need attention, and the learned weights say little "
        "about why a text is classified as it is.",
        tuple(blocks) if rows and picture else (),
    )


def _lost(shown: Sequence[Shown]) -> Picture | None:
    """What each replacement loses, set by set."""
    every = tuple(WITH)
    series = [Series(WITH[n], PALETTE[i], SHAPES[i]) for i, n in enumerate(every)]
    rows = []
    for one in shown:
        found = tuple(find(one.main.rows, "f1_difference", f"uniform/{n}") for n in every)
        if any(e is not None for e in found):
            rows.append(IntervalRow(one.title, found))
    if not rows:
        return None
    return Picture(
        Figure(
            name="lost",
            title="F1 lost without learned weights",
            caption="F1 of learned weights less that of each replacement, on the same texts. At 0 "
            "nothing is lost.",
            spec=interval_rows(
                rows,
                series,
                domain=_room(rows),
                axis="difference of F1",
                guides=(Guide(0, "nothing lost 0"),),
            ),
            description="; ".join(
                f"{row.label}, {s.name}: {spoken(e)}"
                for row in rows
                for s, e in zip(series, row.estimates, strict=True)
                if e
            ),
            legend=tuple(series),
        )
    )


def _room(rows: Sequence[IntervalRow]) -> tuple[float, float]:
    """An axis that holds every interval, and 0."""
    ends = [
        e
        for row in rows
        for one in row.estimates
        if one is not None
        for e in (one.value, one.low, one.high)
        if e is not None
    ]
    room = max(0.02, 0.08 * (max(*ends, 0.0) - min(*ends, 0.0)))
    return min(*ends, 0.0) - room, max(*ends, 0.0) + room


def _seeds(shown: Sequence[Shown]) -> StudySection:
    blocks: list[Block] = []
    for one in shown:
        if find(one.main.rows, "median_jsd", "seeds/weights") is None:
            continue
        picture = _violins(one)
        if picture is not None:
            blocks.append(picture)
        blocks.append(_seeds_table(one))
    return StudySection(
        "seeds",
        "How far another seed goes",
        "The same model trained again from other seeds: per text, the median over seeds of the "
        "Jensen-Shannon divergence of the weights. Every divergence elsewhere means something only "
        "beside this one. The adversary of Jain & Wallace chooses weights text by text, with the "
        "prediction kept.",
        tuple(blocks),
    )


def _violins(one: Shown) -> Picture | None:
    frame = one.trained
    if frame is None or "seeds/median_jsd" not in frame.columns:
        return None
    both = one.search is not None
    if one.search is not None:
        frame = frame.join(one.search, on="id", how="left", maintain_order="left")
    rows, medians = [], []
    for name, part in (("all texts", frame), *by_max_weight(frame)):
        if part.is_empty():
            continue
        short = name.removeprefix("max weight ")
        label = name if short == name else f"largest weight {_ends(short)}"
        halves = [Half(SEEDS_WORDS, values_of(part, "seeds/median_jsd"), ACCENT)]
        if both:
            halves.append(Half(SEARCH_WORDS, values_of(part, "search_jsd"), SECOND))
        rows.append(Violin(label, tuple(halves), _ends(short)))
        medians += [
            f"{label}, {h.name}: median {number(float(np.nanmedian(h.values)))}"
            for h in halves
            if np.isfinite(h.values).any()
        ]
    legend = [Series(SEEDS_WORDS, ACCENT)]
    legend += [Series(SEARCH_WORDS, SECOND)] if both else []
    return Picture(
        Figure(
            name=f"seeds-{one.name}",
            title=f"{one.title}, {_plain(one.main)}: divergence of the weights, by the "
            f"largest weight",
            caption="The thicker, the more texts"
            + ("; other seeds above the line, the adversary below" if both else "")
            + ". Dots and lines are medians and quartiles. Each side is scaled to its own peak.",
            spec=violins(
                rows,
                domain=(0.0, 0.7),
                axis="Jensen-Shannon divergence (0 to 0.69)",
                guides=(
                    Guide(STABLE, f"stable {STABLE:g}"),
                    Guide(DIFFERENT, f"clearly different {DIFFERENT:g}", dashed=False),
                ),
            ),
            description="; ".join(medians),
            legend=tuple(legend),
        )
    )


def _ends(bin_: str) -> str:
    """A bin of the largest weight as people write it."""
    return bin_.strip("[)").replace(", ", " to ")


def _seeds_table(one: Shown) -> StudyTable:
    rows = []
    for record in one.records:
        groups = [
            "all",
            *(
                e.group
                for e in record.rows
                if (e.statistic, e.subject) == ("median_jsd", "seeds/weights")
                and e.group.startswith("max weight")
            ),
        ]
        for group in groups:
            seeds = find(record.rows, "median_jsd", "seeds/weights", group)
            if seeds is None or seeds.value is None:
                continue
            name = (
                _label(record, one)
                if group == "all"
                else (f"largest weight {_ends(group.removeprefix('max weight '))}")
            )
            rows.append(
                Row(
                    name,
                    (
                        Value(count(seeds.n)),
                        _here(seeds),
                        _here(find(record.rows, "mean_jsd", "search", group)),
                        Value(number(seeds.null)),
                        _here(find(record.rows, "mean_tvd", "seeds/output", group), digits=3),
                    ),
                    inner=group != "all",
                )
            )
    return _table(
        f"{one.title}: means over texts",
        "By chance is the divergence to the same weights in random order: flat weights over a "
        "long text differ little whatever they are. Output change is the mean over seeds.",
        "model",
        ("texts", "divergence of seeds", "of the adversary", "by chance", "output change of seeds"),
        tuple(rows),
        folded=True,
    )


def _guide(shown: Sequence[Shown], paper: Paper) -> StudySection:
    rows = []
    for one in shown:
        for record in one.records:
            if one.task or find(record.rows, "f1", "guide/base") is None:
                continue
            values = []
            for source in SOURCES:
                stated = paper.guided(one.name, source) if _config(record) == PAPERS else None
                values += [
                    _here(find(record.rows, "f1", f"guide/{source}"), stated),
                    _theirs(stated),
                ]
            rows.append(Row(_label(record, one), tuple(values)))
    if not rows:
        return StudySection("guide", "", "", ())
    heads = ("uniform", "learned by itself", "the LSTM's", "the adversary's")
    table = _table(
        "F1 of a context-free model under four sources of weights",
        f"Intervals below.{_star(rows)}",
        "data set",
        tuple(h for head in heads for h in (head, THERE)),
        tuple(rows),
    )
    return StudySection(
        "guide",
        "Do the weights help another model?",
        "A model that sees each word by itself, with weights from elsewhere to sum the words up. "
        "If the LSTM's weights help it, they carry information about the words. The adversary is "
        "a model that was trained to say the same with other weights.",
        (table,),
    )


def _adversary(shown: Sequence[Shown], paper: Paper) -> StudySection:
    blocks: list[Block] = []
    for one in shown:
        picture = _tradeoff(one, paper)
        if picture is not None:
            blocks += [picture, _strengths(one, paper)]
    return StudySection(
        "adversary",
        "A model trained to have other weights",
        "New models trained to match the base model's predictions, text by text, with weights as "
        "different as the strength λ asks for. Far right and low is a model that says the same "
        "with other weights.",
        tuple(blocks),
    )


def _models(record: CellRecord) -> Iterator[tuple[str, str, str, Estimate, Estimate]]:
    """Kind, name, label, divergence and output change of every model beside the base."""
    names = [
        e.subject
        for e in record.rows
        if e.statistic == "mean_jsd"
        and e.subject.startswith("trained_adversary/")
        and e.group == "all"
    ]
    for subject in (*names, "search"):
        jsd, tvd = (find(record.rows, f"mean_{w}", subject) for w in ("jsd", "tvd"))
        if jsd is None or tvd is None or jsd.value is None or tvd.value is None:
            continue
        name = subject.removeprefix("trained_adversary/")
        kind = "adversary" if name.startswith("adversary ") else name.split(" ")[0]
        label = {
            "adversary": f"λ = {name.removeprefix('adversary ')}",
            "search": SEARCH_WORDS,
            "uniform": "uniform weights",
        }.get(kind, name)
        yield kind, subject, label, jsd, tvd


def _tradeoff(one: Shown, paper: Paper) -> Picture | None:
    series = {
        "adversary": Series("trained adversaries, one a λ", ACCENT),
        "seed": Series(SEEDS_WORDS, MUTED, "square"),
        "uniform": Series("uniform weights", THIRD, "triangle-up"),
        "search": Series(SEARCH_WORDS, SECOND, "square"),
        "paper": Series("the paper's trained adversary*", INK, "diamond"),
    }
    points: dict[str, list[tuple[float, float, str]]] = {kind: [] for kind in series}
    for kind, _, label, jsd, tvd in _models(one.main):
        points[kind].append((float(jsd.value or 0), float(tvd.value or 0), label))
    if not points["adversary"]:
        return None
    there = (paper.adversary(one.name, "jsd"), paper.adversary(one.name, "tvd"))
    if there[0] is not None and there[1] is not None and _config(one.main) == PAPERS:
        strength = paper.adversary(one.name, "strength")
        points["paper"].append((there[0], there[1], f"λ = {strength:g}"))
    some = {kind: found for kind, found in points.items() if found}
    top = max(p[1] for found in some.values() for p in found)
    star = STAR if points["paper"] else ""
    return Picture(
        Figure(
            name=f"tradeoff-{one.name}",
            title=f"{one.title}, {_plain(one.main)}: what other weights cost",
            caption="Each point is a model beside the base: mean divergence of its weights, "
            "and mean "
            f"change of its output. Up to {EPSILON:g} counts as the same prediction.{star}",
            spec=curves(
                [Curve(series[k], tuple(p), joined=k == "adversary") for k, p in some.items()],
                x=DOMAIN,
                y=(0.0, max(1.15 * top, 2 * EPSILON)),
                axes=("mean divergence of the weights", "mean output change"),
            ),
            description="; ".join(
                f"{series[k].name} {label}: divergence {number(x)}, output change {number(y, 3)}"
                for k, found in some.items()
                for x, y, label in found
            ),
            legend=tuple(series[k] for k in some),
        )
    )


def _strengths(one: Shown, paper: Paper) -> StudyTable:
    """Every model of the trade-off curve in numbers, and the paper's."""
    rows = []
    for record in one.records:
        trainings = record.facts.get("trainings", {})
        base = find(record.rows, "f1", "seeds/base") or find(record.rows, "f1", "uniform/learned")
        empty = (Value(NOTHING),) * 3
        rows.append(Row(f"{_label(record, one)}: base", (_here(base), *empty)))
        for _, subject, label, jsd, tvd in _models(record):
            epochs = trainings.get(subject.removeprefix("trained_adversary/"), {}).get("epochs")
            rows.append(
                Row(
                    label,
                    (
                        _here(find(record.rows, "f1", subject)),
                        _here(jsd),
                        _here(tvd, digits=3),
                        Value(NOTHING if epochs is None else count(int(epochs))),
                    ),
                    inner=True,
                )
            )
    stated = [paper.adversary(one.name, what) for what in ("f1", "jsd", "tvd")]
    if stated[1] is not None:
        strength = paper.adversary(one.name, "strength")
        cells = [Value(number(v, 3), paper=True) for v in stated]
        rows.append(Row(f"the paper*, λ = {strength:g}", (*cells, Value(NOTHING, paper=True))))
    return _table(
        f"{one.title}: all models in numbers",
        STAR.strip() if stated[1] is not None else "",
        "model",
        ("F1", "divergence", "output change", "epochs"),
        tuple(rows),
        folded=True,
    )


def _tasks(shown: Sequence[Shown]) -> StudySection:
    rows, said = [], []
    for one in shown:
        if not one.task:
            continue
        for record in one.records:
            values = [
                _here(find(record.rows, statistic, f"uniform/{subject}"), digits=3)
                for statistic, subject in (
                    ("accuracy", "learned"),
                    ("accuracy", "uniform"),
                    ("accuracy_difference", "uniform"),
                )
            ]
            rows.append(Row(_label(record, one), tuple(values)))
            words = [
                typeset(f["sentence"])
                for f in record.facts.get("findings", [])
                if (f["control"], f["subject"]) == ("uniform", "uniform")
            ]
            said += [f"{_label(record, one)}: {sentence}" for sentence in words]
    if not rows:
        return StudySection("tasks", "", "", ())
    return StudySection(
        "tasks",
        "Two tasks whose answer is known",
        "Generated tasks: one that nobody can do without attention, and one on which any weights "
        "will do. A control that says the same of both would be worth nothing.",
        (
            _table(
                "Accuracy",
                "Intervals below.",
                "task",
                ("learned weights", "uniform weights", "lost"),
                tuple(rows),
            ),
            Words("What the control says", tuple(said)),
        ),
    )


def _label(record: CellRecord, one: Shown) -> str:
    """The set, and what tells its cells apart."""
    parts = [one.title]
    if len({_config(r) for r in one.records}) > 1 or _config(record) != PAPERS:
        parts.append(_plain(record))
    if len({r.spec["seed"] for r in one.records}) > 1:
        parts.append(f"seed {record.spec['seed']}")
    return ", ".join(parts)


def _here(found: Estimate | None, stated: float | None = None, digits: int = 2) -> Value:
    """Our number with its interval, marked where the paper's lies too far from it."""
    if found is None or found.value is None:
        return Value(NOTHING)
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    differs = ""
    if stated is not None and (stated > high + CLOSE or stated < low - CLOSE):
        side = "above" if found.value > stated else "below"
        differs = (
            f"{side} the paper's {number(stated, 3)} ({RECALLED}) by more than {CLOSE} beyond "
            "the interval"
        )
    more = "" if found.low is None else f"{number(low, digits)} to {number(high, digits)}"
    return Value(number(found.value, digits), more, differs)


def _star(rows: Sequence[Row]) -> str:
    """What is said of the paper's numbers, where there are any."""
    return STAR if any(v.paper and v.text != NOTHING for r in rows for v in r.values) else ""


def _theirs(stated: float | None) -> Value:
    return Value(number(stated, 3), paper=True)
