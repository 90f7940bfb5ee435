"""Which parts of speech a score rests on: the values of token pairs, summed by their tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from attnaudit.errors import DataError, MissingExtra, SettingsError
from attnaudit.measures.bootstrap import RESAMPLES
from attnaudit.models.siamese.reading import REFERENCE
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Span, Tokens

Tagged = tuple[int, int, str]
Tagger = Callable[[str], Iterable[Tagged]]
"""A text to the `(start, end, tag)` of its words."""
EXTRA = "pos"
SPECIAL, UNTAGGED = "[special]", "[untagged]"
Array = npt.NDArray[np.float64]


def spacy_tagger(pipeline: str | Callable[[str], Any]) -> Tagger:
    """The coarse parts of speech (Universal Dependencies) that a spaCy pipeline gives.

    Args:
        pipeline: The name of an installed pipeline, such as `en_core_web_sm`, or a loaded one.

    Raises:
        MissingExtra: A name is given and spaCy is absent.
        SettingsError: No pipeline of that name is installed.
    """
    run = _loaded(pipeline) if isinstance(pipeline, str) else pipeline

    def tag(text: str) -> list[Tagged]:
        words = [word for word in run(text) if word.text.strip()]
        if words and not any(word.pos_ for word in words):
            raise SettingsError(
                "the spaCy pipeline gives no parts of speech, as a blank one does not; use one "
                "with a tagger, such as en_core_web_sm"
            )
        return [(word.idx, word.idx + len(word.text), word.pos_) for word in words]

    return tag


def tags_of(tokens: Tokens, tagged: Iterable[Tagged]) -> tuple[str, ...]:
    """The tag of each token: of the word that it shares most characters with.

    Args:
        tokens: Tokens or words of one text.
        tagged: The words of the same text with their tags; of equal shares the first counts.

    Returns:
        One tag a token; `[special]` for what stands for no text, `[untagged]` for text that no
        tagged word covers.

    Raises:
        DataError: A span of `tagged` lies outside the text.

    Example:
        >>> tokens = Tokens("Cats sleep", (1, 2, 3, 4), ("[CLS]", "cat", "##s", "sleep"),
        ...                 ((0, 0), (0, 3), (3, 4), (5, 10)), (True, False, False, False))
        >>> tags_of(tokens, [(0, 4, "NOUN"), (5, 10, "VERB")])
        ('[special]', 'NOUN', 'NOUN', 'VERB')
    """
    words = sorted(tagged)
    for start, end, tag in words:
        if not 0 <= start <= end <= len(tokens.text):
            raise DataError(
                f"the tagger puts {tag!r} at ({start}, {end}), outside the text of "
                f"{len(tokens.text)} characters; it must return offsets into the text it is given"
            )
    return tuple(
        SPECIAL if special or end <= start else _tag((start, end), words)
        for (start, end), special in zip(tokens.offsets, tokens.special, strict=True)
    )


def part_of_speech_table(
    tables: Iterable[PairTable],
    tagger: Tagger,
    *,
    ordered: bool = False,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pl.DataFrame:
    """What pairs of parts of speech add to the scores, over many pairs of texts.

    Intervals are percentile bootstraps that resample pairs of texts, as the pairs of tokens within
    one pair of texts are not independent. The tags of the references are `[reference]`, so the
    column `sum` adds up to the sum of all tables.

    Args:
        tables: Tables of pairs, between tokens or words.
        tagger: A text to `(start, end, tag)`; called once for each different text.
        ordered: Whether (noun of a, verb of b) and (verb of a, noun of b) are two kinds; Möller et
            al. (2023) count them as one.
        confidence: Share of intervals that hold the truth.
        resamples: How many resamples to draw.
        seed: Of the resamples.

    Returns:
        One line for each two tags, largest `share` first: `tag_a`, `tag_b`, `sum` (signed), `count`
        (pairs of tokens), `texts` (pairs of texts that have any), `mean` (sum over count), `share`
        (sum of absolute values over that of all lines, in [0, 1]), `share_of_total` (sum over that
        of all lines; null where that is 0), each of the last three with `_low` and `_high`, null
        with fewer than two pairs of texts.

    Raises:
        DataError: There is no table.
        SettingsError: An option is out of range.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise SettingsError(
            f"confidence is {confidence} and resamples {resamples}; give a share between 0 and 1, "
            "such as 0.95, and at least one resample"
        )
    known: dict[str, list[Tagged]] = {}

    def tags(tokens: Tokens) -> list[str]:
        if tokens.text not in known:
            known[tokens.text] = list(tagger(tokens.text))
        return [*tags_of(tokens, known[tokens.text]), REFERENCE]

    rows = [_sums(table, tags(table.a), tags(table.b), ordered) for table in tables]
    if not rows:
        raise DataError("there is no table to summarise; give at least one pair of texts")
    kinds = sorted({kind for row in rows for kind in row})
    # (texts, kinds, [sum, magnitude, count]), in an order that the texts' own has no part in
    cube = np.array(sorted([[row.get(kind, (0.0, 0.0, 0.0)) for kind in kinds] for row in rows]))
    found = _quantities(cube.sum(0)[None])
    drawn = None
    if len(rows) > 1:
        rng = np.random.default_rng(seed)
        times = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
        drawn = _quantities(np.tensordot(times.astype(np.float64), cube, 1))
    columns: dict[str, Sequence[object]] = {
        "tag_a": [a for a, _ in kinds],
        "tag_b": [b for _, b in kinds],
        "sum": cube[:, :, 0].sum(0).tolist(),
        "count": cube[:, :, 2].sum(0).astype(int).tolist(),
        "texts": (cube[:, :, 2] > 0).sum(0).tolist(),
    }
    for name, values in found.items():
        columns[name] = _known(values[0])
        for end, place in (("low", 0.5 - confidence / 2), ("high", 0.5 + confidence / 2)):
            columns[f"{name}_{end}"] = (
                [None] * len(kinds) if drawn is None else _known(_quantile(drawn[name], place))
            )
    frame = pl.DataFrame(
        columns,
        schema_overrides={
            name: pl.Float64 for name in columns if name.startswith(("mean", "share"))
        },
    )
    return frame.sort("share", descending=True, nulls_last=True, maintain_order=True)


