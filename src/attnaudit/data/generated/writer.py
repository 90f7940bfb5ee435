"""The writer of one generated review: sentences whose evidence is marked while they are made."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from attnaudit.data.generated import phrases
from attnaudit.data.generated.opinions import (
    ADJECTIVES,
    ADVERBS,
    FEELINGS,
    MISSPELLINGS,
    NEGATIVE,
    NOUNS,
    POSITIVE,
    PRESENT,
    VERBS,
    Words,
)
from attnaudit.data.generated.topics import Side, Topic
from attnaudit.data.texts.tokens import words

# Around evidence while a sentence is made; no template holds these characters.
_OPEN, _CLOSE = "\x02", "\x03"
_SLOT = re.compile(r"\{(\w+)(?::([\w' ]+))?\}")
_TENSE = re.compile(r"\[(\w+)/(\w+)\]")
_ARTICLE = re.compile(r"\x01 \x02?(\w)")


def unmarked(marked: str) -> tuple[str, list[bool]]:
    """A text without its marks, and for each unit whether it stood inside one."""
    pieces, inside, spans, length = re.split(f"([{_OPEN}{_CLOSE}])", marked), False, [], 0
    for piece in pieces:
        if piece in (_OPEN, _CLOSE):
            inside = piece == _OPEN
            continue
        if inside:
            spans.append((length, length + len(piece)))
        length += len(piece)
    text = re.sub(f"[{_OPEN}{_CLOSE}]", "", marked)
    truth = [
        any(first <= start and end <= last for first, last in spans) for start, end in words(text)
    ]
    return text, truth


class Writer:
    """Writes the sentences of one review; its draws come from one generator."""

    def __init__(self, rng: random.Random, topic: Topic, difficulty: float) -> None:
        self.rng = rng
        self.topic = topic
        # At difficulty 0 a little of everything is left, at 1 half of all opinions are denied.
        self.denied = 0.02 + 0.43 * difficulty
        self.aside = 0.05 + 0.65 * difficulty
        self.mixed = 0.6 * difficulty
        self.rare = 0.05 + 0.3 * difficulty
        self.slip = 0.12 * difficulty
        pairs = [(name, side) for side in topic.sides for name in side.names]
        self.sides = rng.sample(pairs, len(pairs))
        self.used: set[str] = set()

    def opinions(self, polarity: int, most: int) -> list[str]:
        """Sentences of opinion; most of them, or all, are of this polarity."""
        rng = self.rng
        count = rng.randint(1, max(1, min(5, most)))
        # In a mixed review those against are fewer by one or more.
        against = rng.randint(1, (count - 1) // 2) if count > 2 and self._happens(self.mixed) else 0
        clauses = [(polarity, self._clause(polarity)) for _ in range(count - against)]
        clauses += [(-polarity, self._clause(-polarity, minority=True)) for _ in range(against)]
        rng.shuffle(clauses)
        sentences = []
        while clauses:
            sign, clause = clauses.pop()
            if clauses and self._happens(0.5):
                other_sign, other = clauses.pop()
                joins = phrases.AGREEING if sign == other_sign else phrases.OPPOSED
                sentences.append(
                    self._sentence(rng.choice(joins).format(first=clause, second=other))
                )
            elif sign == polarity and self._happens(0.25):
                template = rng.choice(phrases.EXCLAMATIONS)
                sentences.append(self._sentence(self._fill(template, sign, True)))
            else:
                sentences.append(self._sentence(clause + rng.choice((".", ".", ".", "!"))))
        return sentences

    def other(self) -> str:
        """A sentence that says nothing on the label; never one of the same kind twice."""
        rng, topic = self.rng, self.topic
        while True:
            aside = self._happens(self.aside)
            pools = (
                (topic.asides, phrases.REPORTS)
                if aside
                else (topic.facts, topic.facts, phrases.FACTS)
            )
            template = rng.choice(rng.choice(pools))
            if template not in self.used:
                break
        self.used.add(template)
        # What others think of the thing is said in its own words, what they think of other
        # things in words that fit anything.
        general = template in topic.asides
        polarity = rng.choice((POSITIVE, NEGATIVE))
        return self._sentence(self._fill(template, polarity, False, general))

    def _clause(self, polarity: int, minority: bool = False) -> str:
        """One opinion; those of a minority are on single sides, and no evidence for the label."""
        whole = not minority and self._happens(0.35)
        if self._happens(self.denied):
            templates = phrases.DENIED_WHOLE if whole else phrases.DENIED
            return self._fill(self.rng.choice(templates), -polarity, not minority)
        templates = phrases.PLAIN_WHOLE if whole else phrases.PLAIN
        return self._fill(self.rng.choice(templates), polarity, not minority)

    def _fill(self, template: str, polarity: int, evidence: bool, general: bool = False) -> str:
        """A template with its slots filled by words of opinion of this polarity."""
        rng = self.rng
        name, side = self._next_side()
        special = Words((), ()) if general else side.adjectives
        past = self.topic.past
        plural = name.endswith("*")
        relative, they = rng.choice(phrases.RELATIVES)

        def opinion(word: str) -> str:
            return f"{_OPEN}{word}{_CLOSE}" if evidence else word

        be = ("were" if plural else "was") if past else ("are" if plural else "is")
        title = rng.choice(phrases.TITLES)
        fixed = {
            "side": name.rstrip("*"),
            "be": be,
            "be_not": opinion(f"{be}n't"),
            "a": "\x01",
            "item": rng.choice(self.topic.items),
            "moment": self.topic.moment,
            "doer": rng.choice(self.topic.doers),
            "relative": relative,
            "who": relative,
            "they": they,
        }
        drawn: dict[str, Callable[[], str]] = {
            "adjective": lambda: self._adjective(polarity, special),
            "whole_adjective": lambda: self._adjective(polarity, self.topic.adjectives),
            "noun": lambda: self._word(NOUNS, polarity),
            "verb": lambda: self._word(VERBS, polarity),
            "base": lambda: PRESENT[self._word(VERBS, polarity, misspell=False)],
            "feeling": lambda: self._word(FEELINGS, polarity),
            "adverb": lambda: self._word(ADVERBS, polarity),
        }
        lists = {
            "very": phrases.VERY,
            "n": phrases.NUMBERS,
            "nth": phrases.ORDINALS,
            "person": phrases.PERSONS,
            "place": phrases.PLACES,
            "month": phrases.MONTHS,
            "day": phrases.DAYS,
            "colour": phrases.COLOURS,
            "thing": phrases.THINGS,
        }

        def fill(match: re.Match[str]) -> str:
            slot, negator = match[1], match[2]
            if slot == "neg":
                return opinion(negator)
            if slot == "title":
                return _titled(_SLOT.sub(fill, title))
            if slot in drawn:
                return opinion(drawn[slot]())
            return fixed[slot] if slot in fixed else rng.choice(lists[slot])

        return _TENSE.sub(lambda match: match[2 if past else 1], _SLOT.sub(fill, template))

    def _next_side(self) -> tuple[str, Side]:
        """Sides in turn, so that a review does not judge one twice."""
        self.sides.insert(0, self.sides.pop())
        return self.sides[0]

    def _adjective(self, polarity: int, special: Words) -> str:
        fitting = special.common(polarity) and self._happens(0.5)
        return self._word(special if fitting else ADJECTIVES, polarity)

    def _word(self, kind: Words, polarity: int, misspell: bool = True) -> str:
        rare = kind.rare(polarity)
        word = self.rng.choice(rare if rare and self._happens(self.rare) else kind.common(polarity))
        if misspell and word in MISSPELLINGS and self._happens(self.slip):
            return self.rng.choice(MISSPELLINGS[word])
        return word

    def _sentence(self, text: str) -> str:
        """Articles chosen, slips made, and the first letter a capital."""
        text = _ARTICLE.sub(_with_article, text)
        if self._happens(self.slip):
            known = [word for word in phrases.SLIPS if f" {word} " in text]
            if known:
                word = self.rng.choice(known)
                text = text.replace(f" {word} ", f" {phrases.SLIPS[word]} ", 1)
        first = re.search(r"\w", text)
        at = first.start() if first else 0
        return text[:at] + text[at].upper() + text[at + 1 :]

    def _happens(self, probability: float) -> bool:
        return self.rng.random() < probability


def _titled(text: str) -> str:
    """A title with its article and capitals."""
    text = _ARTICLE.sub(_with_article, text)
    return " ".join(
        word if word == "of" else word[0].upper() + word[1:] for word in text.split(" ")
    )


def _with_article(match: re.Match[str]) -> str:
    """The article by the letter that follows: no word here sounds other than it is written."""
    return ("an " if match[1].lower() in "aeiou" else "a ") + match[0][len("\x01 ") :]
