"""An audit, or one explanation, for the terminal. Texts of data are never markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from attnaudit.attribution import EVERY
from attnaudit.audits.explain import Explanation
from attnaudit.audits.schema import AuditReport
from attnaudit.console import visible
from attnaudit.findings.findings import Verdict
from attnaudit.findings.wording import (
    NOTHING,
    QUESTION,
    QUESTIONS,
    SIGNS,
    count,
    duration,
    number,
    subject,
    typeset,
)
from attnaudit.report.evidence import evidence_rows, failing
from attnaudit.report.heat import HeatRow, Unit, floor_of, heat_row, windows_of

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "bright_black",
}
# from faint to strong, dark text on light ground: legible whatever the terminal's own colours
FOR = ("#d9ebf9", "#b5d7f1", "#8cbfe6", "#5fa5d9")
AGAINST = ("#fae5d3", "#f4cba6", "#ecad77", "#e08f4b")
DARK = "#101418"
FAINTEST = 0.08


def render_terminal(report: AuditReport) -> Group:
    """Verdict, evidence and advice of an audit."""
    judgement, plan = report.judgement, report.plan
    style = STYLES[judgement.verdict]
    about = (
        f"\n\n{visible(plan.model.name)} on {visible(plan.data.title)} "
        f"({count(plan.data.instances)} {plan.data.reads}), {duration(report.seconds)}"
    )
    verdict = Text.assemble(
        (f"{SIGNS[judgement.verdict]} {judgement.verdict}", f"bold {style}"),
        "\n",
        visible(typeset(judgement.headline)),
        ("\n\nWhat to do. ", "bold"),
        visible(typeset(judgement.advice)),
        ("\n\nHow sure. " if judgement.record else "", "bold"),
        typeset(judgement.record),
        (about, "dim"),
    )
    parts: list[RenderableType] = [
        Panel(
            verdict,
            title=Text(QUESTIONS.get(plan.data.reads, QUESTION)),
            title_align="left",
            border_style=style,
            padding=(1, 2),
        ),
    ]
    why = [f"{title}: {sentence}" for title, sentence in failing(report)]
    parts += [*_list("Why", why), _evidence(report)]
    return Group(*parts, *_list("Keep in mind", judgement.cautions))


def _list(heading: str, sentences: Sequence[str]) -> list[RenderableType]:
    if not sentences:
        return []
    # rich breaks lines at hard spaces as well
    said = [visible(typeset(sentence)).replace("\u00a0=\u00a0", "=") for sentence in sentences]
    items = [item(Text(sentence)) for sentence in said]
    return [Text(heading, style="bold"), *items]


def render_explanation(explanation: Explanation) -> Group:
    """One prediction: its probabilities, and the text under every attribution."""
    chances = sorted(explanation.probabilities.items(), key=lambda item: -item[1])
    heading = Text.assemble(
        "predicted ",
        (visible(explanation.predicted), "bold"),
        (f"  {' · '.join(f'{visible(name)} {number(p, 3)}' for name, p in chances)}", "dim"),
    )
    parts: list[RenderableType] = [heading, render_scores(explanation.units, explanation.scores)]
    if explanation.completeness_error is not None:
        parts.append(
            Text(
                "\nintegrated gradients add up to within "
                f"{abs(explanation.completeness_error):.1e} of the probability",
                style="dim",
            )
        )
    for name, why in explanation.left_out.items():
        parts.append(Text(f"\n{subject(name)}: left out, {visible(why)}", style="yellow"))
    return Group(*parts)


def render_scores(units: Sequence[str], scores: Mapping[str, Sequence[float]]) -> Group:
    """One text under several attributions: shaded units, and the largest scores in words.

    Args:
        units: The units of the text.
        scores: One score per unit, by method; a name that no method has is shown as it is.
    """
    windows = windows_of(list(scores.values()), len(units))
    parts: list[RenderableType] = []
    for name, values in scores.items():
        signed = EVERY[name].signed if name in EVERY else min(values, default=0) < 0
        row = heat_row(
            subject(name),
            units,
            values,
            windows=windows,
            signed=signed,
            floor=floor_of(name, len(units)),
        )
        meaning = EVERY[name].meaning if name in EVERY else ""
        heading = Text.assemble(("\n" + visible(row.title), "bold"), (f"  {meaning}", "dim"))
        parts += [heading, Padding(_shaded(row), (0, 2)), Padding(_largest(row), (0, 2))]
    if any(value < 0 for values in scores.values() for value in values):
        parts.append(
            Text.assemble(
                "\n",
                (" for ", f"{DARK} on {FOR[-1]}"),
                " the prediction  ",
                (" against ", f"{DARK} on {AGAINST[-1]}"),
                " it",
            )
        )
    return Group(*parts)


def _evidence(report: AuditReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    # no least widths: with them, a narrow terminal loses its last column in silence
    table.add_column("Check", overflow="fold")
    table.add_column("Verdict", no_wrap=True)
    interval = f"Value\n({report.plan.settings.confidence * 100:g}%)"
    table.add_column(interval, justify="right")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("By chance", justify="right")
    for row in evidence_rows(report):
        style = "dim" if row.calibration else ""
        verdict = Text(
            f"{SIGNS[row.verdict]} {row.verdict}", style=style or f"bold {STYLES[row.verdict]}"
        )
        if row.calibration:
            title = Text(f"  ↳ {row.title}, {row.remark}", style=style)
        else:
            title = Text.assemble((row.title, "bold"), (f"\n{visible(row.measured)}", "dim"))
            if row.needs:
                title.append(f"\nneeds {visible(row.needs)}", style="dim")
            if row.remark:
                title.append(f"\n{visible(row.remark)}", style="yellow")
        value = row.value if row.interval == NOTHING else f"{row.value}\n({row.interval})"
        table.add_row(title, verdict, *(Text(c, style=style) for c in (value, row.n, row.null)))
    return table


def _shaded(row: HeatRow) -> Text:
    text = Text()
    for unit in row.units:
        text.append(visible(unit.text), style=style_of(unit))
        text.append(" ")
    return text


def style_of(unit: Unit) -> str:
    """The style of rich that a unit is printed in."""
    if unit.gap:
        return "dim"
    strength = abs(unit.shade)
    if strength < FAINTEST:
        return ""
    shades = FOR if unit.shade > 0 else AGAINST
    return f"{DARK} on {shades[min(int(strength * len(shades)), len(shades) - 1)]}"


def _largest(row: HeatRow) -> Text:
    text = Text("largest ", style="dim")
    for word, score in row.top:
        text.append(f"“{visible(word)}” ")
        text.append(f"{score}  ", style="dim")
    return text


def item(content: RenderableType) -> Table:
    """An item of a list."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row("•", content)
    return grid
