"""The text pipeline and the settings of "Attention is not Explanation" (Jain & Wallace 2019)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperSettings:
    """How the paper reads one data set, and trains on it.

    Attributes:
        cleaner: A name in `CLEANERS`.
        min_df: In how many training records a word must occur to be known (`TrainOptions.min_df`).
        min_length: The fewest units a record may have, or None. The paper states strict bounds
            (T > 5); here both ends are included (6).
        max_length: The most units, or None.
        hidden: Hidden size, per direction for the LSTM.
        embedding: Size of the word vectors.
        epochs: Passes over the training split.
        batch: Batch size.
    """

    cleaner: str
    min_df: int
    min_length: int | None = None
    max_length: int | None = None
    hidden: int = 128
    embedding: int = 300
    epochs: int = 8
    batch: int = 32


_BABI = PaperSettings("as_shipped", 1, hidden=32, embedding=50, epochs=100, batch=50)

PAPER_SETTINGS: dict[str, PaperSettings] = {
    "sst": PaperSettings("sst", 1, min_length=6),
    "imdb": PaperSettings("keras", 10, min_length=7, max_length=399),
    "adr_tweets": PaperSettings("as_shipped", 2, min_length=6, max_length=99),
    "newsgroups_sports": PaperSettings("newsgroups", 2, min_length=7, max_length=499),
    "ag_news_binary": PaperSettings("general", 5),
    "diabetes": PaperSettings("notes", 5, min_length=7, max_length=3999),
    "anemia": PaperSettings("notes", 5, max_length=3999),
    "snli": PaperSettings("general", 3, epochs=25, batch=128),
    "cnn_qa": PaperSettings("as_shipped", 8, epochs=25, batch=90),
    **{f"babi_{task}{size}": _BABI for task in (1, 2, 3) for size in ("", "_10k")},
}
"""The paper's data sets, by the names they have here."""

PIPELINES = {"jain2019": PAPER_SETTINGS}
"""Text pipelines by name, each with the settings of the sets that it knows."""
