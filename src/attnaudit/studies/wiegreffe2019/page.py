"""The page of the study wiegreffe2019: the paper's tables and figures, with its numbers beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import polars as pl

from attnaudit.audits.result import open_audit
from attnaudit.checks.guide import SOURCES
from attnaudit.checks.seeds import DOMAIN
from attnaudit.checks.uniform import WITH
from attnaudit.evidence.trainings.calibration import TABLE
from attnaudit.findings.estimates import by_max_weight, values_of
from attnaudit.findings.findings import Estimate
from attnaudit.findings.pictures import (
    ACCENT,
    INK,
    MUTED,
    PALETTE,
    SECOND,
    SHAPES,
    THIRD,
    Curve,
    Figure,
    Guide,
    IntervalRow,
    Row,
    Series,
    Table,
    Value,
    Violin,
    half,
)
from attnaudit.findings.wording import NOTHING, count, number, typeset
from attnaudit.report.blocks import StudySection, Words
from attnaudit.studies.claims import PAPERS, parts_of
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.pieces import (
    WEIGHTS,
    Shown,
    Write,
    beside,
    curve_picture,
    ends_of,
    finely,
    interval_picture,
    kept,
    model_of,
    said_of,
    section,
    shown_of,
    table,
    theirs,
    violin_picture,
    weights_label,
    weights_of,
)
from attnaudit.studies.schema import CellRecord
from attnaudit.studies.texts import AUDIT_FOLDER
from attnaudit.studies.wiegreffe2019.conclude import DIFFERENT, EPSILON, STABLE
from attnaudit.studies.wiegreffe2019.measure import CONTROLS_FOLDER
from attnaudit.studies.wiegreffe2019.paper import HALVED, RECALLED, Paper
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, TASKS, difference_of

CLOSE = 0.03
"""How far our interval may lie from the paper's number before it is marked."""
THERE = "the paper*"
STAR = f" *Numbers of the paper are {RECALLED}; its TVD is {HALVED}."
"""Stands under every table and picture that shows some."""
RELEASED = (
    "Epochs are chosen on a development split here; the released code chose them on the test "
    "split.",
    "The strength λ weighs the divergence against the whole output distance of two classes. The "
    "released code takes half that distance, so the paper's λ is shown doubled.",
)
SEEDS_WORDS, SEARCH_WORDS = "other seeds", "Jain & Wallace's adversary"
END = (0.0, 0.7)
TRAINED = "trained_adversary/"
SERIES = {
    "adversary": Series("trained adversaries, one a λ", ACCENT),
    "seed": Series(SEEDS_WORDS, MUTED, "square"),
    "uniform": Series("uniform weights", THIRD, "triangle-up"),
    "search": Series(SEARCH_WORDS, SECOND, "square"),
    "paper": Series("the paper's trained adversary*", INK, "diamond"),
}


