"""The page of the study jain2019: the paper's tables and figures, with its numbers beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from attnaudit.audit.audit import AuditResult
from attnaudit.audit.store import Store
from attnaudit.errors import RunError
from attnaudit.findings.estimates import BINS
from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import NOTHING, count, number, shortened, spoken
from attnaudit.report.blocks import (
    Block,
    Picture,
    Row,
    StudySection,
    StudyTable,
    Texts,
    Value,
    Words,
)
from attnaudit.report.charts import (
    ACCENT,
    MUTED,
    Distribution,
    Figure,
    Guide,
    Series,
    distribution_rows,
)
from attnaudit.report.curves import (
    LEGEND_HERE,
    LEGEND_PAPER,
    Half,
    Violin,
    violins,
)
from attnaudit.report.figures import PALETTE, SECOND, THIRD
from attnaudit.report.instances import shown_instances
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.jain2019.measure import MUTUAL, TO_GRADIENT, TO_LOO
from attnaudit.studies.jain2019.paper import Paper
from attnaudit.studies.jain2019.settings import SETTINGS, difference_of
from attnaudit.studies.schema import CellRecord

CLOSE_TAU, CLOSE_SCORE = 0.1, 0.03
"""How far our interval may lie from the paper's number before it is marked."""
NAMES = {
    TO_GRADIENT: "attention and gradient",
    TO_LOO: "attention and leave-one-out",
    MUTUAL: "gradient and leave-one-out",
}
TEXTS_SHOWN = 2
TWO = 2


@dataclass(frozen=True)
class Shown:
    """One data set on the page: its cells, and the one whose instances are drawn."""

    name: str
    title: str
    records: tuple[CellRecord, ...]
    main: CellRecord
    audit: AuditResult | None

    @property
    def classes(self) -> list[str]:
        """Names of the classes, where they are few enough to be told apart."""
        found = self.main.facts.get("classes")
        return [str(c) for c in found] if isinstance(found, list) else []


def sections(results: Results) -> Iterator[StudySection]:
    """Performance, correlation, permutation, adversaries, examples, and what differs."""
    paper = Paper(results.reference)
    shown = list(_shown(results))
    yield _differences(shown, paper)
    yield _performance(shown, paper)
    yield _correlation(shown, paper)
    yield _permutation(shown, paper)
    yield _adversary(shown, paper)
    yield _examples(shown)


def _shown(results: Results) -> Iterator[Shown]:
    for name, setting in SETTINGS.items():
        records = results.where(data=name)
        if not records:
            continue
        first = min(
            records,
            key=lambda r: (r.spec["encoder"] != "bilstm", r.spec["attention"] != "additive"),
        )
        yield Shown(name, setting.title, tuple(records), first, _audit(results, first))


def _audit(results: Results, record: CellRecord) -> AuditResult | None:
    store = Store(results.folder_of(record) / "audit")
    try:
        return AuditResult(store.read_report(), store.read_instances())
    except (RunError, pl.exceptions.PolarsError, OSError):
        return None  # the numbers of the cell stand; only its pictures are gone


def _differences(shown: Sequence[Shown], paper: Paper) -> StudySection:
    points = []
    for one in shown:
        sizes = one.main.facts.get("sizes", {})
        texts = ", ".join(f"{n} {count(int(s))}" for n, s in sizes.items())
        spec = one.main.spec
        said = difference_of(one.name, spec)
        size = (
            f"hidden {spec['hidden']}, {spec['embedding_dim']} numbers a word, "
            f"{spec['epochs']} epochs"
        )
        points.append(
            f"{one.title}: {texts} texts; {size}."
            + (f" {said[0].upper()}{said[1:]}." if said else "")
        )
    stated = (
        ""
        if paper.results
        else (
            " The paper's full tables are shown where a file with them is given (--reference); "
            "without one, only a few numbers that are widely cited."
        )
    )
    return StudySection(
        "differences",
        "What differs",
        "Data, sizes and word vectors are not the paper's throughout. A number of ours is marked "
        f"≠ where its interval lies further than {CLOSE_TAU} (correlations) or {CLOSE_SCORE} "
        f"(scores) from the paper's.{stated}",
        (Words("", tuple(points)),),
    )


