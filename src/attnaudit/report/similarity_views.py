"""The similarity of two texts as plain data to show: words with shades, cells, sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from attnaudit.console import visible
from attnaudit.findings.wording import number, shortened
from attnaudit.models.siamese.reading import REFERENCE, one_sided, top_pairs
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.models.siamese.words import Words, by_words, gathered
from attnaudit.report.heat import FULL_SHARES, score_of

MOST_ROWS = 16
"""A matrix shows so many words of each text and sums up the others."""
FLOORS = (0.05, 0.02)
"""Words and pairs of words need so much for their full colour, so that small ones stay pale; less
in a long text, where `FULL_SHARES` times an even share is enough. In units of 1, the largest
cosine, or of the score's magnitude for dot."""
LONGEST_NAME = 32
"""Words of tables are cut to so many characters."""
PLAIN_LARGE = 0.1
"""The error of the plain matrix, in the same units, from which on the reader is warned."""
REFERENCE_LARGE = 0.5
"""The size of a reference's embedding over the text's own from which on the reader is warned."""
SMALL_SCORE = 0.05
"""Below this magnitude, in the same units, shares of the score are shares of next to nothing."""


@dataclass(frozen=True)
class Scale:
    """What the colours of a pair mean.

    Attributes:
        word: What one word adds that has the full colour.
        pair: What a pair of words adds that has the full colour.
        unit: 1 for cosine, the magnitude of the score for dot.
    """

    word: float
    pair: float
    unit: float

    @property
    def digits(self) -> int:
        """Digits after the point that tell the pairs apart: two of the largest."""
        return digits_for(self.pair)


@dataclass(frozen=True)
class WordUnit:
    """One word, special token or reference in its text.

    Attributes:
        text: As it stands there.
        gap: What stands between the last one and this.
        role: `word`, `special` or `reference`.
        shade: -1 to 1.
        score: What it adds, in words.
        meaning: A sentence on it.
    """

    text: str
    gap: str
    role: str
    shade: float
    score: str
    meaning: str


@dataclass(frozen=True)
class TextView:
    """One text: its units, what follows the last one, and the end that the model did not read."""

    title: str
    units: tuple[WordUnit, ...]
    rest: str
    cut: str


@dataclass(frozen=True)
class Cell:
    """One entry of the matrix; `i` and `j` are the units it pairs, -1 for several."""

    text: str
    shade: float
    i: int
    j: int


@dataclass(frozen=True)
class Heading:
    """A row's or column's name and whether it is a `word`, `special`, `reference` or `others`."""

    name: str
    role: str


@dataclass(frozen=True)
class MatrixRow:
    """One row of the matrix, with its sum."""

    heading: Heading
    cells: tuple[Cell, ...]
    sum: str


@dataclass(frozen=True)
class Matrix:
    """The table of a pair, small enough to show: with the references, and sums at its margins."""

    columns: tuple[Heading, ...]
    rows: tuple[MatrixRow, ...]
    sums: tuple[str, ...]
    total: str
    shortened: bool


@dataclass(frozen=True)
class TopPair:
    """One of the strongest pairs, in words."""

    a: str
    b: str
    value: str
    of_score: str
    of_all: str
    shade: float


@dataclass(frozen=True)
class PairView:
    """All that is shown of one pair of texts.

    Attributes:
        names: The two texts, shortened.
        scale: What the colours mean.
        full_word: What one word adds that has the full colour, in words.
        full_pair: The same of a pair of words.
        score: The model's score.
        total: The sum of the table.
        residual: What is missing.
        tolerance: What the residual was asked to stay below.
        plain: The sum of pairs of tokens alone, as the papers show them.
        adds_up: Whether the residual is within the tolerance.
        headline: The score and its sum in a sentence.
        cautions: When not to trust the picture.
        texts: The two texts.
        matrix: The table.
        top: The strongest pairs of words.
        shares: Whether their shares of the score say anything: the pairs sum to about the score,
            and it is not next to nothing.
        values: The table between words and references, for linking the two texts.
    """

    names: tuple[str, str]
    scale: Scale
    full_word: str
    full_pair: str
    score: str
    total: str
    residual: str
    tolerance: str
    plain: str
    adds_up: bool
    headline: str
    cautions: tuple[str, ...]
    texts: tuple[TextView, TextView]
    matrix: Matrix
    top: tuple[TopPair, ...]
    shares: bool
    values: tuple[tuple[float, ...], ...] = field(repr=False)