class Controlled(Shown):
    """A data set with the controls of its main cell."""

    @property
    def task(self) -> bool:
        """Whether it is a generated task of known answer."""
        return SETTINGS[self.name].role in TASKS

    @cached_property
    def controls(self) -> pl.DataFrame:
        """What the controls measured of each text; empty where the folder is gone."""
        found = kept(lambda: open_audit(self.folder / CONTROLS_FOLDER).frames[TABLE])
        return pl.DataFrame() if found is None else found

    @cached_property
    def search(self) -> pl.DataFrame | None:
        """`id` and `search_jsd` of the texts, likewise."""
        found = kept(lambda: open_audit(self.folder / AUDIT_FOLDER).instances)
        return None if found is None else found.select("id", search_jsd="adversary/search_jsd")

    def label(self, record: CellRecord) -> str:
        """The set, and what tells its cells apart."""
        several = len({parts_of(r) for r in self.records}) > 1 or parts_of(record) != PAPERS
        model = [model_of(record)] if several else []
        return ", ".join([self.title, *model, *self.seed_of(record)])


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, then the paper's four experiments, then the generated tasks."""
    paper = Paper(results.reference)
    shown = list(shown_of(results, {n: s.title for n, s in SETTINGS.items()}, Controlled))
    texts = [one for one in shown if not one.task]
    tasks = [one for one in shown if one.task]
    yield section(
        "differences",
        "What differs",
        f"The paper's authors released no result files. Its numbers are {RECALLED}: they help to "
        "find one's way, and no answer rests on them. A number of ours is marked ≠ where its "
        f"interval lies further than {CLOSE} (F1) from the paper's.",
        Words("", tuple(_differences(shown))),
    )
    lost = _lost(texts)
    yield section(
        "uniform",
        "Is attention needed?",
        "The same model trained again with weights that cannot be learned or that know less. Where "
        "it does as well, the task does not need attention, and the learned weights say little "
        "about why a text is classified as it is.",
        *((_uniform(texts, paper), lost) if lost else ()),
    )
    seeds = [one for one in shown if find(one.main.rows, "median_jsd", "seeds/weights")]
    yield section(
        "seeds",
        "How far another seed goes",
        "The same model trained again from other seeds: per text, the median over seeds of the "
        "Jensen-Shannon divergence of the weights. Every divergence elsewhere means something only "
        "beside this one. The adversary of Jain & Wallace chooses weights text by text, with the "
        "prediction kept.",
        *(block for one in seeds for block in (_violins(one), _seeds_table(one))),
    )
    yield section(
        "guide",
        "Do the weights help another model?",
        "A model that sees each word by itself, with weights from elsewhere to sum the words up. "
        "If the LSTM's weights help it, they carry information about the words. The adversary is "
        "a model that was trained to say the same with other weights.",
        _guide(texts, paper),
    )
    drawn = [(one, _tradeoff(one, paper)) for one in shown]
    yield section(
        "adversary",
        "A model trained to have other weights",
        "New models trained to match the base model's predictions, text by text, with weights as "
        "different as the strength λ asks for. Far right and low is a model that says the same "
        "with other weights.",
        *(block for one, some in drawn if some for block in (some, _strengths(one, paper))),
    )
    said = [
        f"{one.label(record)}: {typeset(f['sentence'])}"
        for one in tasks
        for record in one.records
        for f in record.facts.get("findings", [])
        if (f["control"], f["subject"]) == ("uniform", "uniform")
    ]
    yield section(
        "tasks",
        "Two tasks whose answer is known",
        "Generated tasks: one that nobody can do without attention, and one on which any weights "
        "will do. A control that says the same of both would be worth nothing.",
        *((_accuracies(tasks), Words("What the control says", tuple(said))) if tasks else ()),
    )


def _differences(shown: Sequence[Controlled]) -> Iterator[str]:
    for one in shown:
        said = difference_of(one.name, one.main.spec)
        most = one.main.spec["adversary_epochs"]
        yield f"{one.sizes}, adversaries at most {most}. {said[0].upper()}{said[1:]}."
    yield from RELEASED
    for one in shown:
        for record in one.records:
            failed = (note for note in record.notes if note.startswith("training "))
            yield from (f"{one.title}, {model_of(record)}: {note}." for note in failed)


def _f1(title: str, about: str, head: Sequence[str], rows: Sequence[Row]) -> Table | None:
    """F1 beside the paper's, of which it is said how they are known."""
    return table(title, f"Intervals below.{about}{_star(rows)}", "data set", head, rows)


def _uniform(shown: Sequence[Controlled], paper: Paper) -> Table | None:
    def values(one: Controlled, record: CellRecord) -> Iterator[Value]:
        for name in ("learned", *WITH):
            stated = paper.f1(one.name, name) if parts_of(record) == PAPERS else None
            yield _here(find(record.rows, "f1", f"uniform/{name}"), stated)
            if name in ("learned", "uniform"):
                yield theirs(stated, finely)

    about = " The paper has uniform weights only; the others are ours."
    head = ("learned", THERE, "uniform", THERE, "fixed random", "by position", "by word alone")
    rows = [Row(one.label(r), tuple(values(one, r))) for one in shown for r in one.records]
    return _f1("F1 with learned attention and with replacements", about, head, rows)