def _performance(shown: Sequence[Shown], paper: Paper) -> StudySection:
    tables = []
    for one in shown:
        names = [
            n for n in ("accuracy", "roc_auc", "f1", "f1_macro") if find(one.main.rows, n, "model")
        ]
        if "f1" in names:
            names.remove("f1_macro")
        words = {"accuracy": "accuracy", "roc_auc": "ROC-AUC", "f1": "F1", "f1_macro": "mean F1"}
        rows = []
        for record in one.records:
            values = []
            for name in names:
                config = (str(record.spec["encoder"]), str(record.spec["attention"]))
                if name == "accuracy":
                    stated = paper.accuracy(one.name, *config)
                else:
                    stated = paper.performance(one.name, *config, name)
                found = find(record.rows, name, "model")
                values += [_here(found, stated, CLOSE_SCORE), _theirs(stated)]
            rows.append(Row(_config(record, one), tuple(values)))
        head = tuple(h for n in names for h in (words[n], "the paper"))
        sizes = one.main.facts.get("sizes", {})
        tables.append(
            _table(
                f"{one.title}",
                f"{count(int(sizes.get('test', 0)))} test texts; intervals below.",
                "model",
                head,
                tuple(rows),
            )
        )
    return StudySection(
        "performance",
        "Performance",
        "A correlation says little about a model that does not do its task. Models are chosen on "
        "a development split and scored on the test split.",
        tuple(tables),
    )


def _correlation(shown: Sequence[Shown], paper: Paper) -> StudySection:
    blocks: list[Block] = []
    for one in shown:
        blocks.append(_tau_table(one, paper))
        picture = _tau_picture(one)
        if picture is not None:
            blocks.append(picture)
    return StudySection(
        "correlation",
        "Attention against gradients and leave-one-out",
        "Kendall's tau-b of each test text: 1 the same order of its words, 0 unrelated, −1 the "
        "opposite order. Mean ± standard deviation over texts; below, the share with p ≤ 0.05, "
        "which mostly measures length.",
        tuple(blocks),
    )


def _tau_table(one: Shown, paper: Paper) -> StudyTable:
    rows = []
    for record in one.records:
        config = (str(record.spec["encoder"]), str(record.spec["attention"]))
        groups = [("all", "overall", _config(record, one))]
        if len(one.classes) == TWO:
            groups += [
                (f"predicted={c}", str(i), f"predicted {c}") for i, c in enumerate(one.classes)
            ]
        for group, theirs, name in groups:
            values = []
            for pair in (TO_GRADIENT, TO_LOO, MUTUAL):
                stated = paper.tau(one.name, *config, pair, theirs)
                mean = find(record.rows, "kendall_tau", pair, group)
                spread = find(record.rows, "kendall_tau_sd", pair, group)
                share = find(record.rows, "significant_share", pair, group)
                here = _here(mean, stated, CLOSE_TAU)
                text = here.text + (f" ± {number(spread.value)}" if spread else "")
                known = share is not None and share.value is not None
                more = f"{number(share.value, percent=True)} sig." if share and known else ""
                values.append(Value(text, more, here.differs))
                std = paper.tau(one.name, *config, pair, theirs, "std")
                sig = paper.tau(one.name, *config, pair, theirs, "sig")
                values.append(
                    Value(
                        number(stated) + (f" ± {number(std)}" if std is not None else ""),
                        f"{number(sig, percent=True)} sig." if sig is not None else "",
                        paper=True,
                    )
                )
            rows.append(Row(name, tuple(values), inner=group != "all"))
    head = tuple(h for p in (TO_GRADIENT, TO_LOO, MUTUAL) for h in (NAMES[p], "the paper"))
    return _table(one.title, "", "model", head, tuple(rows))


