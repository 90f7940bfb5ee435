"""The page of the study moeller2023: sums, shares, kinds of words, denial, convergence, models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    PALETTE,
    SECOND,
    Curve,
    Figure,
    Row,
    Series,
    Table,
    Value,
)
from attnaudit.findings.wording import NOTHING, count, number
from attnaudit.report.blocks import Block, StudySection, Words
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.moeller2023.cells import (
    AGREEMENT,
    STEPS,
    TABLES,
    setting_of,
    title_of_data,
    title_of_model,
)
from attnaudit.studies.moeller2023.paper import NEGATIVE_SHARE, TOP_SHARE, UNVERIFIED
from attnaudit.studies.moeller2023.shares import CURVE, FULL, PLAIN
from attnaudit.studies.moeller2023.steps import CONVERGED, OURS, PAPERS
from attnaudit.studies.pieces import (
    Column,
    Write,
    curve_picture,
    finely,
    percent,
    section,
    table,
    table_of,
    theirs,
    told,
)
from attnaudit.studies.schema import CellRecord

MOST_DRAWN = 400
"""Pairs in a picture; with more, dots hide each other."""
PARTS = {
    "sum": ("of the plain sum, by value", "Median"),
    "magnitude": ("of magnitudes, by size", "Mean"),
}


def _sized(value: float | None) -> str:
    """A number of any size: small ones by their power of ten.

    Example:
        >>> _sized(0.123), _sized(0.000123)
        ('0.12', '1.2e-04')
    """
    return f"{value:.1e}" if value is not None and abs(value) < 0.01 else number(value)


ERRORS = (
    *(
        Column(f"{name}: {what}", statistic, subject, write)
        for name, subject in (("full", FULL), ("plain", PLAIN))
        for what, statistic, write in (
            ("share that adds up", "within_tolerance", percent),
            ("mean error", "absolute_error", _sized),
            ("largest error", "largest_error", _sized),
        )
    ),
    Column("mean |e(r)| / |e(x)|", "reference_size", "e(r) over e(x)"),
    Column("mean corner", "corner", "e(r)e(r)"),
)
RANKS = (
    Column("full with score", "spearman_score", FULL, finely),
    Column("plain with score", "spearman_score", PLAIN, finely),
    Column("score with people", "spearman_labels", "score", finely),
    Column("full with people", "spearman_labels", FULL, finely),
    Column("plain with people", "spearman_labels", PLAIN, finely),
)
SHARES = (
    Column("median of the plain sum", "top_share", "of the plain sum", percent),
    Column("median of the score", "top_share", "of the score", percent),
    Column("mean of magnitudes", "top_share", "of magnitudes", percent),
    Column("mean of pairs for half", "pairs_for_half", "of magnitudes", percent),
    Column("mean of negative pairs", "negative_share", "pairs", percent),
)
DENIAL = (
    Column("adds to the score", "negation", "contribution", finely),
    Column("other tokens, size", "negation", "other words", finely),
    Column("ratio of sizes", "negation", "relative"),
)


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, and one section a question; a part that was not measured is left out."""
    records, steps, beside = (results.where(part=part) for part in (TABLES, STEPS, AGREEMENT))
    cells = [(setting_of(record.spec), record) for record in records]
    yield section(
        "differences",
        "What differs",
        "The papers' models are built on mpnet and distilroberta, and those of the first paper are "
        "trained so that a reference has no embedding. Numbers of the papers are marked where they "
        "were only read in notes of others; no answer rests on them.",
        Words("", tuple(_differs(name, record.facts) for name, record in cells)),
    )
    yield section(
        "sums",
        "The score and the sums",
        "The full table has a row, a column and a corner for the references; the papers' plain "
        "matrix leaves them out. |e(r)| / |e(x)| and the corner say how large that is.",
        table_of(
            (
                "Do the tables add up?",
                "Errors are |score − sum|, in units of the cosine. The corner is what the two "
                "references add by themselves.",
                "setting",
            ),
            ERRORS,
            cells,
        ),
        table_of(
            (
                "Do the sums order pairs as the score does?",
                "Spearman's ρ over pairs of texts: with the model's score, and with the scores "
                "that people gave.",
                "setting",
            ),
            RANKS,
            cells,
        ),
        *(_scatter(record, place) for place, record in enumerate(records)),
    )
    yield section(
        "shares",
        "How few pairs explain how much",
        "The plain sum is the score of an exact model alone. Of an off-the-shelf model it is "
        "larger, so a share of it is no share of the score.",
        *_shares(cells),
    )
    built_in = any(r.spec["tags"] == "closed" for r in records)
    yield section(
        "kinds",
        "Kinds of words",
        (
            "The kinds here come from lists of closed-class words, which are no tagger: nouns, "
            "verbs and adjectives are all “other word”. With spaCy, say --set "
            "tags=spacy:en_core_web_sm. "
            if built_in
            else "Parts of speech by spaCy. "
        )
        + "Words of several tokens have the sum of these.",
        *_kinds(cells),
    )
    yield section(
        "denial",
        "Denial",
        "Pairs of which one text has not, n’t, no, never or cannot, and the other has none: what "
        "the token's row of the full table adds to the score.",
        table(
            "Words of denial",
            "Means over pairs of texts. A ratio below 1 says that it weighs less than an average "
            "word.",
            "setting",
            (*(column.head for column in DENIAL), "pairs of texts"),
            [Row(name, tuple(_denial(record))) for name, record in cells],
        ),
    )
    yield section(
        "steps",
        "Convergence",
        "The papers take evenly spread steps and their number from the user. Our rule puts nodes "
        "where the embedding moves, and takes as many as a tolerance needs.",
        *map(_convergence, _by_setting(steps)),
        _steps_table(steps) if steps else None,
    )
    rank = Column("mean ρ", "rank_agreement", "approximate and exact")
    yield section(
        "agreement",
        "Exact and approximate",
        "Spearman's ρ of two models' plain matrices between words, per pair of texts: does "
        "the approximation for an off-the-shelf model order pairs as the exact model does? They "
        "are two models, of which one was trained on.",
        table(
            "Agreement",
            "",
            "setting",
            ("mean ρ", "pairs of texts"),
            [
                Row(
                    f"{setting_of(r.spec)}, beside {title_of_model(r.spec['exact'])}",
                    (told(rank.of(r)), Value(count(r.facts["pairs"]))),
                )
                for r in beside
            ],
        ),
    )


