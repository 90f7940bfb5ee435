"""Declarations of the named sets: data sets of the literature, and one made here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from attnaudit.data.generated.latest import CLASSES as VERDICTS
from attnaudit.data.generated.latest import generate_latest_splits
from attnaudit.data.generated.lookup import ROOMS, generate_lookup_splits
from attnaudit.data.generated.polarity import generate_polarity_splits
from attnaudit.data.generated.reviews import CLASSES, generate_review_splits
from attnaudit.data.generated.shortcut_tasks import generate_bow_splits, generate_order_splits
from attnaudit.data.named.babi import LOCATIONS, babi_splits
from attnaudit.data.named.cloze import cloze_splits
from attnaudit.data.named.inference import RELATIONS, cad_splits, esnli_splits
from attnaudit.data.named.mimic import anemia_splits, diabetes_splits
from attnaudit.data.named.movies import movie_splits
from attnaudit.data.records import Dataset
from attnaudit.data.sources.folders import FolderReader, standard_splits


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name here: where it comes from and how it is read.

    Attributes:
        name: What names it as a source.
        title: What the set is, in words.
        paper: Where it was published.
        terms: The licence, or what its authors say on its use.
        classes: The names of the classes, in index order; none where the data say them.
        hub: Its name on the Hugging Face hub, or None where it is not there.
        obtain: How to get a copy of one's own, where the hub has none.
        keep: Which rows are used, in words.
        text_columns: Where the text is: the first of these that there is.
        label_columns: Where the label is: the first of these that there is.
        question_columns: Where the text is that is read beside the first; none for single texts.
        allowed_columns: Where the answers are that a question allows; none where all are allowed.
        truth_columns: Where the evidence is; none where it is unknown.
        id_columns: Where the id is: the first of these that there is, else row numbers.
        rename: From labels as they come to class names; rows of other labels are left out.
        tokenizer: A name in `TOKENIZERS`.
        cleaner: A name in `CLEANERS`, which then decides on the units; None for none.
        truth_in: What the evidence counts: a name in `TOKENIZERS`, or `characters`.
        read: Finds the splits in a folder.
        clean: Applied to each text before it is cut into units.
        make: Makes the splits of a set that needs no files.
        truth: Whether records say which of their units are evidence.
    """

    name: str
    title: str
    paper: str
    terms: str
    classes: tuple[str, ...]
    hub: str | None = None
    obtain: str = ""
    keep: str = "all rows"
    text_columns: tuple[str, ...] = ("text",)
    label_columns: tuple[str, ...] = ("label",)
    question_columns: tuple[str, ...] = ()
    allowed_columns: tuple[str, ...] = ()
    truth_columns: tuple[str, ...] = ()
    id_columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = "words"
    cleaner: str | None = None
    truth_in: str | None = None
    read: FolderReader = standard_splits
    clean: Callable[[str], str] | None = None
    make: Callable[[], dict[str, Dataset]] | None = None
    truth: bool = False

    @property
    def where(self) -> str:
        """Where it comes from, in words."""
        return self.hub or ("built in" if self.make else "your own copy")


def strip_line_breaks(text: str) -> str:
    """HTML line breaks as spaces, as many as they had characters, so that offsets still fit.

    Example:
        >>> strip_line_breaks("Bad.<br />Sad.")
        'Bad.      Sad.'
    """
    return text.replace("<br />", " " * len("<br />"))


_AG_NEWS = NamedSet(
    name="ag_news",
    title="AG News: topics of news articles, title and description",
    paper="Zhang, Zhao & LeCun 2015",
    terms="research and other non-commercial use",
    classes=("World", "Sports", "Business", "Sci/Tech"),
    hub="fancyzhx/ag_news",
    id_columns=("id",),
    rename={
        **{name: name for name in ("World", "Sports", "Business", "Sci/Tech")},
        "0": "World",
        "1": "Sports",
        "2": "Business",
        "3": "Sci/Tech",
    },
)

_REACTIONS = {
    **dict.fromkeys(("0", "no reaction", "nonADR", "noADR", "False"), "no reaction"),
    **dict.fromkeys(("1", "reaction", "ADR", "True"), "reaction"),
}