def in_words(table: PairTable) -> PairTable:
    """The table between words; as it is if it is so already."""
    return table if isinstance(table.a, Words) and isinstance(table.b, Words) else by_words(table)


def scale_of(table: PairTable) -> Scale:
    """The scale of a table's colours, set by its words and not by its references."""
    unit = 1.0 if table.kind == "cosine" else abs(table.score) or 1.0
    values, sizes = table.values, table.pairs.shape
    words = [*values[:-1].sum(1).tolist(), *values[:, :-1].sum(0).tolist()]
    pairs = table.pairs.flatten().tolist()
    floors = (
        min(floor, FULL_SHARES / max(count, 1))
        for floor, count in zip(FLOORS, (min(sizes), sizes[0] * sizes[1]), strict=True)
    )
    word, pair = (
        max(floor * unit, *map(abs, some), 0.0)
        for floor, some in zip(floors, (words, pairs), strict=True)
    )
    return Scale(word, pair, unit)


def view_of(table: PairTable, most_rows: int = MOST_ROWS) -> PairView:
    """What to show of a table between words."""
    scale = scale_of(table)
    return PairView(
        names=(_named(table.a), _named(table.b)),
        scale=scale,
        full_word=number(scale.word, digits_for(scale.word)),
        full_pair=number(scale.pair, scale.digits),
        score=_score(table.score, scale),
        total=_score(table.total, scale),
        residual=small(table.residual),
        tolerance=f"{table.tolerance:g}",
        plain=_score(float(table.pairs.sum()), scale),
        adds_up=table.adds_up,
        headline=_headline(table, scale),
        cautions=tuple(cautions(table, scale)),
        texts=(_text(table, "a", scale), _text(table, "b", scale)),
        matrix=_matrix(table, scale, most_rows),
        top=tuple(_top(table, scale)),
        shares=abs(table.score) >= SMALL_SCORE * scale.unit
        and abs(table.plain_error) <= PLAIN_LARGE * scale.unit,
        values=tuple(
            tuple(float(f"{value:.4g}") for value in row) for row in table.values.tolist()
        ),
    )


def cautions(table: PairTable, scale: Scale) -> list[str]:
    """When not to trust the picture of this pair, in sentences."""
    said = []
    if not table.adds_up:
        said.append(
            f"The table misses the score by {small(abs(table.residual))}, more than the "
            f"{table.tolerance:g} that was asked for. Ask for a smaller tolerance before you show "
            "it to anybody."
        )
    plain = float(table.pairs.sum())
    if abs(table.plain_error) > PLAIN_LARGE * scale.unit:
        said.append(
            f"Without the references the pairs sum to {_score(plain, scale)}, while the score is "
            f"{_score(table.score, scale)}. Compare pairs with one another, but do not call the "
            "value of a pair a share of the score without the reference row and column."
        )
    largest = max(table.reference_a, table.reference_b)
    if largest > REFERENCE_LARGE:
        said.append(
            "What a word adds is counted from a reference input, and the embedding of that "
            f"reference is {number(largest)} times as large as the text's own, so it is far from "
            "neutral. Another reference can give other values."
        )
    if abs(table.score) < SMALL_SCORE * scale.unit:
        said.append(
            "The score is next to nothing: words that raise it and words that lower it cancel, "
            "and a share of it says little."
        )
    for name, tokens in (("first", table.a), ("second", table.b)):
        if tokens.unknown:
            said.append(
                f"The model knows no word of the {name} text: any text of as many unknown words "
                "has the same score."
            )
        if tokens.cut:
            said.append(
                f"The model did not read the end of the {name} text, "
                f"{len(tokens.cut):,} characters from “{visible(shortened(tokens.cut.strip()))}”."
            )
    return said


def small(value: float) -> str:
    """A residual: its first digit.

    Example:
        >>> small(-0.000024), small(0.0), small(0.26), small(3e-9)
        ('−0.00002', '0', '0.3', 'under 0.000001')
    """
    size = abs(value)
    if size < 1e-6:
        return "under 0.000001" if size else "0"
    power = int(f"{size:.0e}".split("e")[1])
    return number(value, max(-power, 0))


def digits_for(largest: float) -> int:
    """Digits after the point that show two of `largest`, at most 9.

    Example:
        >>> digits_for(0.38), digits_for(0.02), digits_for(7.0), digits_for(80.0)
        (2, 3, 1, 0)
    """
    return min(max(1 - math.floor(math.log10(largest)), 0), 9) if largest > 0 else 2


def shade_of(value: float, full: float) -> float:
    """A value over what has the full colour, clipped to [-1, 1]."""
    return round(max(-1.0, min(1.0, value / full)), 3) if full else 0.0


