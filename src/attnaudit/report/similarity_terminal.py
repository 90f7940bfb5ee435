"""The similarity of two texts for the terminal: the texts, the matrix, the strongest pairs."""

from __future__ import annotations

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attnaudit.findings.wording import shortened, typeset
from attnaudit.models.siamese.table import PairTable
from attnaudit.report.heat import Unit
from attnaudit.report.similarity_views import Matrix, PairView, TextView, in_words, view_of
from attnaudit.report.terminal import AGAINST, DARK, FOR, item, style_of

MOST_ROWS = 10
"""A matrix in the terminal shows so many words of each text and sums up the others."""
LONGEST_NAME, LONGEST_COLUMN = 14, 11
GAP = 1
STRONGEST = 5


def show_pair(
    console: Console, table: PairTable, *, matrix: bool = True, most_rows: int = MOST_ROWS
) -> None:
    """Print a pair: score, both texts shaded by what each word adds, matrix, strongest pairs.

    Nothing is wider than the console: a matrix with too many columns is printed in several parts.

    Args:
        console: Where to.
        table: Between tokens (which are merged to words) or between words.
        matrix: Whether to print the matrix.
        most_rows: How many words of each text the matrix shows; the others are summed.
    """
    console.print(render_pair(table, console.width, matrix=matrix, most_rows=most_rows))


def render_pair(
    table: PairTable, width: int = 80, *, matrix: bool = True, most_rows: int = MOST_ROWS
) -> Group:
    """The same as something rich can print within `width` cells."""
    view = view_of(in_words(table), most_rows)
    parts: list[RenderableType] = [_headline(view)]
    for text in view.texts:
        parts += [Text(f"\n{text.title}", style="bold"), Padding(_shaded(text), (0, 2))]
    parts.append(
        Text.assemble(
            "\n",
            (" raises ", f"{DARK} on {FOR[-1]}"),
            " the score  ",
            (" lowers ", f"{DARK} on {AGAINST[-1]}"),
            " it  ",
            (f"full colour: word ±{view.full_word}, pair ±{view.full_pair}", "dim"),
        )
    )
    if matrix:
        parts += [Text(), *_matrix(view.matrix, width)]
    parts += [Text("\nStrongest pairs", style="bold"), _top(view)]
    if view.cautions:
        parts.append(Text("\nKeep in mind", style="bold"))
        parts += [item(Text(typeset(caution))) for caution in view.cautions]
    return Group(*parts)


def _headline(view: PairView) -> Text:
    sign = ("✓ adds up", "bold green") if view.adds_up else ("✕ does not add up", "bold red")
    return Text.assemble(
        ("score ", ""),
        (view.score, "bold"),
        f"   sum of the table {view.total}   missing {view.residual}   ",
        sign,
        (f"\nwithout the references {view.plain}", "dim"),
        ("\nThis explains what the model computes, not whether the texts truly match.", "dim"),
    )


def _shaded(side: TextView) -> Text:
    text = Text()
    for unit in side.units:
        gap = unit.gap if unit.role == "word" else " "
        text.append(gap if text and not text.plain.endswith(" ") else "")
        style = style_of(Unit(unit.text, shade=unit.shade))
        text.append(unit.text, style=style if unit.role == "word" else f"{style} italic".strip())
        if unit.role != "word":
            text.append(" ")
    if side.cut:
        text.append(side.cut, style="dim strike")
    return text


def _matrix(matrix: Matrix, width: int) -> list[RenderableType]:
    """The matrix in as many parts as the width asks for, each with the rows' names."""
    names = [shortened(row.heading.name, LONGEST_NAME) for row in matrix.rows]
    columns = [shortened(column.name, LONGEST_COLUMN) for column in matrix.columns] + ["sum"]
    entries = [
        [(cell.text, style_of(Unit("", shade=cell.shade))) for cell in row.cells]
        + [(row.sum, "dim")]
        for row in matrix.rows
    ]
    entries.append([(total, "dim") for total in (*matrix.sums, matrix.total)])
    names.append("sum")
    sizes = [
        max(cell_len(t) for t in (name, *(row[j][0] for row in entries)))
        for j, name in enumerate(columns)
    ]
    left = max(map(cell_len, names)) + GAP
    parts: list[RenderableType] = []
    start = 0
    while start < len(columns):
        stop, room = start, width - left
        while stop < len(columns) and (stop == start or room >= sizes[stop] + GAP):
            room -= sizes[stop] + GAP
            stop += 1
        grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), collapse_padding=True)
        grid.add_column("", no_wrap=True)
        for name in columns[start:stop]:
            grid.add_column(Text(name), justify="right", no_wrap=True)
        for name, row in zip(names, entries, strict=True):
            cells = [Text(text, style=style) for text, style in row[start:stop]]
            grid.add_row(Text(name, style="dim" if name == "sum" else ""), *cells)
        parts += [grid, Text()]
        start = stop
    return parts[:-1]


def _top(view: PairView) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    grid.add_column("First text", overflow="ellipsis", no_wrap=True)
    grid.add_column("Second text", overflow="ellipsis", no_wrap=True)
    for name in ("Adds", *(["Of the score"] if view.shares else []), "Of all"):
        grid.add_column(name, justify="right", no_wrap=True)
    for top in view.top[:STRONGEST]:
        first, second = (Text(shortened(name)) for name in (top.a, top.b))
        adds = Text(top.value, style=style_of(Unit("", shade=top.shade)))
        grid.add_row(first, second, adds, *([top.of_score] if view.shares else []), top.of_all)
    return grid