def _tau_picture(one: Shown) -> Picture | None:
    if one.audit is None:
        return None
    frame = one.audit.instances
    rows = []
    for pair, colour in ((TO_GRADIENT, ACCENT), (TO_LOO, SECOND), (MUTUAL, THIRD)):
        column = f"agreement/tau.{pair}"
        if column in frame.columns:
            rows.append(
                Distribution(
                    NAMES[pair],
                    _values(frame, column),
                    find(one.main.rows, "kendall_tau", pair),
                    colour,
                    NAMES[pair].replace("attention and ", "att. and "),
                )
            )
    if not rows:
        return None
    return Picture(
        Figure(
            name=f"tau-{one.name}",
            title=f"{one.title}, {_plain(one.main)}: tau over test texts",
            caption="One histogram a pair. The dot is the mean, the line its interval. Heights are "
            "scaled within each row.",
            spec=distribution_rows(
                rows,
                domain=(-1, 1),
                bins=40,
                axis="Kendall tau-b (−1 to 1)",
                guides=(Guide(0, "unrelated 0"),),
            ),
            description="; ".join(f"{r.label}: {spoken(r.estimate)}" for r in rows if r.estimate),
        )
    )


def _permutation(shown: Sequence[Shown], paper: Paper) -> StudySection:
    blocks: list[Block] = []
    for one in shown:
        if one.audit is not None and "permutation/median_tvd" in one.audit.instances.columns:
            blocks.append(
                _violins(
                    one,
                    paper,
                    "permutation/median_tvd",
                    (0.0, 1.0),
                    "median output change (0 to 1)",
                    "permutation",
                    f"{one.title}, {_plain(one.main)}: output change under permuted weights",
                )
            )
        blocks.append(_bins_table(one, paper))
    return StudySection(
        "permutation",
        "Permuting the weights",
        "The same weights, given to other words 100 times: how far the output moves, in the "
        "median. A flat distribution changes little whatever it means, so texts are shown by the "
        "size of their largest weight.",
        tuple(blocks),
    )


def _violins(
    one: Shown,
    paper: Paper,
    column: str,
    domain: tuple[float, float],
    axis: str,
    kind: str,
    title: str,
    guides: tuple[Guide, ...] = (),
) -> Picture:
    assert one.audit is not None
    frame = one.audit.instances
    split = one.classes if len(one.classes) <= len(PALETTE) else []
    config = (str(one.main.spec["encoder"]), str(one.main.spec["attention"]))
    rows, legend = [], []
    pair = len(split) == TWO
    drawn = [
        (
            f"largest weight {low:.2f} to {min(high, 1.0):.2f}",
            f"{low:.2f} to {min(high, 1.0):.2f}",
            frame.filter((pl.col("max_weight") >= low) & (pl.col("max_weight") < high)),
            paper.permutation(one.name, *config, _bin(low, high)) if kind == "permutation" else (),
        )
        for low, high in pairwise(BINS)
    ]
    if kind != "permutation":
        stated = paper.adversary_by_class(one.name, *config)
        drawn.insert(0, ("all texts", "all texts", frame, stated))
    for label, short, inside, stated in drawn:
        if inside.is_empty():
            continue
        groups = [("all texts", inside)]
        if pair:
            groups = [(n, inside.filter(pl.col("predicted") == i)) for i, n in enumerate(split)]
        halves = tuple(
            Half(name, _values(part, column), PALETTE[i % 4], _quarters(stated, i, len(groups)))
            for i, (name, part) in enumerate(groups)
        )
        rows.append(Violin(label, halves, short))
    if pair:
        legend = [
            Series(f"predicted {shortened(name, 16)}", PALETTE[i]) for i, name in enumerate(split)
        ]
    legend.append(LEGEND_HERE)
    if any(h.paper for r in rows for h in r.halves):
        legend.append(LEGEND_PAPER)
    medians = [
        f"{row.label}, {half.name}: median {number(float(np.nanmedian(half.values)))}"
        for row in rows
        for half in row.halves
        if np.isfinite(half.values).any()
    ]
    return Picture(
        Figure(
            name=f"{kind}-{one.name}",
            title=title,
            caption="The thicker, the more texts"
            + ("; one predicted class above the line, the other below" if pair else "")
            + ". Dots and lines are medians and quartiles. Each side is scaled to its own peak.",
            spec=violins(rows, domain=domain, axis=axis, guides=guides),
            description="; ".join(medians),
            legend=tuple(legend),
        )
    )