def _headline(table: PairTable, scale: Scale) -> str:
    kind = "cosine" if table.kind == "cosine" else "dot product"
    return (
        f"The model scores this pair {_score(table.score, scale)} ({kind}). Divided among pairs of "
        f"words and the references, the parts sum to {_score(table.total, scale)}."
    )


def _score(value: float, scale: Scale) -> str:
    return score_of(value, scale.unit)


def _named(tokens: Tokens) -> str:
    return f"“{visible(shortened(' '.join(tokens.text.split()), 40))}”"


def _role(tokens: Tokens, index: int) -> str:
    if index >= len(tokens):
        return "reference"
    start, end = tokens.offsets[index]
    return "word" if end > start and not tokens.special[index] else "special"


def _shown(tokens: Tokens, index: int) -> str:
    return visible(tokens.shown[index]) if index < len(tokens) else REFERENCE.strip("[]")


def _text(table: PairTable, side: str, scale: Scale) -> TextView:
    tokens, other = (table.a, "second") if side == "a" else (table.b, "first")
    end_of_read = len(tokens.text) - len(tokens.cut)
    units, last = [], 0
    for index, line in enumerate(one_sided(table, "a" if side == "a" else "b").to_dicts()):
        role = _role(tokens, index)
        gap = ""
        if role == "word":
            gap, last = tokens.text[last : line["start"]], max(last, line["end"])
        digits = max(scale.digits, digits_for(scale.word))
        score, pairs, reference = (
            number(line[name], digits) for name in ("score", "pairs", "reference")
        )
        name = "the reference" if role == "reference" else _shown(tokens, index)
        units.append(
            WordUnit(
                text=_shown(tokens, index),
                gap=_lines(gap),
                role=role,
                shade=shade_of(line["score"], scale.word),
                score=score,
                meaning=f"{name}: {score} in all, {pairs} with the {other} text's words and "
                f"{reference} with its reference",
            )
        )
    title = "First text" if side == "a" else "Second text"
    rest = _lines(tokens.text[last:end_of_read])
    return TextView(title, tuple(units), rest, _lines(tokens.cut))


def _matrix(table: PairTable, scale: Scale, most: int) -> Matrix:
    few = gathered(table, most)
    places = [_places(few.a, table.a), _places(few.b, table.b)]
    digits = scale.digits
    rows = [
        MatrixRow(
            heading=_heading(few.a, index),
            cells=tuple(
                Cell(_entry(value, digits), shade_of(value, scale.pair), places[0][index], j)
                for value, j in zip(values, places[1], strict=True)
            ),
            sum=_entry(sum(values), digits),
        )
        for index, values in enumerate(few.values.tolist())
    ]
    return Matrix(
        columns=tuple(_heading(few.b, index) for index in range(len(few.b) + 1)),
        rows=tuple(rows),
        sums=tuple(_entry(value, digits) for value in few.values.sum(0).tolist()),
        total=_entry(few.total, max(digits, 2)),
        shortened=few.values.shape != table.values.shape,
    )


def _places(few: Tokens, whole: Tokens) -> list[int]:
    """Which unit of the text each row or column is; -1 for the others summed."""
    if few is whole or not isinstance(few, Words):
        return [*range(len(whole) + 1)]
    return [*(m[0] if len(m) == 1 else -1 for m in few.members), len(whole)]


def _heading(tokens: Tokens, index: int) -> Heading:
    others = index < len(tokens) and tokens.pieces[index].endswith(" others]")
    name = shortened(_shown(tokens, index), LONGEST_NAME)
    return Heading(name, "others" if others else _role(tokens, index))


def _entry(value: float, digits: int) -> str:
    text = number(value, digits)
    return text if text.strip("−0.") else "0"


def _top(table: PairTable, scale: Scale) -> list[TopPair]:
    digits = scale.digits + 1
    return [
        TopPair(
            a=shortened(visible(line["a"]), LONGEST_NAME),
            b=shortened(visible(line["b"]), LONGEST_NAME),
            value=number(line["value"], digits),
            of_score=number(line["share_of_score"], 3, percent=True),
            of_all=number(line["share_of_magnitude"], 3, percent=True),
            shade=shade_of(line["value"], scale.pair),
        )
        for line in top_pairs(table).to_dicts()
    ]


def _lines(text: str) -> str:
    """Text as it may be shown, with its line breaks."""
    return "\n".join(visible(line) for line in text.splitlines()) + (
        "\n" if text.endswith("\n") else ""
    )
