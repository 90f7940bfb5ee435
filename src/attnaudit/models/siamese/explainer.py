"""Tables of many pairs: each text is solved once, by the cheapest way."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from attnaudit.errors import DataError, NotApplicable, SettingsError
from attnaudit.models.cut import Verified
from attnaudit.models.siamese.cache import Cache
from attnaudit.models.siamese.contributions import (
    BUDGET,
    TOLERANCE,
    Contributions,
    contributions,
    pair_table,
    tables_beside,
)
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.jacobian import REVERSE_COST
from attnaudit.models.siamese.own_score import Pair, check_scores, compared, own_scores
from attnaudit.models.siamese.references import reference_of
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Role, Tokens, check_text
from attnaudit.progress import Report

WINDOW = 128
"""Pairs that are planned together."""
FORMAT = 2
"""Raised when what a cache on disk holds is computed in another way."""
Text = tuple[Role, str]
"""A text and how it is read; in pairs of a query and a document one text may stand as both."""


class PairExplainer:
    """Which pairs of tokens make texts similar, for one encoder.

    Every score is held against the model's own. Weights that change, as in training that goes on,
    are noticed: nothing that was computed before is used then.

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
        self.cache = self._empty(cache)

    def _empty(self, folder: Path | None) -> Cache:
        self._stamp = self.encoder.stamp
        return Cache(self._key() if folder is not None else "", folder)

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides its tables."""
        return hashlib.sha256(self._key().encode()).hexdigest()

    def _key(self) -> str:
        vector = self.reference.vector
        raw = b"" if vector is None else vector.float().cpu().contiguous().numpy().tobytes()
        return "\x1f".join(
            (
                str(FORMAT),
                self.encoder.fingerprint,
                str(self.encoder.layer),
                self.reference.name,
                str(self.reference.token),
                hashlib.sha256(raw).hexdigest(),
                repr(self.tolerance),
            )
        )

    def contributions(
        self,
        texts: Sequence[str],
        progress: Report | None = None,
        *,
        role: Role | None = None,
    ) -> list[Contributions]:
        """What each token of each text contributes to its embedding; known texts cost nothing.

        Args:
            texts: Any texts.
            progress: Told the texts done.
            role: As what they are read; by default as the first text of a pair.
        """
        self._refresh()
        chosen = self.encoder.roles[0] if role is None else role
        wanted = [(chosen, text) for text in texts]
        found = self._contributions(self._read(wanted), progress)
        return [found[one] for one in wanted]

    def _refresh(self) -> None:
        """Forget what was computed with other weights."""
        if self._stamp != self.encoder.stamp:
            self.cache = self._empty(self.cache.folder)

    def _read(self, texts: Iterable[Text]) -> dict[Text, Tokens]:
        distinct = list(dict.fromkeys(texts))
        read: dict[Text, Tokens] = {}
        for role in dict.fromkeys(role for role, _ in distinct):
            some = [text for one, text in distinct if one == role]
            found = zip(some, self.encoder.tokens(some, role), strict=True)
            read |= {(role, text): tokens for text, tokens in found}
        return {one: read[one] for one in distinct}

    def _contributions(
        self, tokens: dict[Text, Tokens], progress: Report | None
    ) -> dict[Text, Contributions]:
        known = {(role, text): self.cache.get(text, role) for role, text in tokens}
        missing = [one for one, found in known.items() if found is None]
        if missing:
            tell = _telling(progress, "texts", len(missing))
            for found in contributions(
                self.encoder,
                [tokens[one] for one in missing],
                reference=self.reference,
                tolerance=self.tolerance,
                budget=self.budget,
                step=tell,
            ):
                self.cache.put(found)
                known[found.tokens.role, found.tokens.text] = found
        return {one: found for one, found in known.items() if found is not None}

    def table(self, a: str, b: str) -> PairTable:
        """The table of one pair."""
        return next(self.tables([(a, b)]))

    def tables(self, pairs: Iterable[Pair], progress: Report | None = None) -> Iterator[PairTable]:
        """The table of each pair, in order; a text in several pairs is solved once.

        Pairs are planned in groups of 128, whose contributions are held together; of earlier
        groups 256 MB are kept in memory, or all on disk where a cache is named.
        """
        waiting = checked_pairs(pairs)
        while window := list(islice(waiting, WINDOW)):
            yield from self._checked(window, progress)

    def verify(self, pairs: Iterable[Pair]) -> Verified:
        """Hold the scores that tables explain against the model's own.

        Raises:
            DataError: As `tables`.
        """
        some = list(checked_pairs(pairs))
        self._refresh()
        scores = [table.score for table in self._window(*self._sides(some), None)]
        return compared(some, scores, own_scores(self.encoder, some))

    def _sides(self, pairs: Sequence[Pair]) -> tuple[list[tuple[Text, Text]], dict[Text, Tokens]]:
        first, second = self.encoder.roles
        sides: list[tuple[Text, Text]] = [((first, a), (second, b)) for a, b in pairs]
        return sides, self._read(text for pair in sides for text in pair)

    def _checked(self, pairs: list[Pair], progress: Report | None) -> list[PairTable]:
        """Tables whose scores are the model's own.

        Raises:
            NotApplicable: The model's own scores are others.
        """
        self._refresh()
        sides, tokens = self._sides(pairs)
        own = own_scores(self.encoder, pairs)
        used = self.cache.holds_any
        found = list(self._window(sides, tokens, progress))
        try:
            check_scores(pairs, [table.score for table in found], own)
        except NotApplicable:
            if not used:
                raise
            # weights that were changed through `.data` leave no trace but this
            self.encoder.forget()
            self.cache = self._empty(self.cache.folder)
            found = list(self._window(sides, tokens, progress))
            check_scores(pairs, [table.score for table in found], own)
        return found

    def _window(
        self, pairs: list[tuple[Text, Text]], tokens: dict[Text, Tokens], progress: Report | None
    ) -> Iterator[PairTable]:
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
        tables = dict(
            zip(
                beside,
                tables_beside(
                    self.encoder,
                    ones,
                    others,
                    reference=self.reference,
                    kind=self.encoder.kind,
                    tolerance=self.tolerance,
                    budget=self.budget,
                    step=_telling(progress, "pairs", len(beside)),
                ),
                strict=True,
            )
        )
        for place, (a, b) in enumerate(pairs):
            if place in tables:
                yield tables[place].turned() if turned[place] else tables[place]
            else:
                yield pair_table(solved[a], solved[b], self.encoder.kind, self.tolerance)

    def _passive(self, pairs: Sequence[tuple[Text, Text]], tokens: dict[Text, Tokens]) -> set[Text]:
        """Texts that need no contributions of their own: their pairs' products are cheaper.

        With a cache on disk contributions are wanted for later, so every text is solved.
        """
        if self.cache.folder is not None:
            return set()
        partners: dict[Text, set[Text]] = defaultdict(set)
        for a, b in pairs:
            partners[a].add(b)
            partners[b].add(a)
        found: set[Text] = set()
        for text in sorted(partners, key=lambda one: -len(tokens[one])):
            others = partners[text]
            if others & (found | {text}) or self.cache.get(text[1], text[0]) is not None:
                continue
            price = REVERSE_COST * sum(len(tokens[other]) + 1 for other in others)
            if price < len(tokens[text]):
                found.add(text)
        return found


def checked_pairs(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs, each looked at before it is used.

    Raises:
        DataError: A pair is not two texts, or a text cannot be read; named by its number from 0.
    """
    for place, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
            raise DataError(f"pair {place} must be two texts, got {pair!r:.80}")
        for text, which in zip(pair, ("first", "second"), strict=True):
            check_text(text, f"the {which} text of pair {place}")
        yield str(pair[0]), str(pair[1])


def _telling(progress: Report | None, stage: str, total: int) -> Callable[[int], None] | None:
    return None if progress is None else (lambda done: progress(stage, done, total))