def _differs(name: str, facts: Mapping[str, object]) -> str:
    return (
        f"{name}: {facts['pairs']:,} pairs of {facts['mean_tokens']:.1f} tokens a text on average; "
        f"{facts['layers']} layers, {'an exact model' if facts['exact'] else 'off the shelf'}."
    )


def _denial(record: CellRecord) -> Iterator[Value]:
    found = [column.of(record) for column in DENIAL]
    yield from (told(one, column.write) for one, column in zip(found, DENIAL, strict=True))
    yield Value(count(0 if found[-1] is None else found[-1].n))


def _scatter(record: CellRecord, place: int) -> Figure:
    drawn = record.facts["scatter"]
    step = max(1, math.ceil(len(drawn["score"]) / MOST_DRAWN))
    score, full, plain = (drawn[key][::step] for key in ("score", "full", "plain"))
    rows = [
        Curve(series, tuple((x, y, "a pair") for x, y in zip(score, sums, strict=True)), False)
        for series, sums in (
            (Series("full table", ACCENT), full),
            (Series("plain matrix", SECOND, "square"), plain),
        )
    ]
    across = _around(score)
    ends = tuple((end, end, "equal") for end in across)
    errors = [told(find(record.rows, "absolute_error", s), _sized).text for s in (FULL, PLAIN)]
    return curve_picture(
        f"scatter-{place}",
        (
            f"{setting_of(record.spec)}: sums against the score",
            "One dot a pair of texts and sum. On the line, the sum is the score.",
        ),
        (*rows, Curve(Series("sum = score", MUTED), ends)),
        (across, _around([*score, *full, *plain, *across])),
        ("score of the model", "sum of the table"),
        [f"mean error of the full table {errors[0]}, of the plain matrix {errors[1]}"],
    )


Cells = Sequence[tuple[str, CellRecord]]


def _shares(cells: Cells) -> Iterator[Block | None]:
    rows = [Row(name, tuple(told(c.of(r), c.write) for c in SHARES)) for name, r in cells]
    stated = (None, TOP_SHARE, None, None, NEGATIVE_SHARE)
    paper = tuple(Value(NOTHING) if s is None else theirs(s, percent) for s in stated)
    yield table(
        "The first 5 % of the token pairs",
        "By value, of the plain sum and of the score (medians over pairs of texts; beyond 100 % "
        "where negative pairs take the rest back); by size, of the sum of magnitudes; and how many "
        "pairs are half of the magnitudes, and how many are negative (means over pairs of texts).",
        "setting",
        [column.head for column in SHARES],
        [*rows, Row(f"the paper, {UNVERIFIED}", paper)] if rows else (),
    )
    for place, title, same in _by_setting([record for _, record in cells]):
        for key, (words, middle) in PARTS.items():
            drawn = [
                Curve(
                    Series(f"layer {r.spec['layer']}", PALETTE[i % len(PALETTE)]),
                    tuple(
                        (x, y, f"{x:.0%} of the pairs")
                        for x, y in zip(CURVE, r.facts["curves"][key], strict=True)
                    ),
                )
                for i, r in enumerate(same)
                if r.facts["curves"][key]
            ]
            if drawn:
                top = max(y for c in drawn for _, y, _ in c.points)
                yield curve_picture(
                    f"shares-{key}-{place}",
                    (
                        f"{title}: cumulative share {words}",
                        f"Token pairs from the strongest on. {middle} over pairs of texts.",
                    ),
                    drawn,
                    ((0, 1), (0, max(1.0, 1.05 * top))),
                    ("share of the token pairs", "share explained"),
                    (f"{c.series.name}: {percent(c.points[1][1])} by the first 5 %" for c in drawn),
                )


