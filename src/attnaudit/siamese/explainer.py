"""Tables of many pairs: each text is solved once, by the cheapest way."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from attnaudit.errors import SettingsError
from attnaudit.progress import Report
from attnaudit.siamese.cache import Cache
from attnaudit.siamese.contributions import (
    BUDGET,
    TOLERANCE,
    Contributions,
    contributions,
    pair_table,
    tables_beside,
)
from attnaudit.siamese.encoder import SiameseEncoder
from attnaudit.siamese.jacobian import REVERSE_COST
from attnaudit.siamese.references import reference_of
from attnaudit.siamese.table import PairTable
from attnaudit.siamese.tokens import Tokens

WINDOW = 128
"""Pairs that are planned together."""
FORMAT = 1
"""Raised when what a cache on disk holds is computed in another way."""
Pair = tuple[str, str]


class PairExplainer:
    """Which pairs of tokens make texts similar, for one encoder.

    Args:
        encoder: With the layer to start from.
        reference: One of `REFERENCES`, a token of the vocabulary, or a word vector.
        tolerance: How far a table's sum may lie from the score, from 1e-5 to 0.1.
        cache: Folder in which contributions are kept between calls; None for memory only.
        budget: Tokens in work at a time.

    Raises:
        SettingsError: A reference or tolerance that cannot be used.
    """

    def __init__(
        self,
        encoder: SiameseEncoder,
        *,
        reference: str | Tensor | Sequence[float] = "padding",
        tolerance: float = TOLERANCE,
        cache: Path | None = None,
        budget: int = BUDGET,
    ) -> None:
        if budget < 1:
            raise SettingsError(f"budget must be at least 1 token, got {budget}")
        self.encoder, self.tolerance, self.budget = encoder, tolerance, budget
        words = encoder.transformer.get_input_embeddings().weight.detach()  # type: ignore[operator]
        self.reference = reference_of(reference, encoder.tokenizer, words)
        self.cache = Cache(self._key() if cache is not None else "", cache)

    def _key(self) -> str:
        vector = self.reference.vector
        raw = b"" if vector is None else vector.float().cpu().contiguous().numpy().tobytes()
        return "\x1f".join((
            str(FORMAT),
            self.encoder.fingerprint, str(self.encoder.layer), self.reference.name,
            str(self.reference.token), hashlib.sha256(raw).hexdigest(), repr(self.tolerance),
        ))  # fmt: skip

    def contributions(
        self, texts: Sequence[str], progress: Report | None = None
    ) -> list[Contributions]:
        """What each token of each text contributes to its embedding; known texts cost nothing."""
        distinct = list(dict.fromkeys(texts))
        found = self._contributions(
            dict(zip(distinct, self.encoder.tokens(distinct), strict=True)), progress
        )
        return [found[text] for text in texts]

    def _contributions(
        self, tokens: dict[str, Tokens], progress: Report | None
    ) -> dict[str, Contributions]:
        known = {text: self.cache.get(text) for text in tokens}
        missing = [text for text, found in known.items() if found is None]
        if missing:
            tell = _telling(progress, "texts", len(missing))
            for found in contributions(
                self.encoder, [tokens[text] for text in missing], reference=self.reference,
                tolerance=self.tolerance, budget=self.budget, step=tell,
            ):  # fmt: skip
                self.cache.put(found)
                known[found.tokens.text] = found
        return {text: found for text, found in known.items() if found is not None}

    def table(self, a: str, b: str) -> PairTable:
        """The table of one pair."""
        return next(self.tables([(a, b)]))

    def tables(self, pairs: Iterable[Pair], progress: Report | None = None) -> Iterator[PairTable]:
        """The table of each pair, in order; a text in several pairs is solved once.

        Pairs are planned in groups of 128, whose contributions are held together; of earlier
        groups 256 MB are kept in memory, or all on disk where a cache is named.
        """
        waiting = iter(pairs)
        while window := list(islice(waiting, WINDOW)):
            yield from self._window(window, progress)

    def _window(self, pairs: list[Pair], progress: Report | None) -> Iterator[PairTable]:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        tokens = dict(zip(texts, self.encoder.tokens(texts), strict=True))
        passive = self._passive(pairs, tokens)
        solved = self._contributions(
            {text: one for text, one in tokens.items() if text not in passive}, progress
        )
        beside = [place for place, pair in enumerate(pairs) if passive & set(pair)]
        ones, others, turned = [], [], {}
        for place in beside:
            a, b = pairs[place]
            turned[place] = a in passive
            ones.append(solved[b if turned[place] else a])
            others.append(tokens[a if turned[place] else b])
        tables = dict(zip(beside, tables_beside(
            self.encoder, ones, others, reference=self.reference, kind=self.encoder.kind,
            tolerance=self.tolerance, budget=self.budget,
            step=_telling(progress, "pairs", len(beside)),
        ), strict=True))  # fmt: skip
        for place, (a, b) in enumerate(pairs):
            if place in tables:
                yield tables[place].turned() if turned[place] else tables[place]
            else:
                yield pair_table(solved[a], solved[b], self.encoder.kind, self.tolerance)

    def _passive(self, pairs: Sequence[Pair], tokens: dict[str, Tokens]) -> set[str]:
        """Texts that need no contributions of their own: their pairs' products are cheaper.

        With a cache on disk contributions are wanted for later, so every text is solved.
        """
        if self.cache.folder is not None:
            return set()
        partners: dict[str, set[str]] = defaultdict(set)
        for a, b in pairs:
            partners[a].add(b)
            partners[b].add(a)
        found: set[str] = set()
        for text in sorted(partners, key=lambda one: -len(tokens[one])):
            others = partners[text]
            if others & (found | {text}) or self.cache.get(text) is not None:
                continue
            price = REVERSE_COST * sum(len(tokens[other]) + 1 for other in others)
            if price < len(tokens[text]):
                found.add(text)
        return found


def _telling(progress: Report | None, stage: str, total: int) -> Callable[[int], None] | None:
    return None if progress is None else (lambda done: progress(stage, done, total))