def _bins_table(one: Shown, paper: Paper) -> StudyTable:
    """Medians by bin of the largest weight: every model of a data set, in each class of two."""
    bins = [
        (
            f"max weight [{low:.2f}, {min(high, 1.0):.2f})",
            _bin(low, high),
            f"{low:.2f}–{min(high, 1.0):.2f}",
        )
        for low, high in pairwise(BINS)
    ]
    rows = []
    for record in one.records:
        config = (str(record.spec["encoder"]), str(record.spec["attention"]))
        two = len(one.classes) == TWO
        for place, name in enumerate(one.classes if two else [""]):
            prefix = f"predicted={name}, " if two else ""
            values = []
            for group, theirs, _ in bins:
                found = find(record.rows, "median_tvd_q50", "weights", prefix + group)
                stated = paper.permutation(one.name, *config, theirs)
                quarters = _quarters(stated, place, 2 if two else 1)
                values += [
                    Value(number(found.value, 3), f"n = {count(found.n)}")
                    if found
                    else Value(NOTHING),
                    Value(number(quarters[1], 3), paper=True)
                    if quarters
                    else Value(NOTHING, paper=True),
                ]
            label = _config(record, one) + (f", predicted {name}" if two else "")
            rows.append(Row(label, tuple(values), inner=two and place > 0))
    head = tuple(h for _, _, title in bins for h in (f"largest weight {title}", "the paper"))
    return _table(
        f"{one.title}: medians, all models",
        "Median over texts of the median output change, by the size of the largest weight.",
        "model",
        head,
        tuple(rows),
        folded=True,
    )


def _adversary(shown: Sequence[Shown], paper: Paper) -> StudySection:
    blocks: list[Block] = []
    kinds = {
        "search": "published search",
        "exact": "certified maximum",
        "bounded": "best found",
        "permutation": "same weights, other order",
    }
    for one in shown:
        rows = []
        for record in one.records:
            config = (str(record.spec["encoder"]), str(record.spec["attention"]))
            stated = paper.adversary(one.name, *config, "mean")
            search = find(record.rows, "max_jsd", "search")
            values = [_here(search, stated, CLOSE_TAU), _theirs(stated)]
            values.append(_percent(find(record.rows, "contestable_share", "search")))
            certified = find(record.rows, "max_jsd", "exact") or find(
                record.rows, "max_jsd", "bounded"
            )
            values.append(_here(certified, None, 0))
            values.append(_here(find(record.rows, "max_jsd", "permutation"), None, 0))
            rows.append(Row(_config(record, one), tuple(values)))
        blocks.append(
            _table(
                one.title,
                "",
                "model",
                (
                    "published search",
                    "the paper",
                    "search above .4",
                    "best of any weights",
                    "same weights, other order",
                ),
                tuple(rows),
            )
        )
        if one.audit is None:
            continue
        frame = one.audit.instances
        drawn = [
            Distribution(
                kinds[kind],
                _values(frame, f"adversary/{kind}_jsd"),
                find(one.main.rows, "max_jsd", kind),
                ACCENT if kind == "search" else MUTED,
            )
            for kind in kinds
            if f"adversary/{kind}_jsd" in frame.columns
        ]
        if drawn:
            blocks.append(
                Picture(
                    Figure(
                        name=f"adversary-{one.name}",
                        title=f"{one.title}, {_plain(one.main)}: how different other "
                        f"weights can be",
                        caption="Texts by the largest Jensen-Shannon divergence of other "
                        "weights that "
                        "leave the prediction where it was (change of .05 at most). .69 is "
                        "nothing in "
                        "common. Heights are scaled within each row.",
                        spec=distribution_rows(
                            drawn,
                            domain=(0, 0.7),
                            bins=40,
                            axis="largest divergence (0 to 0.69)",
                            guides=(Guide(0.4, "clearly different 0.4", dashed=False),),
                        ),
                        description="; ".join(
                            f"{r.label}: {spoken(r.estimate)}" for r in drawn if r.estimate
                        ),
                    )
                )
            )
        searched = "search" if "adversary/search_jsd" in frame.columns else "exact"
        if f"adversary/{searched}_jsd" in frame.columns:
            blocks.append(
                _violins(
                    one,
                    paper,
                    f"adversary/{searched}_jsd",
                    (0.0, 0.7),
                    "largest divergence (0 to 0.69)",
                    "adversary-bins",
                    f"{one.title}, {_plain(one.main)}: the {kinds[searched]}, by the "
                    f"largest weight",
                    (Guide(0.4, "clearly different 0.4", dashed=False),),
                )
            )
    return StudySection(
        "adversary",
        "Adversarial weights",
        "Other weights for the same hidden states that leave the prediction where it was. The "
        "published search finds some; with two classes and a linear head the true maximum can be "
        "certified, and lies near .69 for almost every text of almost every model, so that it "
        "hardly tells models apart. A reordering of the same weights is the fairer opponent.",
        tuple(blocks),
    )


