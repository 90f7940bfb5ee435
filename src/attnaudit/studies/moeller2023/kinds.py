"""Kinds of words: from spaCy, or from lists of the words that English adds none to.

The built-in lists are no tagger. They tell determiners, prepositions, pronouns, conjunctions,
auxiliaries and negations, which are few and known; every other word is `other word`, so nouns and
verbs cannot be told apart with them. A word that has several uses, such as *that*, has one here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.parts_of_speech import SPECIAL, Tagged, Tagger, spacy_tagger, tags_of
from attnaudit.models.siamese.table import PairTable

NOUNS_AND_VERBS = frozenset({"NOUN", "PROPN", "VERB"})
OTHER = "other word"
CLOSED = {
    "negation": "no not n't never none nobody nothing nowhere neither nor cannot",
    "determiner": "a an the this that these those each every either some any all both such another",
    "pronoun": "i you he she it we they me him her us them my your his its our their mine yours "
    "hers ours theirs myself yourself himself herself itself ourselves themselves who whom whose "
    "which what someone somebody something anyone anybody anything everyone everybody everything "
    "there",
    "preposition": "of in to for with on at by from up about into over after beneath under above "
    "below between among through during before behind against without within along across near "
    "off out around toward towards upon onto down inside outside beside than per via",
    "conjunction": "and or but so yet if because while although though unless until since when "
    "where whether as",
    "auxiliary": "is am are was were be been being do does did have has had having can could may "
    "might must shall should will would 's 're 've 'll 'd 'm",
}
"""Kinds of words and the words of each."""
KIND_OF = {word: kind for kind, words in CLOSED.items() for word in words.split()}
NEGATION = re.compile(r"n['’]t\b|\b(?:not|no|never|cannot)\b", re.IGNORECASE)
"""Words that deny a sentence."""
_WORDS = re.compile(r"\w+(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|\w+|[^\w\s]", re.IGNORECASE)


def closed_classes(text: str) -> list[Tagged]:
    """The kind of each word as the built-in lists have it.

    Example:
        >>> text = "The cat didn't."
        >>> [(text[start:end], kind) for start, end, kind in closed_classes(text)[:3]]
        [('The', 'determiner'), ('cat', 'other word'), ('did', 'auxiliary')]
        >>> [(text[start:end], kind) for start, end, kind in closed_classes(text)[3:]]
        [("n't", 'negation'), ('.', 'punctuation')]
    """
    found = []
    for match in _WORDS.finditer(text):
        word = match[0].lower().replace("’", "'")
        plain = OTHER if word[0].isalnum() or len(word) > 1 else "punctuation"
        found.append((*match.span(), KIND_OF.get(word, plain)))
    return found


def tagger_of(tags: str) -> Tagger | None:
    """The tagger that an option names; None for `none`.

    Raises:
        MissingExtra: spaCy is absent.
        SettingsError: The pipeline is.
    """
    kind, _, pipeline = tags.partition(":")
    if kind == "none":
        return None
    return spacy_tagger(pipeline) if kind == "spacy" else closed_classes


def preference(
    tables: Sequence[PairTable],
    tagger: Tagger,
    kinds: frozenset[str],
    settings: Settings,
    *,
    subject: str,
) -> tuple[Estimate, Estimate, Estimate]:
    """How often the strongest pairs of words are both of some kinds, against all pairs of words.

    The strongest are the 5 % of the pairs with the highest values, of those without special
    tokens; what a pair of texts has none of counts as 0.

    Args:
        tables: Between words.
        tagger: A text to `(start, end, tag)`.
        kinds: Tags that count.
        settings: Of the intervals.
        subject: What they are called.

    Returns:
        `kind_share_top` and `kind_share_all`, mean shares in [0, 1], and `kind_preference`, the
        mean over pairs of texts of their difference.
    """
    top, everything = [], []
    for table in tables:
        a, b = (np.array(tags_of(t, tagger(t.text))) for t in (table.a, table.b))
        rows, columns = a != SPECIAL, b != SPECIAL
        if not rows.any() or not columns.any():
            continue
        wanted = np.isin(a[rows], list(kinds))[:, None] & np.isin(b[columns], list(kinds))[None]
        values = table.pairs.numpy()[np.ix_(rows, columns)].ravel()
        strongest = np.argsort(-values, kind="stable")[: first(len(values))]
        top.append(wanted.ravel()[strongest].mean())
        everything.append(wanted.mean())
    high, all_ = np.array(top), np.array(everything)
    return (
        average(high, settings, statistic="kind_share_top", subject=subject),
        average(all_, settings, statistic="kind_share_all", subject=subject),
        average(high - all_, settings, statistic="kind_preference", subject=subject, null=0.0),
    )


def first(pairs: int, share: float = 0.05) -> int:
    """How many pairs are the first 5 %: at least one.

    Example:
        >>> first(144), first(9)
        (8, 1)
    """
    return max(1, int(np.ceil(share * pairs)))
