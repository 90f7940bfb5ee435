"""Tables of pairs of texts made by hand: sub-word pieces, special tokens, offsets."""

from __future__ import annotations

import random
import re

import torch
from hypothesis import strategies as st
from torch import Tensor

from attnaudit.models.siamese.table import PairTable, ScoreKind
from attnaudit.models.siamese.tokens import Tokens

A = "Don't play the state-of-the-art guitar solo."
B = "A man's guitarist is playing guitar-like music, loudly"
HOSTILE_A = '<script>alert("a")</script> שלום עולם & \u202eesrever <!-- 👨\u200d👩\u200d👧 end'
HOSTILE_B = "\"><img src=x onerror=alert(1)> </script><b>[bold red]x[/] {{ 7*7 }} 👍🏽 it's"


def pieces_of(text: str, size: int = 4, *, prompt: int = 0, cut: str = "") -> Tokens:
    """A text in pieces of words, as a BERT reads it: punctuation alone, long words in several."""
    rows: list[tuple[str, tuple[int, int], bool]] = [("[CLS]", (0, 0), True)]
    rows += [(f"query{i}", (0, 0), False) for i in range(prompt)]
    for match in re.finditer(r"\w+|[^\w\s]", text):
        start, end = match.span()
        for at in range(start, end, size):
            stop = min(at + size, end)
            mark = "##" if at > start else ""
            rows.append((mark + text[at:stop].lower(), (at, stop), False))
    rows.append(("[SEP]", (0, 0), True))
    pieces, offsets, special = zip(*rows, strict=True)
    return Tokens(text + cut, tuple(range(len(rows))), pieces, offsets, special, cut)


def table_of(
    a: Tokens | str = A,
    b: Tokens | str = B,
    *,
    seed: int = 0,
    reference: float = 0.2,
    residual: float = 1e-5,
    kind: ScoreKind = "cosine",
    scale: float = 1.0,
) -> PairTable:
    """A table as an encoder's would be: products of contributions, references of a given size."""
    a, b = (pieces_of(x) if isinstance(x, str) else x for x in (a, b))
    generator = torch.Generator().manual_seed(seed)

    def parts(tokens: Tokens) -> Tensor:
        values = torch.randn(len(tokens) + 1, 12, generator=generator, dtype=torch.float64)
        values[:-1] *= (~torch.tensor(tokens.special)).double()[:, None] * 0.9 + 0.1
        values[-1] *= reference * len(tokens) ** 0.5
        return values + 0.25

    x, y = parts(a), parts(b)
    sizes = x.sum(0).norm(), y.sum(0).norm()
    values = scale * x @ y.T / (sizes[0] * sizes[1])
    return PairTable(
        a,
        b,
        values,
        float(values.sum()) + residual,
        kind,
        1e-3,
        float(x[-1].norm() / sizes[0]),
        float(y[-1].norm() / sizes[1]),
    )


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Text of many scripts, with marks that join words and whitespace of all kinds."""
    parts = [
        "don't",
        "state-of-the-art",
        "3.14",
        "e.g.",
        "שלום",
        "中国人",
        "ไทย",
        "é",
        "a\u0301",
        "👍🏽",
        "🇩🇪🇫🇷",
        "\u202e",
        "-",
        "'",
        " ",
        "\n",
        "\u00a0",
        "\u200b",
        "x",
    ]
    free = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    return "".join(draw(st.lists(st.one_of(st.sampled_from(parts), free), max_size=12)))


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    """Tokens whose spans lie anywhere: over words, in them, in whitespace, or nowhere."""
    text = draw(texts())
    place = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(place, place).map(lambda s: (min(s), max(s))), max_size=9))
    rows = [("▁" if start == end else "piece", (start, end), False) for start, end in sorted(spans)]
    rows = [("[CLS]", (0, 0), True), *rows, ("[SEP]", (0, 0), True)][draw(st.integers(0, 1)) :]
    pieces, offsets, special = zip(*rows, strict=True)
    return Tokens(text, tuple(range(len(rows))), pieces, offsets, special)


@st.composite
def tables(draw: st.DrawFn) -> PairTable:
    """A random table of random tokens."""
    seed, reference = draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.2, 2.0]))
    return table_of(draw(tokens()), draw(tokens()), seed=seed, reference=reference)


def any_grouping(count: int, seed: int) -> list[list[int]]:
    """Positions cut into groups at random, not only neighbours."""
    rng = random.Random(seed)
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(rng.randrange(max(count // 2, 1)), []).append(i)
    return sorted(groups.values())
