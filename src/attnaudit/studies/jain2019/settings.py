"""The data sets of the study: what they are in the paper, and how those here differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attnaudit.data.named.paper import PAPER_SETTINGS, PaperSettings


@dataclass(frozen=True)
class Setting:
    """One data set of the study.

    Attributes:
        title: What the page calls it.
        kind: `classification`, `answers` (a question attends over facts) or `inference`.
        reference: Its name among the paper's numbers; empty where the paper has no such set.
        vectors: Whose word vectors the paper starts from; empty where they are random.
        difference: How the data here differ from the paper's, word vectors apart.
        sentiment: Whether it is a sentiment task, of which the paper says the most.
        texts: Training and test texts, roughly; for the estimate of time.
        length: Units of a text, roughly.
        test_limit: Test texts where nobody says otherwise, as many as the paper has.
    """

    title: str
    kind: str
    reference: str = ""
    vectors: str = ""
    difference: str = ""
    texts: tuple[int, int] = (1000, 500)
    length: int = 20
    test_limit: int | None = None
    sentiment: bool = False

    @property
    def generated(self) -> bool:
        """Whether it is made here, and only stands in for the paper's sets."""
        return not self.reference


_FEWER = "1,000 training questions here, 10,000 there"
_FAST, _MIMIC = "fastText", "word2vec on the notes"

SETTINGS: dict[str, Setting] = {
    "sst": Setting(
        "SST",
        "classification",
        "sst",
        _FAST,
        "the authors' own code, with random vectors, gives .21, .27 and .32 where the paper has "
        ".35, .29 and .66: attention with gradient, attention with leave-one-out, gradient with "
        "leave-one-out",
        (6356, 1726),
        19,
        sentiment=True,
    ),
    "imdb": Setting(
        "IMDB",
        "classification",
        "imdb",
        _FAST,
        "other draws of train and test",
        (18000, 4356),
        185,
        test_limit=4356,
        sentiment=True,
    ),
    "adr_tweets": Setting(
        "ADR tweets", "classification", "adr_tweets", _FAST, "", (14000, 4100), 20
    ),
    "newsgroups_sports": Setting(
        "20 Newsgroups",
        "classification",
        "newsgroups_sports",
        _FAST,
        "split by date here, at random there",
        (950, 730),
        115,
    ),
    "ag_news_binary": Setting(
        "AG News",
        "classification",
        "ag_news",
        _FAST,
        "titles and descriptions here, descriptions alone there; fewer training articles where "
        "your copy has fewer",
        (6200, 3800),
        40,
    ),
    "babi_1": Setting("bAbI 1 (1k)", "answers", "babi_1", "", _FEWER, (850, 1000), 38),
    "babi_2": Setting("bAbI 2 (1k)", "answers", "babi_2", "", _FEWER, (850, 1000), 100),
    "babi_3": Setting("bAbI 3 (1k)", "answers", "babi_3", "", _FEWER, (850, 1000), 300),
    "babi_1_10k": Setting("bAbI 1", "answers", "babi_1", "", "", (8500, 1000), 38),
    "babi_2_10k": Setting("bAbI 2", "answers", "babi_2", "", "", (8500, 1000), 100),
    "babi_3_10k": Setting("bAbI 3", "answers", "babi_3", "", "", (8500, 1000), 300),
    "snli": Setting("SNLI", "inference", "snli", "GloVe", "", (549000, 9824), 14),
    "cad_snli": Setting(
        "SNLI, small",
        "inference",
        "snli",
        "GloVe",
        "8,330 pairs of SNLI and their counterfactual revisions here, 550,000 pairs there",
        (8330, 2000),
        14,
    ),
    "cnn_qa": Setting("CNN", "answers", "cnn_qa", _FAST, "", (380000, 3200), 760),
    "diabetes": Setting(
        "Diabetes",
        "classification",
        "diabetes",
        _MIMIC,
        "patients are cut into splits at random here, by the authors' lists there",
        (7700, 1600),
        1850,
    ),
    "anemia": Setting(
        "Anemia",
        "classification",
        "anemia",
        _MIMIC,
        "admissions with one of the two codes, cut by patient here, by admission there",
        (4300, 1260),
        2200,
    ),
    "reviews": Setting(
        "generated reviews",
        "classification",
        difference="made up here, with known evidence; the paper has no such set",
        texts=(1200, 400),
        length=45,
        sentiment=True,
    ),
}
"""In the order of the page."""

SMALL = ("babi_1", "babi_2", "babi_3")
"""Run only where they are named: the paper has the large ones."""
REAL = tuple(n for n, setting in SETTINGS.items() if not setting.generated and n not in SMALL)
GENERATED = tuple(name for name, setting in SETTINGS.items() if setting.generated)


def training_of(name: str) -> PaperSettings:
    """How the paper trains on a set, or would."""
    if name == "cad_snli":
        return replace(PAPER_SETTINGS["snli"], min_df=1)  # far fewer pairs
    return PAPER_SETTINGS.get(name, PaperSettings("general", 1))


def difference_of(name: str, spec: Mapping[str, object]) -> str:
    """How a cell's data and word vectors differ from the paper's, in words."""
    own, parts = SETTINGS[name], []
    if own.vectors and not spec.get("vectors"):
        parts.append(f"word vectors start at random here, at {own.vectors}'s there")
    elif spec.get("vectors"):
        there = f"{own.vectors}'s" if own.vectors else "random ones"
        parts.append(f"word vectors from a file here, {there} there")
    if own.reference.startswith("babi"):
        parts.append("the answers are the six places here, all words of the tasks there")
    return "; ".join([*parts, *([own.difference] if own.difference else [])])