def _examples(shown: Sequence[Shown]) -> StudySection:
    blocks: list[Block] = []
    for one in shown:
        if one.audit is None:
            continue
        found = shown_instances(one.audit.report, one.audit.instances)
        different = [i for i in found if "different story" in i.why][:TEXTS_SHOWN]
        chosen = different or list(found[:TEXTS_SHOWN])
        if chosen:
            blocks.append(
                Texts(f"texts-{one.name}", f"{one.title}, {_plain(one.main)}", tuple(chosen))
            )
    return StudySection(
        "examples",
        "Texts to look at",
        "The weights, leave-one-out, and an adversary's weights with the same prediction. The "
        "stronger the shade, the larger the score; orange speaks against the prediction, and "
        "known evidence is underlined. Point at a word, tap it, or use the arrow keys.",
        tuple(blocks),
    )


def _table(
    title: str,
    caption: str,
    first: str,
    head: Sequence[str],
    rows: Sequence[Row],
    *,
    folded: bool = False,
) -> StudyTable:
    """A table without the columns in which no row has a number."""
    kept = [i for i in range(len(head)) if any(r.values[i].text != NOTHING for r in rows)]
    return StudyTable(
        title,
        caption,
        first,
        tuple(head[i] for i in kept),
        tuple(Row(r.name, tuple(r.values[i] for i in kept), r.inner) for r in rows),
        folded,
    )


def _here(found: Estimate | None, stated: float | None, close: float) -> Value:
    """Our number with its interval, marked where the paper's lies too far from it."""
    if found is None or found.value is None:
        return Value(NOTHING)
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    differs = ""
    if stated is not None and (stated > high + close or stated < low - close):
        side = "above" if found.value > stated else "below"
        differs = f"{side} the paper's {number(stated)} by more than {close} beyond the interval"
    more = "" if found.low is None else f"{number(low)} to {number(high)}"
    return Value(number(found.value), more, differs)


def _theirs(stated: float | None) -> Value:
    return Value(number(stated), paper=True)


def _percent(found: Estimate | None) -> Value:
    if found is None or found.value is None:
        return Value(NOTHING)
    ends = (number(e, percent=True) for e in (found.low, found.high))
    return Value(number(found.value, percent=True), " to ".join(ends))


def _config(record: CellRecord, one: Shown) -> str:
    seeds = {r.spec["seed"] for r in one.records}
    return _plain(record) + (f", seed {record.spec['seed']}" if len(seeds) > 1 else "")


def _plain(record: CellRecord) -> str:
    encoder = {"bilstm": "BiLSTM", "cnn": "CNN", "average": "average"}
    name = str(record.spec["encoder"])
    return f"{encoder.get(name, name)} + {record.spec['attention']}"


def _bin(low: float, high: float) -> str:
    """How the paper's numbers call a bin of the largest weight."""
    return f"[{low:.2f},{min(high, 1.0):.2f})"


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


def _values(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