def _lost(shown: Sequence[Controlled]) -> Figure | None:
    """What each replacement loses, set by set."""
    series = [Series(WITH[n], PALETTE[i], SHAPES[i]) for i, n in enumerate(WITH)]
    found = {
        one.title: tuple(find(one.main.rows, "f1_difference", f"uniform/{n}") for n in WITH)
        for one in shown
    }
    rows = [IntervalRow(title, some) for title, some in found.items() if any(some)]
    if not rows:
        return None
    ends = [0.0, *ends_of(rows)]
    room = max(0.02, 0.08 * (max(ends) - min(ends)))
    return interval_picture(
        "lost",
        (
            "F1 lost without learned weights",
            "F1 of learned weights less that of each replacement, on the same texts. At 0 nothing "
            "is lost.",
        ),
        rows,
        series,
        (min(ends) - room, max(ends) + room),
        "difference of F1",
        said_of(
            (f"{row.label}, {s.name}", e)
            for row in rows
            for s, e in zip(series, row.estimates, strict=True)
        ),
        (Guide(0, "nothing lost 0"),),
    )


def _violins(one: Controlled) -> Figure | None:
    frame, found = one.controls, one.search
    if "seeds/median_jsd" not in frame.columns:
        return None
    drawn = {"seeds/median_jsd": (SEEDS_WORDS, ACCENT)}
    if found is not None:
        frame = frame.join(found, on="id", how="left", maintain_order="left")
        drawn["search_jsd"] = (SEARCH_WORDS, SECOND)
    rows = [
        Violin(
            weights_label(name),
            tuple(half(n, values_of(part, c), shade, END) for c, (n, shade) in drawn.items()),
            weights_of(name),
        )
        for name, part in (("all texts", frame), *by_max_weight(frame))
        if not part.is_empty()
    ]
    far = Guide(DIFFERENT, f"clearly different {DIFFERENT:g}", dashed=False)
    return violin_picture(
        f"seeds-{one.name}",
        f"{one.titled}: divergence of the weights, by the largest weight",
        rows,
        (END[1], "Jensen-Shannon divergence (0 to 0.69)"),
        "other seeds above the line, the adversary below" if found is not None else "",
        [Series(*named) for named in drawn.values()],
        (Guide(STABLE, f"stable {STABLE:g}"), far),
    )


def _seeds_table(one: Controlled) -> Table | None:
    rows = []
    for record in one.records:
        for group in ("all", *WEIGHTS):
            seeds = find(record.rows, "median_jsd", "seeds/weights", group)
            if seeds is None or seeds.value is None:
                continue
            values = (
                Value(count(seeds.n)),
                _here(seeds),
                _here(find(record.rows, "mean_jsd", "search", group)),
                Value(number(seeds.null)),
                _here(find(record.rows, "mean_tvd", "seeds/output", group), write=finely),
            )
            inner = group != "all"
            rows.append(Row(weights_label(group) if inner else one.label(record), values, inner))
    return table(
        f"{one.title}: means over texts",
        "By chance is the divergence to the same weights in random order: flat weights over a "
        "long text differ little whatever they are. Output change is the mean over seeds.",
        "model",
        ("texts", "divergence of seeds", "of the adversary", "by chance", "output change of seeds"),
        rows,
        folded=True,
    )


def _guide(shown: Sequence[Controlled], paper: Paper) -> Table | None:
    def values(one: Controlled, record: CellRecord) -> Iterator[Value]:
        for source in SOURCES:
            stated = paper.guided(one.name, source) if parts_of(record) == PAPERS else None
            yield _here(find(record.rows, "f1", f"guide/{source}"), stated)
            yield theirs(stated, finely)

    rows = [
        Row(one.label(record), tuple(values(one, record)))
        for one in shown
        for record in one.records
        if find(record.rows, "f1", "guide/base")
    ]
    title = "F1 of a context-free model under four sources of weights"
    heads = ("uniform", "learned by itself", "the LSTM's", "the adversary's")
    return _f1(title, "", [h for head in heads for h in (head, THERE)], rows)


def _models(record: CellRecord) -> Iterator[tuple[str, str, str, Estimate, Estimate]]:
    """Kind, name, label, divergence and output change of every model beside the base."""
    means = [e for e in record.rows if (e.statistic, e.group) == ("mean_jsd", "all")]
    trained = [e.subject for e in means if e.subject.startswith(TRAINED)]
    for subject in (*trained, "search"):
        jsd, tvd = (find(record.rows, f"mean_{w}", subject) for w in ("jsd", "tvd"))
        if jsd is None or tvd is None or jsd.value is None or tvd.value is None:
            continue
        name = subject.removeprefix(TRAINED)
        kind = name.split(" ")[0]
        label = {
            "adversary": f"λ = {name.removeprefix('adversary ')}",
            "search": SEARCH_WORDS,
            "uniform": "uniform weights",
        }.get(kind, name)
        yield kind, subject, label, jsd, tvd


