"""What generated reviews are about, from the texts in `topics.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnaudit.data.generated.opinions import Words, words_of


@dataclass(frozen=True)
class Side:
    """Sides of a thing that take the same adjectives; a star marks a plural."""

    names: tuple[str, ...]
    adjectives: Words


@dataclass(frozen=True)
class Topic:
    """A kind of thing that is reviewed.

    Attributes:
        items: Words for the thing.
        past: Whether one tells of it in the past (a meal) or in the present (a film).
        sides: What can be praised or blamed about it.
        adjectives: For the thing as a whole.
        moment: What one had every or not one of: minute, page, bite.
        doers: Clauses that an adverb completes.
        facts: Sentences without opinion.
        asides: Sentences whose opinion is about something else.
    """

    items: tuple[str, ...]
    past: bool
    sides: tuple[Side, ...]
    adjectives: Words
    moment: str
    doers: tuple[str, ...]
    facts: tuple[str, ...]
    asides: tuple[str, ...]


def _topic(found: Mapping[str, Any], adjectives: Mapping[str, Words]) -> Topic:
    """A topic as the file has it: lists for tuples, and adjectives by their name."""
    none = Words((), ())
    sides = tuple(
        Side(tuple(side["names"]), adjectives[side["adjectives"]] if "adjectives" in side else none)
        for side in found["sides"]
    )
    lists = {name: tuple(found[name]) for name in ("items", "doers", "facts", "asides")}
    words = adjectives[found["adjectives"]]
    return Topic(**lists, past=found["past"], moment=found["moment"], sides=sides, adjectives=words)


def _topics() -> dict[str, Topic]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    adjectives = {name: words_of(*words) for name, words in found["adjectives"].items()}
    return {name: _topic(topic, adjectives) for name, topic in found["topics"].items()}


TOPICS = _topics()