_SNLI = NamedSet(
    name="snli",
    title="Stanford Natural Language Inference: does the premise entail the hypothesis?",
    paper="Bowman et al. 2015",
    terms="CC BY-SA 4.0",
    classes=RELATIONS,
    hub="stanfordnlp/snli",
    keep="pairs on whose label annotators agree",
    text_columns=("premise", "sentence1"),
    question_columns=("hypothesis", "sentence2"),
    label_columns=("gold_label", "label"),
    rename={
        **{name: name for name in RELATIONS},
        # As the hub counts them.
        "0": "entailment",
        "1": "neutral",
        "2": "contradiction",
    },
)

_generated = functools.partial(
    NamedSet, paper="generated by attnaudit", terms="free, as attnaudit itself", truth=True
)
_SETS = (
    _generated(
        name="reviews",
        title="Generated reviews of films, books, hotels and more, with the evidence known",
        classes=CLASSES,
        make=functools.partial(generate_review_splits, seed=0),
    ),
    _generated(
        name="lookup",
        title="Generated: who keeps what in which room? Attention is needed",
        classes=ROOMS,
        make=generate_lookup_splits,
    ),
    _generated(
        name="lookup_single",
        title="Generated: the verdict on the latest version. Attention is needed",
        classes=VERDICTS,
        make=generate_latest_splits,
    ),
    _generated(
        name="polarity",
        title="Generated: many weak words of opinion, all alike. Attention is useless",
        classes=CLASSES,
        make=generate_polarity_splits,
    ),
    _generated(
        name="bow",
        title="Generated: most of five words of opinion. Honest weights suffice",
        classes=CLASSES,
        make=generate_bow_splits,
    ),
    _generated(
        name="order",
        title="Generated: which of two words of opinion comes first. Weights can tell",
        classes=CLASSES,
        make=generate_order_splits,
    ),
    NamedSet(
        name="sst",
        title="Stanford Sentiment Treebank: sentences of film reviews, negative or positive",
        paper="Socher et al. 2013",
        terms="no licence stated; in common research use",
        classes=("negative", "positive"),
        # The set of the same name in GLUE has phrases for training and a test split without labels.
        hub="SetFit/sst2",
        keep="sentences that are not neutral",
        label_columns=("label2", "label"),
        id_columns=("sent_id",),
        rename={"0": "negative", "1": "positive"},
        tokenizer="whitespace",
    ),
    NamedSet(
        name="imdb",
        title="Large Movie Review Dataset: long film reviews, negative or positive",
        paper="Maas et al. 2011",
        terms="offered for research; cite the paper",
        classes=("negative", "positive"),
        hub="stanfordnlp/imdb",
        rename={"0": "negative", "1": "positive", "neg": "negative", "pos": "positive"},
        clean=strip_line_breaks,
    ),
    _AG_NEWS,
    replace(
        _AG_NEWS,
        name="ag_news_binary",
        title="AG News: world or business",
        classes=("World", "Business"),
        keep="the topics World and Business",
        rename={"World": "World", "Business": "Business", "0": "World", "2": "Business"},
    ),
    NamedSet(
        name="newsgroups_sports",
        title="20 Newsgroups: posts on baseball or hockey, headers removed",
        paper="Lang 1995",
        terms="no licence stated; public posts in common research use",
        classes=("baseball", "hockey"),
        hub="SetFit/20_newsgroups",
        keep="rec.sport.baseball and rec.sport.hockey, posts with a body",
        label_columns=("newsgroup", "label_text"),
        id_columns=("id",),
        rename={"rec.sport.baseball": "baseball", "rec.sport.hockey": "hockey"},
    ),
    NamedSet(
        name="adr_tweets",
        title="Tweets on drugs: do they mention an adverse reaction?",
        paper="Sarker & Gonzalez 2015; Jain & Wallace 2019",
        terms="texts of tweets may not be passed on; fetch them by their ids",
        classes=("no reaction", "reaction"),
        obtain="tweets with labels, as CSV",
        text_columns=("tweet", "text", "tweets", "sentence", "tokens"),
        label_columns=("label", "adr", "class", "y", "target"),
        rename=_REACTIONS,
    ),
    NamedSet(
        name="diabetes",
        title="MIMIC-III discharge summaries: is diabetes among the diagnoses?",
        paper="Johnson et al. 2016; Jain & Wallace 2019",
        terms="PhysioNet credentialed health data licence",
        classes=("no diabetes", "diabetes"),
        obtain="NOTEEVENTS.csv and DIAGNOSES_ICD.csv of MIMIC-III",
        keep="one text per admission; those of the lists of admissions, where there are any",
        rename={name: name for name in ("no diabetes", "diabetes")},
        id_columns=("id",),
        cleaner="notes",
        read=diabetes_splits,
    ),
    NamedSet(
        name="anemia",
        title="MIMIC-III discharge summaries: acute or chronic anemia?",
        paper="Johnson et al. 2016; Jain & Wallace 2019",
        terms="PhysioNet credentialed health data licence",
        classes=("chronic", "acute"),
        obtain="NOTEEVENTS.csv and DIAGNOSES_ICD.csv of MIMIC-III",
        keep="admissions with exactly one of the two diagnoses",
        rename={name: name for name in ("chronic", "acute")},
        id_columns=("id",),
        cleaner="notes",
        read=anemia_splits,
    ),
    NamedSet(
        name="eraser_movies",
        title="ERASER movie reviews: long film reviews with the passages that people marked",
        paper="Zaidan & Eisner 2008; DeYoung et al. 2020",
        terms="no licence stated; in common research use",
        classes=("negative", "positive"),
        obtain="movies.tar.gz of ERASER",
        text_columns=("tokens",),
        truth_columns=("rationales",),
        id_columns=("id",),
        rename={"0": "negative", "1": "positive", "NEG": "negative", "POS": "positive"},
        tokenizer="whitespace",
        truth_in="whitespace",
        read=movie_splits,
        truth=True,
    ),
    *(
        NamedSet(
            name=f"babi_{task}{size}",
            title=f"bAbI task {task}: where somebody or something is, told in {facts}{note}",
            paper="Weston et al. 2016",
            terms="CC BY 3.0",
            classes=LOCATIONS,
            obtain="tasks_1-20_v1-2.tar.gz of bAbI",
            label_columns=("answer",),
            question_columns=("question",),
            truth_columns=("truth",),
            id_columns=("id",),
            rename={name: name for name in LOCATIONS},
            tokenizer="whitespace",
            truth_in="whitespace",
            read=functools.partial(babi_splits, task=task, large=bool(size)),
            truth=True,
        )
        for size, note in (("", ""), ("_10k", "; 10,000 questions to train on"))
        for task, facts in ((1, "one fact"), (2, "two facts"), (3, "three facts"))
    ),
    _SNLI,
    replace(
        _SNLI,
        name="esnli",
        title="e-SNLI: SNLI with the words of the premise that annotators marked",
        paper="Camburu et al. 2018",
        terms="MIT; texts of SNLI CC BY-SA 4.0",
        hub=None,
        obtain="esnli_train_1.csv, esnli_train_2.csv, esnli_dev.csv and esnli_test.csv",
        keep="all rows with a label; evidence where a word of the premise is marked",
        truth_columns=("truth",),
        truth_in="characters",
        read=esnli_splits,
        truth=True,
    ),
    replace(
        _SNLI,
        name="cad_snli",
        title="Counterfactually augmented SNLI: pairs, and minimal edits that change their label",
        paper="Kaushik, Hovy & Lipton 2020",
        terms="Apache-2.0; texts of SNLI CC BY-SA 4.0",
        hub=None,
        obtain="the folder NLI of counterfactually-augmented-data",
        keep="originals and revisions; ids say which is which",
        id_columns=("id",),
        read=cad_splits,
    ),
    NamedSet(
        name="cnn_qa",
        title="CNN cloze questions: which entity does the placeholder stand for?",
        paper="Hermann et al. 2015",
        terms="made by a public script from CNN articles, which are CNN's",
        classes=(),
        obtain="cnn.tgz of the DeepMind Q&A data set",
        text_columns=("text", "passage"),
        question_columns=("question",),
        allowed_columns=("allowed", "entities"),
        label_columns=("answer", "label"),
        tokenizer="whitespace",
        read=cloze_splits,
    ),
)
NAMED_SETS: dict[str, NamedSet] = {entry.name: entry for entry in _SETS}
