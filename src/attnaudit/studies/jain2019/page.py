"""The page of the study jain2019: the paper's tables and figures, with its numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import polars as pl

from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.findings.estimates import by_max_weight, values_of
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    PALETTE,
    SECOND,
    THIRD,
    Figure,
    Guide,
    Row,
    Series,
    Table,
    Value,
    Violin,
    half,
)
from attnaudit.findings.wording import count, number, shortened
from attnaudit.report.blocks import Block, StudySection, Texts, Words
from attnaudit.report.curves import LEGEND_HERE, LEGEND_PAPER
from attnaudit.report.instances import shown_instances
from attnaudit.studies.claims import parts_of
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.jain2019.measure import MUTUAL, TO_GRADIENT, TO_LOO
from attnaudit.studies.jain2019.paper import Paper
from attnaudit.studies.jain2019.settings import SETTINGS, difference_of
from attnaudit.studies.pieces import (
    WEIGHTS,
    Histogram,
    Shown,
    beside,
    finely,
    histogram_picture,
    kept,
    model_of,
    percent,
    section,
    shown_of,
    table,
    theirs,
    told,
    violin_picture,
    weights_label,
    weights_of,
)
from attnaudit.studies.schema import CellRecord
from attnaudit.studies.texts import AUDIT_FOLDER

CLOSE_TAU, CLOSE_SCORE = 0.1, 0.03
"""How far our interval may lie from the paper's number before it is marked."""
PAIRS = {
    TO_GRADIENT: ("attention and gradient", ACCENT),
    TO_LOO: ("attention and leave-one-out", SECOND),
    MUTUAL: ("gradient and leave-one-out", THIRD),
}
SCORES = {"accuracy": "accuracy", "roc_auc": "ROC-AUC", "f1": "F1", "f1_macro": "mean F1"}
KINDS = {
    "search": "published search",
    "exact": "certified maximum",
    "bounded": "best found",
    "permutation": "same weights, other order",
}
MOVED, DIVERGENCE = "permutation/median_tvd", "largest divergence (0 to 0.69)"
DIFFERENT = Guide(0.4, "clearly different 0.4", dashed=False)
TEXTS_SHOWN = 2
TWO = 2


class Audited(Shown):
    """A data set with the audit of its main cell."""

    @cached_property
    def audit(self) -> AuditResult | None:
        """None where the folder of the cell is gone."""
        return kept(lambda: open_audit(self.folder / AUDIT_FOLDER))

    @property
    def columns(self) -> pl.DataFrame:
        """What was measured of each text."""
        return pl.DataFrame() if self.audit is None else self.audit.instances

    @property
    def pair(self) -> list[str]:
        """The two classes, where there are two."""
        found = self.main.facts.get("classes")
        return [str(c) for c in found] if isinstance(found, list) and len(found) == TWO else []

    def label(self, record: CellRecord) -> str:
        """What tells a cell from the others."""
        return ", ".join([model_of(record), *self.seed_of(record)])

    def table(
        self, title: str, caption: str, head: Iterable[str], rows: Iterable[Row]
    ) -> Table | None:
        """A table of models; one with a longer title than the set's is shown when asked for."""
        return table(title, caption, "model", tuple(head), rows, title != self.title)


def sections(results: Results) -> Iterator[StudySection]:
    """Performance, correlation, permutation, adversaries, examples, and what differs."""
    paper = Paper(results.reference)
    shown = list(shown_of(results, {n: s.title for n, s in SETTINGS.items()}, Audited))
    stated = (
        ""
        if paper.results
        else " The paper's full tables are shown where a file with them is given (--reference); "
        "without one, only a few numbers that are widely cited."
    )
    yield section(
        "differences",
        "What differs",
        "Data, sizes and word vectors are not the paper's throughout. A number of ours is marked "
        f"≠ where its interval lies further than {CLOSE_TAU} (correlations) or {CLOSE_SCORE} "
        f"(scores) from the paper's.{stated}",
        Words("", tuple(map(_differs, shown))),
    )
    yield section(
        "performance",
        "Performance",
        "A correlation says little about a model that does not do its task. Models are chosen on "
        "a development split and scored on the test split.",
        *(_performance(one, paper) for one in shown),
    )
    yield section(
        "correlation",
        "Attention against gradients and leave-one-out",
        "Kendall's tau-b of each test text: 1 the same order of its words, 0 unrelated, −1 the "
        "opposite order. Mean ± standard deviation over texts; below, the share with p ≤ 0.05, "
        "which mostly measures length.",
        *(block for one in shown for block in (_tau_table(one, paper), _tau_picture(one))),
    )
    yield section(
        "permutation",
        "Permuting the weights",
        "The same weights, given to other words 100 times: how far the output moves, in the "
        "median. A flat distribution changes little whatever it means, so texts are shown by the "
        "size of their largest weight.",
        *(block for one in shown for block in (_moved(one, paper), _bins_table(one, paper))),
    )
    yield section(
        "adversary",
        "Adversarial weights",
        "Other weights for the same hidden states that leave the prediction where it was. The "
        "published search finds some; with two classes and a linear head the true maximum can be "
        "certified, and lies near .69 for almost every text of almost every model, so that it "
        "hardly tells models apart. A reordering of the same weights is the fairer opponent.",
        *(block for one in shown for block in _adversary(one, paper)),
    )
    yield section(
        "examples",
        "Texts to look at",
        "The weights, leave-one-out, and an adversary's weights with the same prediction. The "
        "stronger the shade, the larger the score; orange speaks against the prediction, and "
        "known evidence is underlined. Point at a word, tap it, or use the arrow keys.",
        *map(_examples, shown),
    )