def _tradeoff(one: Controlled, paper: Paper) -> Figure | None:
    points: dict[str, list[tuple[float, float, str]]] = {kind: [] for kind in SERIES}
    for kind, _, label, jsd, tvd in _models(one.main):
        points[kind].append((float(jsd.value or 0), float(tvd.value or 0), label))
    if not points["adversary"]:
        return None
    strength, x, y = (paper.adversary(one.name, what) for what in ("strength", "jsd", "tvd"))
    if x is not None and y is not None and parts_of(one.main) == PAPERS:
        points["paper"].append((x, y, f"λ = {strength:g}"))
    some = {kind: found for kind, found in points.items() if found}
    top = max(y for found in some.values() for _, y, _ in found)
    words = (
        f"{one.titled}: what other weights cost",
        "Each point is a model beside the base: mean divergence of its weights, and mean change of "
        f"its output. Up to {EPSILON:g} counts as the same prediction."
        f"{STAR if points['paper'] else ''}",
    )
    said = (
        f"{SERIES[k].name} {label}: divergence {number(x)}, output change {number(y, 3)}"
        for k, found in some.items()
        for x, y, label in found
    )
    return curve_picture(
        f"tradeoff-{one.name}",
        words,
        [Curve(SERIES[k], tuple(p), joined=k == "adversary") for k, p in some.items()],
        (DOMAIN, (0.0, max(1.15 * top, 2 * EPSILON))),
        ("mean divergence of the weights", "mean output change"),
        said,
    )


def _strengths(one: Controlled, paper: Paper) -> Table | None:
    """Every model of the trade-off curve in numbers, and the paper's."""
    rows = []
    for record in one.records:
        trainings = record.facts.get("trainings", {})
        base = find(record.rows, "f1", "seeds/base") or find(record.rows, "f1", "uniform/learned")
        rows.append(Row(f"{one.label(record)}: base", (_here(base), *[Value(NOTHING)] * 3)))
        for _, subject, label, jsd, tvd in _models(record):
            epochs = trainings.get(subject.removeprefix(TRAINED), {}).get("epochs")
            ran = Value(NOTHING if epochs is None else count(int(epochs)))
            f1 = _here(find(record.rows, "f1", subject))
            rows.append(Row(label, (f1, _here(jsd), _here(tvd, write=finely), ran), inner=True))
    stated = [paper.adversary(one.name, what) for what in ("f1", "jsd", "tvd")]
    if stated[1] is not None:
        name = f"the paper*, λ = {paper.adversary(one.name, 'strength'):g}"
        rows.append(Row(name, tuple(theirs(number, finely) for number in (*stated, None))))
    return table(
        f"{one.title}: all models in numbers",
        STAR.strip() if stated[1] is not None else "",
        "model",
        ("F1", "divergence", "output change", "epochs"),
        rows,
        folded=True,
    )


def _accuracies(tasks: Sequence[Controlled]) -> Table | None:
    names = (("accuracy", "learned"), ("accuracy", "uniform"), ("accuracy_difference", "uniform"))
    rows = [
        Row(
            one.label(record),
            tuple(_here(find(record.rows, s, f"uniform/{w}"), write=finely) for s, w in names),
        )
        for one in tasks
        for record in one.records
    ]
    head = ("learned weights", "uniform weights", "lost")
    return table("Accuracy", "Intervals below.", "task", head, rows)


def _here(found: Estimate | None, stated: float | None = None, write: Write = number) -> Value:
    """Our number, marked where the paper's lies too far from its interval."""
    return beside(found, stated, CLOSE, write, f"{finely(stated)} ({RECALLED})")


def _star(rows: Sequence[Row]) -> str:
    """What is said of the paper's numbers, where there are any."""
    return STAR if any(v.paper and v.text != NOTHING for r in rows for v in r.values) else ""
