"""The data sets of the study: the paper's, and generated ones on which the answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from attnaudit.data.named.paper import PaperSettings
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.studies.jain2019.settings import SETTINGS as JAIN
from attnaudit.studies.jain2019.settings import training_of as jain_training_of


class Role(StrEnum):
    """What a data set is for."""

    PAPER = "paper"
    """One of the paper's."""
    STAND_IN = "stand-in"
    """Generated: stands in for the paper's where none of them can be had."""
    NECESSARY = "necessary"
    """Generated: nobody can do it without attention."""
    USELESS = "useless"
    """Generated: any weights will do."""


TASKS = frozenset({Role.NECESSARY, Role.USELESS})


@dataclass(frozen=True)
class Setting:
    """One data set of the study.

    Attributes:
        title: What the page calls it.
        role: What it is for.
        difference: How it differs from the paper's, word vectors apart.
        texts: Training and test texts, roughly; for the estimate of time.
        length: Units of a text, roughly.
        test_limit: Test texts where nobody says otherwise.
        training: How it is trained on, where the paper does not say.
        learning_rate: Likewise.
    """

    title: str
    role: Role
    difference: str = ""
    texts: tuple[int, int] = (3000, 1000)
    length: int = 30
    test_limit: int | None = None
    training: PaperSettings | None = None
    learning_rate: float = 1e-3


def _of_the_paper(name: str) -> Setting:
    """A set that both papers share, as the study jain2019 describes it."""
    own = JAIN[name]
    # what is said of SST there is about gradients, which this study does not look at
    difference = "" if name == "sst" else own.difference
    return Setting(own.title, Role.PAPER, difference, own.texts, own.length, own.test_limit)


_MADE = "made up here; the paper has no such set"
_TASK = PaperSettings("general", 1, hidden=64, embedding=100, epochs=12)

_SETTINGS = {
    **{
        name: _of_the_paper(name)
        for name in ("sst", "imdb", "newsgroups_sports", "ag_news_binary", "diabetes", "anemia")
    },
    "reviews": Setting(
        "Generated reviews",
        Role.STAND_IN,
        _MADE,
        training=PaperSettings("general", 1, hidden=32, embedding=50),
        learning_rate=5e-3,
    ),
    "lookup_single": Setting(
        "Generated: attention necessary", Role.NECESSARY, _MADE, length=58, training=_TASK
    ),
    "lookup": Setting(
        "Generated: attention necessary, with a question",
        Role.NECESSARY,
        _MADE,
        length=54,
        training=_TASK,
        learning_rate=3e-3,
    ),
    "polarity": Setting(
        "Generated: attention useless", Role.USELESS, _MADE, length=60, training=_TASK
    ),
}
SETTINGS = {name: setting for name, setting in _SETTINGS.items() if name in NAMED_SETS}
"""In the order of the page."""


def named(*roles: Role) -> tuple[str, ...]:
    """The sets of some roles."""
    return tuple(name for name, setting in SETTINGS.items() if setting.role in roles)


def training_of(name: str) -> PaperSettings:
    """How the paper trains on a set, or would."""
    return SETTINGS[name].training or jain_training_of(name)


def difference_of(name: str, spec: Mapping[str, object]) -> str:
    """How a cell's data and word vectors differ from the paper's, in words."""
    setting = SETTINGS[name]
    if setting.role is not Role.PAPER:
        return setting.difference
    there = f"{JAIN[name].vectors}'s there" if JAIN[name].vectors else "random ones there"
    here = "from a file" if spec.get("vectors") else "random at first"
    return "; ".join(filter(None, [f"word vectors {here}, {there}", setting.difference]))
