"""Generated reviews: English texts of which it is known, unit by unit, what decides the label.

A review says opinions on sides of one thing, and its label is what most of them say. A word of
opinion that is denied ("hardly a masterpiece") counts the other way, and then the negator is
evidence together with the word. Around them stand facts, what other people think, and words of
opinion about other things: none of these depends on the label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from statistics import fmean

from attnaudit.data import phrases
from attnaudit.data.opinions import (
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
    general_opinions,
    with_misspellings,
)
from attnaudit.data.records import Dataset, Text
from attnaudit.data.tokens import text_record, words
from attnaudit.data.topics import TOPICS, Side, Topic
from attnaudit.errors import SettingsError

CLASSES = ("negative", "positive")
SHORTEST, LONGEST = 5, 60

# Around evidence while a sentence is made; no template holds these characters.
_OPEN, _CLOSE = "\x02", "\x03"
_SLOT = re.compile(r"\{(\w+)(?::([\w' ]+))?\}")
_TENSE = re.compile(r"\[(\w+)/(\w+)\]")
_ARTICLE = re.compile(r"\x01 \x02?(\w)")
_MOST_TRIES = 1000
# A review is full when no other sentence fits, or when so many were too long.
_SHORTEST_SENTENCE, _MOST_MISSES = 4, 12


def opinion_words() -> dict[str, int]:
    """Every word of opinion in generated reviews, lower case: 1 for praise, -1 for blame.

    Example:
        >>> opinion_words()["superb"], opinion_words()["dull"]
        (1, -1)
    """
    found = general_opinions()
    for topic in TOPICS.values():
        for kind in (topic.adjectives, *(side.adjectives for side in topic.sides)):
            found.update(kind.polarities())
    return with_misspellings(found)


def generate_reviews(
    n: int = 4000,
    seed: int = 0,
    difficulty: float = 0.3,
    topics: Sequence[str] | None = None,
) -> Dataset:
    """Reviews with known truth: as many positive as negative, all texts different.

    Truth marks every word of opinion that speaks for the label, with its negator. Opinions that
    speak against the label, always fewer, are in reviews of higher difficulty and are not marked:
    they are evidence for the other class.

    Args:
        n: How many.
        seed: Same seed, same reviews, in any process.
        difficulty: From 0 to 1. More of it means more denied opinions, more words of opinion about
            other things, more mixed reviews, more rare words and misspellings.
        topics: Keys of `TOPICS`; by default all.

    Raises:
        SettingsError: An option out of range, or more reviews than the topics can give.

    Example:
        >>> data = generate_reviews(4, seed=1)
        >>> data.class_counts
        {'negative': 2, 'positive': 2}
    """
    return _generate({"all": n}, seed, difficulty, topics)["all"]


def generate_review_splits(
    n_train: int = 3000,
    n_dev: int = 500,
    n_test: int = 1000,
    seed: int = 0,
    difficulty: float = 0.3,
    topics: Sequence[str] | None = None,
) -> dict[str, Dataset]:
    """`generate_reviews` in three splits that share no text.

    Raises:
        SettingsError: An option out of range, or more reviews than the topics can give.
    """
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    return _generate(sizes, seed, difficulty, topics)


def _generate(
    sizes: dict[str, int], seed: int, difficulty: float, topics: Sequence[str] | None
) -> dict[str, Dataset]:
    names = list(TOPICS if topics is None else topics)
    unknown = [name for name in names if name not in TOPICS]
    if unknown or not names:
        raise SettingsError(f"topics must be some of {', '.join(TOPICS)}; got {names}")
    if not 0 <= difficulty <= 1:
        raise SettingsError(f"difficulty must be from 0 to 1, got {difficulty}")
    for split, n in sizes.items():
        if n < 2:
            raise SettingsError(f"{split}: 2 or more reviews are needed for two classes, got {n}")
    rng = random.Random(seed)
    seen: set[str] = set()
    made = {}
    for split, n in sizes.items():
        labels = [index % 2 for index in range(n)]
        rng.shuffle(labels)
        records = []
        for number, label in enumerate(labels):
            text, truth = _new_review(rng, names, label, difficulty, seen)
            records.append(text_record(f"{split}-{number}", text, label, truth))
        notes = _notes(records, seed, difficulty)
        made[split] = Dataset("reviews", tuple(records), CLASSES, split, notes)
    return made


def _notes(records: Sequence[Text], seed: int, difficulty: float) -> tuple[str, ...]:
    shares = [sum(record.truth or ()) / len(record.units) for record in records]
    lengths = [len(record.units) for record in records]
    return (
        f"generated: seed {seed}, difficulty {difficulty}",
        f"evidence: {fmean(shares):.0%} of the units of a text on average, "
        f"from {min(shares):.0%} to {max(shares):.0%}",
        f"length: {fmean(lengths):.0f} units on average, from {min(lengths)} to {max(lengths)}",
    )


def _new_review(
    rng: random.Random, topics: Sequence[str], label: int, difficulty: float, seen: set[str]
) -> tuple[str, list[bool]]:
    """A review whose text is not in `seen`, and its truth."""
    for _ in range(_MOST_TRIES):
        topic = TOPICS[rng.choice(topics)]
        text, truth = _review(_Writer(rng, topic, difficulty), POSITIVE if label else NEGATIVE)
        if text not in seen and SHORTEST <= len(truth) <= LONGEST:
            seen.add(text)
            return text, truth
    raise SettingsError(
        f"no new review was found after {len(seen)} different ones: ask for fewer, or more topics"
    )


def _review(writer: _Writer, polarity: int) -> tuple[str, list[bool]]:
    """One review and its truth: opinions first, then other sentences up to a drawn length."""
    rng = writer.rng
    length = SHORTEST + round((LONGEST - SHORTEST) * rng.betavariate(1.0, 1.5))
    sentences = writer.opinions(polarity, most=1 + length // 12)
    used = sum(len(words(sentence)) for sentence in sentences)
    misses = 0
    while used + _SHORTEST_SENTENCE <= length and misses < _MOST_MISSES:
        sentence = writer.other()
        size = len(words(sentence))
        if used + size <= length and sentence not in sentences:
            sentences.insert(rng.randint(0, len(sentences)), sentence)
            used += size
        else:
            misses += 1
    return _unmarked(" ".join(sentences))


def _unmarked(marked: str) -> tuple[str, list[bool]]:
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
    truth = [any(a <= start and end <= b for a, b in spans) for start, end in words(text)]
    return text, truth


class _Writer:
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
        """A sentence that says nothing on the label."""
        rng = self.rng
        if not self._happens(self.aside):
            template = rng.choice(rng.choice((self.topic.facts, self.topic.facts, phrases.FACTS)))
            return self._sentence(self._fill(template, 0, False))
        polarity = rng.choice((POSITIVE, NEGATIVE))
        if self._happens(0.5):
            # Words that fit a thing of any kind: the sentence is not about the one reviewed.
            return self._sentence(self._fill(rng.choice(self.topic.asides), polarity, False, True))
        return self._sentence(self._fill(rng.choice(phrases.REPORTS), polarity, False))

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
    """ "a" or "an" by the letter that follows: no word here sounds other than it is written."""
    return ("an " if match[1].lower() in "aeiou" else "a ") + match[0][len("\x01 ") :]