def _differs(one: Audited) -> str:
    said = difference_of(one.name, one.main.spec)
    return f"{one.sizes}." + (f" {said[0].upper()}{said[1:]}." if said else "")


def _performance(one: Audited, paper: Paper) -> Table | None:
    names = [name for name in SCORES if find(one.main.rows, name, "model")]
    if "f1" in names:
        names.remove("f1_macro")

    def values(record: CellRecord) -> Iterator[Value]:
        for name in names:
            stated = paper.performance(one.name, *parts_of(record), name)
            yield beside(find(record.rows, name, "model"), stated, CLOSE_SCORE)
            yield theirs(stated)

    test = int(one.main.facts.get("sizes", {}).get("test", 0))
    return one.table(
        one.title,
        f"{count(test)} test texts; intervals below.",
        _with_theirs(SCORES[n] for n in names),
        (Row(one.label(record), tuple(values(record))) for record in one.records),
    )


def _with_theirs(heads: Iterable[str]) -> Iterator[str]:
    for head in heads:
        yield from (head, "the paper")


def _tau_table(one: Audited, paper: Paper) -> Table | None:
    def values(record: CellRecord, group: str, theirs: str) -> Iterator[Value]:
        for pair in PAIRS:
            mean, std, sig = (
                paper.tau(one.name, *parts_of(record), pair, theirs, what)
                for what in ("mean", "std", "sig")
            )
            ours = beside(find(record.rows, "kendall_tau", pair, group), mean, CLOSE_TAU)
            spread, share = (
                found.value if (found := find(record.rows, name, pair, group)) else None
                for name in ("kendall_tau_sd", "significant_share")
            )
            yield Value(ours.text + _after(spread), _share(share), ours.differs)
            yield Value(number(mean) + _after(std), _share(sig), paper=True)

    rows = [
        Row(name or one.label(record), tuple(values(record, group, theirs)), inner=group != "all")
        for record in one.records
        for group, theirs, name in (
            ("all", "overall", ""),
            *((f"predicted={c}", str(i), f"predicted {c}") for i, c in enumerate(one.pair)),
        )
    ]
    return one.table(one.title, "", _with_theirs(name for name, _ in PAIRS.values()), rows)


def _after(spread: float | None) -> str:
    return "" if spread is None else f" ± {number(spread)}"


def _share(significant: float | None) -> str:
    return "" if significant is None else f"{percent(significant)} sig."


def _tau_picture(one: Audited) -> Figure | None:
    rows = [
        Histogram(
            name,
            values_of(one.columns, f"agreement/tau.{pair}"),
            find(one.main.rows, "kendall_tau", pair),
            colour,
            name.replace("attention and ", "att. and "),
        )
        for pair, (name, colour) in PAIRS.items()
        if f"agreement/tau.{pair}" in one.columns
    ]
    words = (
        f"{one.titled}: tau over test texts",
        "One histogram a pair. The dot is the mean, the line its interval.",
    )
    axis = "Kendall tau-b (−1 to 1)"
    return histogram_picture(f"tau-{one.name}", words, rows, (-1, 1), axis, Guide(0, "unrelated 0"))


def _moved(one: Audited, paper: Paper) -> Figure | None:
    if MOVED not in one.columns:
        return None
    drawn = [
        (group, frame, paper.permutation(one.name, *parts_of(one.main), _bin(group)))
        for group, frame in by_max_weight(one.columns)
    ]
    words = ("permutation", "output change under permuted weights")
    return _violins(one, words, MOVED, (1.0, "median output change (0 to 1)"), drawn)


Drawn = tuple[str, pl.DataFrame, Sequence[object]]