def _sums(
    table: PairTable, tags_a: Sequence[str], tags_b: Sequence[str], ordered: bool
) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Sum, sum of magnitudes and number of the entries of each kind."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for tag_a, values in zip(tags_a, table.values.tolist(), strict=True):
        for tag_b, value in zip(tags_b, values, strict=True):
            kind = (tag_a, tag_b) if ordered or tag_a <= tag_b else (tag_b, tag_a)
            groups[kind].append(value)
    return {
        kind: (sum(values), sum(map(abs, values)), float(len(values)))
        for kind, values in groups.items()
    }


def _quantities(sums: Array) -> dict[str, Array]:
    """`(R, kinds, 3)` sums to `(R, kinds)` quantities, NaN where undefined."""
    total, magnitude, count = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "mean": np.where(count > 0, total / count, np.nan),
            "share": magnitude / magnitude.sum(1, keepdims=True),
            "share_of_total": total / total.sum(1, keepdims=True),
        }


def _quantile(drawn: Array, place: float) -> Array:
    defined = np.isfinite(drawn).all(0)
    ends = np.full(drawn.shape[1], np.nan)
    ends[defined] = np.quantile(drawn[:, defined], place, axis=0)
    for kind in np.flatnonzero(~defined):
        some = drawn[np.isfinite(drawn[:, kind]), kind]
        if len(some) > 1:
            ends[kind] = np.quantile(some, place)
    return ends


def _known(values: Array) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _tag(span: Span, words: Sequence[Tagged]) -> str:
    shared = [min(end, span[1]) - max(start, span[0]) for start, end, _ in words]
    if max(shared, default=0) <= 0:
        return UNTAGGED
    return words[shared.index(max(shared))][2]


def _loaded(name: str) -> Callable[[str], Any]:
    try:
        import spacy
    except ImportError as error:
        raise MissingExtra("spacy", EXTRA, "A summary by parts of speech with spaCy") from error
    try:
        pipeline: Callable[[str], Any] = spacy.load(name)
    except OSError as error:
        raise SettingsError(
            f"spaCy has no pipeline {name!r} here; install it with "
            f"`python -m spacy download {name}`, or give your own function from a text to "
            "(start, end, tag)"
        ) from error
    return pipeline