def _kinds(cells: Cells) -> Iterator[Block | None]:
    names = ("kind_share_top", "kind_share_all", "kind_preference")
    yield table(
        "Among the strongest pairs of words",
        "How many of the first 5 % by value join two words of that kind, and how many of all: "
        "means over pairs of texts.",
        "setting",
        ("among the first 5 %", "among all", "difference"),
        [
            Row(
                f"{name}: {e.subject}",
                tuple(told(find(record.rows, n, e.subject), percent) for n in names),
            )
            for name, record in cells
            for e in record.rows
            if e.statistic == "kind_preference"
        ],
    )
    for name, record in cells:
        yield table(
            name,
            "Pairs of words of the full table by their kinds, references included. Share: of the "
            "sum of magnitudes. The mean is of single pairs.",
            "kinds",
            ("pairs", "share", "mean", "part of the sum"),
            map(_kind_row, record.facts.get("kinds", ())),
            folded=len(cells) > 1,
        )
    reasons = dict.fromkeys(str(r.facts["no_tags"]) for _, r in cells if r.facts.get("no_tags"))
    if reasons:
        yield Words("Not measured", tuple(reasons))


def _kind_row(one: Mapping[str, float | None]) -> Row:
    def value(name: str, write: Write) -> Value:
        ends = [write(e) for e in (one[f"{name}_low"], one[f"{name}_high"]) if e is not None]
        return Value(write(one[name]), " to ".join(ends) if one[name] is not None else "")

    finer = partial(number, digits=3, percent=True)
    size = Value(f"{one['count']:,}", f"in {one['texts']:,} pairs of texts")
    shares = (value("share", finer), value("mean", finely), value("share_of_total", finer))
    return Row(f"{one['tag_a']}, {one['tag_b']}", (size, *shares))


def _convergence(setting: tuple[int, str, Sequence[CellRecord]]) -> Figure | None:
    place, title, same = setting
    drawn = [
        Curve(
            Series(f"layer {r.spec['layer']}, {rule}", PALETTE[i % len(PALETTE)], shape),
            tuple(
                (float(n), max(mean, 1e-9), f"largest {largest:.1e}")
                for n, (mean, largest) in r.facts["matrix_error"][rule].items()
            ),
        )
        for i, r in enumerate(same)
        for rule, shape in ((PAPERS, "circle"), (OURS, "diamond"))
        if r.facts["matrix_error"].get(rule)
    ]
    x, y = [p[0] for c in drawn for p in c.points], [p[1] for c in drawn for p in c.points]
    if not x:
        return None
    words = (
        f"{title}: error of the matrix by number of nodes",
        "Largest error of an entry, in units of the cosine, against a converged run (our rule with "
        f"{CONVERGED} nodes); mean over pairs. Both axes are logarithmic.",
    )
    return curve_picture(
        f"steps-{place}",
        words,
        drawn,
        ((min(x) * 0.9, max(x) * 1.1), (min(y) / 2, max(y) * 2)),
        ("nodes", "error of the matrix"),
        (f"{c.series.name}: {c.points[-1][1]:.1e} at {c.points[-1][0]:.0f} nodes" for c in drawn),
        "log",
    )


def _steps_table(records: Sequence[CellRecord]) -> Table | None:
    nodes = sorted({int(n) for r in records for n in r.facts["matrix_error"].get(PAPERS, {})})
    every = (e for r in records for e in r.rows if e.statistic == "completeness_error")
    summed = sorted({e.group for e in every}, key=lambda group: int(group.split()[0]))
    at = [("sum", "completeness_error", group) for group in summed]
    at += [("matrix", "matrix_error", f"{n} nodes") for n in nodes]
    sizes = {f"{r.facts['texts']} texts and {r.facts['step_pairs']} pairs" for r in records}
    caption = (
        "Means. Sum: error of an embedding's sum, relative to its length. Matrix: largest error of "
        f"an entry. Of {', '.join(sorted(sizes))}. Our nodes: what our rule needs for the "
        "tolerance, on average."
    )
    columns = [Column(f"{what}, {at}", name, PAPERS, _sized, at) for what, name, at in at]
    columns.append(Column("our nodes", "nodes_needed", OURS, partial(number, digits=1)))
    cells = [(setting_of(record.spec), record) for record in records]
    return table_of(("The papers' rule", caption, "setting"), columns, cells)


def _by_setting(records: Sequence[CellRecord]) -> Iterator[tuple[int, str, list[CellRecord]]]:
    """Cells that differ in their layer alone: a number, what they have in common, and them."""
    groups: dict[str, list[CellRecord]] = {}
    for r in records:
        data, model = title_of_data(r.spec["data"]), title_of_model(r.spec["model"])
        groups.setdefault(f"{data}, {model}, reference {r.spec['reference']}", []).append(r)
    for place, (title, same) in enumerate(groups.items()):
        yield place, title, sorted(same, key=lambda r: r.spec["layer"])


def _around(values: Sequence[float]) -> tuple[float, float]:
    """A domain a little wider than the values."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return round(low - room, 3), round(high + room, 3)