def _violins(
    one: Audited,
    words: tuple[str, str],
    column: str,
    across: tuple[float, str],
    drawn: Sequence[Drawn],
    guides: tuple[Guide, ...] = (),
) -> Figure:
    """Violins of a column, by the largest weight and the class, the paper's quartiles beside."""
    rows = []
    for label, inside, stated in drawn:
        groups = [("all texts", inside)]
        if one.pair:
            groups = [(n, inside.filter(pl.col("predicted") == i)) for i, n in enumerate(one.pair)]
        halves = tuple(
            half(
                name,
                values_of(part, column),
                PALETTE[i],
                (0.0, across[0]),
                _quarters(stated, i, len(groups)),
            )
            for i, (name, part) in enumerate(groups)
        )
        if not inside.is_empty():
            rows.append(Violin(weights_label(label), halves, weights_of(label)))
    legend = [
        Series(f"predicted {shortened(name, 16)}", PALETTE[i]) for i, name in enumerate(one.pair)
    ]
    legend.append(LEGEND_HERE)
    if any(side.paper for row in rows for side in row.halves):
        legend.append(LEGEND_PAPER)
    sides = "one predicted class above the line, the other below" if one.pair else ""
    kind, title = words
    return violin_picture(
        f"{kind}-{one.name}", f"{one.titled}: {title}", rows, across, sides, legend, guides
    )


def _bins_table(one: Audited, paper: Paper) -> Table | None:
    """Medians by bin of the largest weight: every model of a data set, in each class of two."""

    def values(record: CellRecord, place: int, prefix: str) -> Iterator[Value]:
        for group in WEIGHTS:
            found = find(record.rows, "median_tvd_q50", "weights", prefix + group)
            stated = paper.permutation(one.name, *parts_of(record), _bin(group))
            quarters = _quarters(stated, place, TWO if one.pair else 1)
            median = told(found, finely)
            yield Value(median.text, f"n = {count(found.n)}" if found else "")
            yield theirs(quarters and quarters[1], finely)

    rows = [
        Row(
            one.label(record) + (f", predicted {name}" if name else ""),
            tuple(values(record, place, f"predicted={name}, " if name else "")),
            inner=place > 0,
        )
        for record in one.records
        for place, name in enumerate(one.pair or [""])
    ]
    return one.table(
        f"{one.title}: medians, all models",
        "Median over texts of the median output change, by the size of the largest weight.",
        _with_theirs(weights_label(group).replace(" to ", "–") for group in WEIGHTS),
        rows,
    )


def _adversary(one: Audited, paper: Paper) -> Iterator[Block | None]:
    def values(record: CellRecord) -> Iterator[Value]:
        stated = paper.adversary(one.name, *parts_of(record), "mean")
        largest = {kind: find(record.rows, "max_jsd", kind) for kind in KINDS}
        yield beside(largest["search"], stated, CLOSE_TAU)
        yield theirs(stated)
        yield told(find(record.rows, "contestable_share", "search"), percent)
        yield told(largest["exact"] or largest["bounded"])
        yield told(largest["permutation"])

    search, *_, order = KINDS.values()
    yield one.table(
        one.title,
        "",
        (search, "the paper", "search above .4", "best of any weights", order),
        (Row(one.label(record), tuple(values(record))) for record in one.records),
    )
    columns = {kind: f"adversary/{kind}_jsd" for kind in KINDS}
    drawn = [
        Histogram(
            KINDS[kind],
            values_of(one.columns, column),
            find(one.main.rows, "max_jsd", kind),
            ACCENT if kind == "search" else MUTED,
        )
        for kind, column in columns.items()
        if column in one.columns
    ]
    words = (
        f"{one.titled}: how different other weights can be",
        "Texts by the largest Jensen-Shannon divergence of other weights that leave the prediction "
        "where it was (change of .05 at most). .69 is nothing in common.",
    )
    name = f"adversary-{one.name}"
    yield histogram_picture(name, words, drawn, (0, 0.7), DIVERGENCE, DIFFERENT)
    kind = "search" if columns["search"] in one.columns else "exact"
    if columns[kind] in one.columns:
        stated = paper.adversary_by_class(one.name, *parts_of(one.main))
        rows: list[Drawn] = [("all texts", one.columns, stated)]
        rows += [(group, frame, ()) for group, frame in by_max_weight(one.columns)]
        words = ("adversary-bins", f"the {KINDS[kind]}, by the largest weight")
        yield _violins(one, words, columns[kind], (0.7, DIVERGENCE), rows, (DIFFERENT,))


def _examples(one: Audited) -> Texts | None:
    if one.audit is None:
        return None
    found = shown_instances(one.audit.report, one.audit.instances)
    different = [i for i in found if "different story" in i.why][:TEXTS_SHOWN]
    chosen = different or list(found[:TEXTS_SHOWN])
    return Texts(f"texts-{one.name}", one.titled, tuple(chosen)) if chosen else None


def _bin(group: str) -> str:
    """How the paper's numbers call a bin of the largest weight."""
    return group.removeprefix("max weight ").replace(", ", ",")


def _quarters(
    stated: Sequence[object], place: int, groups: int
) -> tuple[float, float, float] | None:
    """The paper's quartiles of one class; none where it does not tell the classes alike."""
    if len(stated) != groups or place >= len(stated):
        return None
    found = stated[place]
    if not isinstance(found, dict):
        return None
    low, middle, high = (found.get(k) for k in ("q25", "median", "q75"))
    if low is None or middle is None or high is None:
        return None
    return float(low), float(middle), float(high)
