"""The page of the study moeller2023: sums, shares, kinds of words, denial, convergence, models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from attnaudit.findings.findings import Estimate
from attnaudit.findings.wording import NOTHING, count, number
from attnaudit.report.blocks import (
    Block,
    Picture,
    Row,
    StudySection,
    StudyTable,
    Value,
    Words,
)
from attnaudit.report.charts import ACCENT, MUTED, Figure, Series
from attnaudit.report.curves import Curve, curves
from attnaudit.report.figures import PALETTE, SECOND
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
from attnaudit.studies.schema import CellRecord

MOST_DRAWN = 400
"""Pairs in a picture; with more, dots hide each other."""
PARTS = {"sum": "of the plain sum, by value", "magnitude": "of magnitudes, by size"}


def sections(results: Results) -> Iterator[StudySection]:
    """What differs, and one section a question; a part that was not measured is left out."""
    tables = results.where(part=TABLES)
    steps = results.where(part=STEPS)
    yield _differences(results)
    if tables:
        yield _sums(tables)
        yield _shares(tables)
        yield _kinds(tables)
        yield _denial(tables)
    if steps:
        yield _steps(steps)
    beside = results.where(part=AGREEMENT)
    if beside:
        yield _agreement(beside)


def _differences(results: Results) -> StudySection:
    points = []
    for record in results.where(part=TABLES):
        facts = record.facts
        points.append(
            f"{setting_of(record.spec)}: {count(facts['pairs'])} pairs of "
            f"{number(facts['mean_tokens'], 1)} tokens a text on average; {facts['layers']} layers"
            + (", an exact model." if facts["exact"] else ", off the shelf.")
        )
    return StudySection(
        "differences",
        "What differs",
        "The papers' models are built on mpnet and distilroberta, and those of the first paper are "
        "trained so that a reference has no embedding. Numbers of the papers are marked where they "
        "were only read in notes of others; no answer rests on them.",
        (Words("", tuple(points)),),
    )


def _sums(records: Sequence[CellRecord]) -> StudySection:
    errors, ranks = [], []
    for record in records:
        name, values = setting_of(record.spec), []
        for subject in (FULL, PLAIN):
            values += [
                _share(record, "within_tolerance", subject),
                _small(record, "absolute_error", subject),
                _small(record, "largest_error", subject),
            ]
        sizes = (
            _value(record, "reference_size", "e(r) over e(x)"),
            _value(record, "corner", "e(r)e(r)"),
        )
        errors.append(Row(name, (*values, *sizes)))
        kinds = [("spearman_score", s) for s in (FULL, PLAIN)]
        kinds += [("spearman_labels", s) for s in ("score", FULL, PLAIN)]
        ranks.append(Row(name, tuple(_value(record, *kind, 3) for kind in kinds)))
    head = tuple(
        f"{name}: {what}"
        for name in ("full", "plain")
        for what in ("share that adds up", "mean error", "largest error")
    )
    blocks: list[Block] = [
        StudyTable(
            "Do the tables add up?",
            "Errors are |score − sum|, in units of the cosine. The corner "
            "is what the two references add by themselves.",
            "setting",
            (*head, "mean |e(r)| / |e(x)|", "mean corner"),
            tuple(errors),
        ),
        StudyTable(
            "Do the sums order pairs as the score does?",
            "Spearman's ρ over pairs of texts: with "
            "the model's score, and with the scores that people gave.",
            "setting",
            (
                "full with score",
                "plain with score",
                "score with people",
                "full with people",
                "plain with people",
            ),
            tuple(ranks),
        ),
        *(_scatter(record, i) for i, record in enumerate(records)),
    ]
    return StudySection(
        "sums",
        "The score and the sums",
        "The full table has a row, a column and a corner for the references; the papers' plain "
        "matrix leaves them out. |e(r)| / |e(x)| and the corner say how large that is.",
        tuple(blocks),
    )


def _scatter(record: CellRecord, place: int) -> Picture:
    drawn = record.facts["scatter"]
    step = max(1, math.ceil(len(drawn["score"]) / MOST_DRAWN))
    score = drawn["score"][::step]
    series = (Series("full table", ACCENT), Series("plain matrix", SECOND, "square"))
    rows = [
        Curve(
            one,
            tuple((x, y, "a pair") for x, y in zip(score, drawn[key][::step], strict=True)),
            joined=False,
        )
        for one, key in zip(series, ("full", "plain"), strict=True)
    ]
    every = [*score, *(y for key in ("full", "plain") for y in drawn[key][::step])]
    across = _around(score)
    line = Curve(
        Series("sum = score", MUTED),
        ((across[0], across[0], "equal"), (across[1], across[1], "equal")),
    )
    full, plain = (find(record.rows, "absolute_error", s) for s in (FULL, PLAIN))
    return Picture(
        Figure(
            name=f"scatter-{place}",
            title=f"{setting_of(record.spec)}: sums against the score",
            caption="One dot a pair of texts and sum. On the line, the sum is the score.",
            spec=curves(
                (*rows, line),
                x=across,
                y=_around([*every, *across]),
                axes=("score of the model", "sum of the table"),
            ),
            description=f"mean error of the full table {_tiny(full)}, of the plain matrix "
            f"{_tiny(plain)}",
            legend=(*series, line.series),
        )
    )


def _shares(records: Sequence[CellRecord]) -> StudySection:
    rows = [
        Row(
            setting_of(record.spec),
            (
                _share(record, "top_share", "of the plain sum"),
                _share(record, "top_share", "of the score"),
                _share(record, "top_share", "of magnitudes"),
                _share(record, "pairs_for_half", "of magnitudes"),
                _share(record, "negative_share", "pairs"),
            ),
        )
        for record in records
    ]
    blank = Value(NOTHING)
    rows.append(
        Row(
            f"the paper, {UNVERIFIED}",
            (
                blank,
                Value(number(TOP_SHARE, percent=True), paper=True),
                blank,
                blank,
                Value(number(NEGATIVE_SHARE, percent=True), paper=True),
            ),
        )
    )
    blocks: list[Block] = [
        StudyTable(
            "The first 5 % of the token pairs",
            "By value, of the plain sum and of the score (medians over pairs of texts; "
            "beyond 100 % "
            "where negative pairs take the rest back); by size, of the sum of magnitudes; "
            "and how many "
            "pairs are half of the magnitudes, and how many are negative (means over pairs "
            "of texts).",
            "setting",
            (
                "median of the plain sum",
                "median of the score",
                "mean of magnitudes",
                "mean of pairs for half",
                "mean of negative pairs",
            ),
            tuple(rows),
        )
    ]
    for place, (title, same) in enumerate(_by_setting(records)):
        series = [
            Series(f"layer {r.spec['layer']}", PALETTE[i % len(PALETTE)])
            for i, r in enumerate(same)
        ]
        for key, words in PARTS.items():
            drawn = [
                Curve(
                    one,
                    tuple(
                        (x, y, f"{x:.0%} of the pairs")
                        for x, y in zip(CURVE, r.facts["curves"][key], strict=True)
                    ),
                )
                for one, r in zip(series, same, strict=True)
                if r.facts["curves"][key]
            ]
            if drawn:
                top = max(y for c in drawn for _, y, _ in c.points)
                blocks.append(
                    Picture(
                        Figure(
                            name=f"shares-{key}-{place}",
                            title=f"{title}: cumulative share {words}",
                            caption="Token pairs from the strongest on. "
                            + (
                                "Median over pairs of texts."
                                if key == "sum"
                                else "Mean over pairs of texts."
                            ),
                            spec=curves(
                                drawn,
                                x=(0, 1),
                                y=(0, max(1.0, 1.05 * top)),
                                axes=("share of the token pairs", "share explained"),
                            ),
                            description="; ".join(
                                f"{c.series.name}: {number(c.points[1][1], percent=True)} "
                                f"by the first 5 %"
                                for c in drawn
                            ),
                            legend=tuple(c.series for c in drawn),
                        )
                    )
                )
    return StudySection(
        "shares",
        "How few pairs explain how much",
        "The plain sum is the score of an exact model alone. Of an off-the-shelf model it is "
        "larger, so a share of it is no share of the score.",
        tuple(blocks),
    )


def _kinds(records: Sequence[CellRecord]) -> StudySection:
    blocks: list[Block] = []
    rows = []
    for record in records:
        for e in record.rows:
            if e.statistic == "kind_preference":
                top = find(record.rows, "kind_share_top", e.subject)
                everything = find(record.rows, "kind_share_all", e.subject)
                rows.append(
                    Row(
                        f"{setting_of(record.spec)}: {e.subject}",
                        (
                            _percent(top),
                            _percent(everything),
                            _percent(e),
                        ),
                    )
                )
    if rows:
        blocks.append(
            StudyTable(
                "Among the strongest pairs of words",
                "How many of the first 5 % by value join two words of that kind, and how "
                "many of all: "
                "means over pairs of texts.",
                "setting",
                ("among the first 5 %", "among all", "difference"),
                tuple(rows),
            )
        )
    for record in records:
        found: list[dict[str, Any]] = record.facts.get("kinds", [])
        if found:
            blocks.append(
                StudyTable(
                    setting_of(record.spec),
                    "Pairs of words of the full table by their kinds, references included. "
                    "Share: of "
                    "the sum of magnitudes. The mean is of single pairs.",
                    "kinds",
                    ("pairs", "share", "mean", "part of the sum"),
                    tuple(_kind_row(one) for one in found),
                    folded=len(records) > 1,
                )
            )
    reasons = dict.fromkeys(str(r.facts["no_tags"]) for r in records if r.facts.get("no_tags"))
    if reasons:
        blocks.append(Words("Not measured", tuple(reasons)))
    built_in = any(r.spec["tags"] == "closed" for r in records)
    return StudySection(
        "kinds",
        "Kinds of words",
        (
            "The kinds here come from lists of closed-class words, which are no tagger: "
            "nouns, verbs "
            "and adjectives are all “other word”. With spaCy, say --set tags=spacy:en_core_web_sm. "
            if built_in
            else "Parts of speech by spaCy. "
        )
        + "Words of several tokens have the sum of these.",
        tuple(blocks),
    )


def _kind_row(one: dict[str, Any]) -> Row:
    def cell(name: str, percent: bool, digits: int = 3) -> Value:
        if one[name] is None:
            return Value(NOTHING)
        ends = [
            number(one[f"{name}_{e}"], digits, percent=percent)
            for e in ("low", "high")
            if one[f"{name}_{e}"] is not None
        ]
        return Value(number(one[name], digits, percent=percent), " to ".join(ends))

    name = f"{one['tag_a']}, {one['tag_b']}"
    size = Value(count(one["count"]), f"in {count(one['texts'])} pairs of texts")
    return Row(name, (size, cell("share", True), cell("mean", False), cell("share_of_total", True)))


def _denial(records: Sequence[CellRecord]) -> StudySection:
    rows = [
        Row(
            setting_of(record.spec),
            (
                _value(record, "negation", "contribution", 3),
                _value(record, "negation", "other words", 3),
                _value(record, "negation", "relative"),
                Value(count(_n(find(record.rows, "negation", "relative")))),
            ),
        )
        for record in records
    ]
    return StudySection(
        "denial",
        "Denial",
        "Pairs of which one text has not, n’t, no, never or cannot, and the other has none: what "
        "the token's row of the full table adds to the score.",
        (
            StudyTable(
                "Words of denial",
                "Means over pairs of texts. A ratio below 1 says "
                "that it weighs less than an average word.",
                "setting",
                ("adds to the score", "other tokens, size", "ratio of sizes", "pairs of texts"),
                tuple(rows),
            ),
        ),
    )


def _steps(records: Sequence[CellRecord]) -> StudySection:
    blocks: list[Block] = []
    for place, (title, same) in enumerate(_by_setting(records)):
        drawn = []
        for i, record in enumerate(same):
            for rule, shape in ((PAPERS, "circle"), (OURS, "diamond")):
                found = record.facts["matrix_error"].get(rule, {})
                points = tuple(
                    (float(n), max(mean, 1e-9), f"largest {largest:.1e}")
                    for n, (mean, largest) in found.items()
                )
                name = f"layer {record.spec['layer']}, {rule}"
                if points:
                    drawn.append(Curve(Series(name, PALETTE[i % len(PALETTE)], shape), points))
        every = [p for c in drawn for p in c.points]
        if every:
            blocks.append(
                Picture(
                    Figure(
                        name=f"steps-{place}",
                        title=f"{title}: error of the matrix by number of nodes",
                        caption="Largest error of an entry, in units of the cosine, against "
                        "a converged "
                        f"run (our rule with {CONVERGED} nodes); mean over pairs. Both axes are "
                        "logarithmic.",
                        spec=curves(
                            drawn,
                            x=(min(p[0] for p in every) * 0.9, max(p[0] for p in every) * 1.1),
                            y=(min(p[1] for p in every) / 2, max(p[1] for p in every) * 2),
                            axes=("nodes", "error of the matrix"),
                            scale="log",
                        ),
                        description="; ".join(
                            f"{c.series.name}: {c.points[-1][1]:.1e} at {c.points[-1][0]:.0f} nodes"
                            for c in drawn
                        ),
                        legend=tuple(c.series for c in drawn),
                    )
                )
            )
    blocks.append(_steps_table(records))
    return StudySection(
        "steps",
        "Convergence",
        "The papers take evenly spread steps and their number from the user. Our rule puts nodes "
        "where the embedding moves, and takes as many as a tolerance needs.",
        tuple(blocks),
    )


def _steps_table(records: Sequence[CellRecord]) -> StudyTable:
    nodes = sorted({int(n) for r in records for n in r.facts["matrix_error"].get(PAPERS, {})})
    every = (e for r in records for e in r.rows if e.statistic == "completeness_error")
    summed = sorted({e.group for e in every}, key=lambda group: int(group.split()[0]))
    rows = []
    for record in records:
        values = [_small(record, "completeness_error", PAPERS, group) for group in summed]
        values += [_small(record, "matrix_error", PAPERS, f"{n} nodes") for n in nodes]
        values.append(_value(record, "nodes_needed", OURS, 1))
        rows.append(Row(setting_of(record.spec), tuple(values)))
    head = (
        *(f"sum, {group}" for group in summed),
        *(f"matrix, {n} nodes" for n in nodes),
        "our nodes",
    )
    sizes = {f"{r.facts['texts']} texts and {r.facts['step_pairs']} pairs" for r in records}
    return StudyTable(
        "The papers' rule",
        f"Means. Sum: error of an embedding's sum, relative to its length. "
        f"Matrix: largest error of an entry. Of {', '.join(sorted(sizes))}. Our nodes: "
        "what our rule needs for the tolerance, on average.",
        "setting",
        head,
        tuple(rows),
    )


def _agreement(records: Sequence[CellRecord]) -> StudySection:
    rows = [
        Row(
            f"{setting_of(r.spec)}, beside {title_of_model(r.spec['exact'])}",
            (_value(r, "rank_agreement", "approximate and exact"), Value(count(r.facts["pairs"]))),
        )
        for r in records
    ]
    return StudySection(
        "agreement",
        "Exact and approximate",
        "Spearman's ρ of two models' plain matrices between words, per pair of texts: does "
        "the approximation for an off-the-shelf model order pairs as the exact model does? They "
        "are two models, of which one was trained on.",
        (StudyTable("Agreement", "", "setting", ("mean ρ", "pairs of texts"), tuple(rows)),),
    )


# --- pieces


def _by_setting(records: Sequence[CellRecord]) -> Iterator[tuple[str, list[CellRecord]]]:
    """Cells that differ in their layer alone, with what they have in common in words."""
    groups: dict[str, list[CellRecord]] = {}
    for r in records:
        title = (
            f"{title_of_data(r.spec['data'])}, {title_of_model(r.spec['model'])}, reference "
            f"{r.spec['reference']}"
        )
        groups.setdefault(title, []).append(r)
    for title, same in groups.items():
        yield title, sorted(same, key=lambda r: r.spec["layer"])


def _value(record: CellRecord, statistic: str, subject: str, digits: int = 2) -> Value:
    found = find(record.rows, statistic, subject)
    if found is None or found.value is None:
        return Value(NOTHING)
    ends = [number(e, digits) for e in (found.low, found.high) if e is not None]
    return Value(number(found.value, digits), " to ".join(ends))


def _share(record: CellRecord, statistic: str, subject: str) -> Value:
    return _percent(find(record.rows, statistic, subject))


def _percent(found: Estimate | None) -> Value:
    if found is None or found.value is None:
        return Value(NOTHING)
    ends = [number(e, percent=True) for e in (found.low, found.high) if e is not None]
    return Value(number(found.value, percent=True), " to ".join(ends))


def _small(record: CellRecord, statistic: str, subject: str, group: str = "all") -> Value:
    found = find(record.rows, statistic, subject, group)
    if found is None or found.value is None:
        return Value(NOTHING)
    ends = [_sized(end) for end in (found.low, found.high) if end is not None]
    return Value(_sized(found.value), " to ".join(ends))


def _tiny(found: Estimate | None) -> str:
    return NOTHING if found is None or found.value is None else _sized(found.value)


def _sized(value: float) -> str:
    """A number of any size: small ones by their power of ten.

    Example:
        >>> _sized(0.123), _sized(0.000123)
        ('0.12', '1.2e-04')
    """
    return f"{value:.1e}" if abs(value) < 0.01 else number(value)


def _n(found: Estimate | None) -> int:
    return 0 if found is None else found.n


def _around(values: Sequence[float]) -> tuple[float, float]:
    """A domain a little wider than the values."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    return round(low - room, 3), round(high + room, 3)
