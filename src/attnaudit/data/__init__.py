"""Records, their sources and generators with known truth."""

from attnaudit.data.generated.reviews import generate_review_splits, generate_reviews
from attnaudit.data.named.paper import PAPER_SETTINGS, PIPELINES, PaperSettings
from attnaudit.data.named.sets import NAMED_SETS, NamedSet
from attnaudit.data.reading import Reading, parse_columns
from attnaudit.data.records import Dataset, Text, TextPair
from attnaudit.data.sources.resolve import Source, load_data, resolve
from attnaudit.data.splits import split_dataset
from attnaudit.data.texts.tokens import TOKENIZERS, pair_record, text_record

__all__ = [
    "NAMED_SETS",
    "PAPER_SETTINGS",
    "PIPELINES",
    "TOKENIZERS",
    "Dataset",
    "NamedSet",
    "PaperSettings",
    "Reading",
    "Source",
    "Text",
    "TextPair",
    "generate_review_splits",
    "generate_reviews",
    "load_data",
    "pair_record",
    "parse_columns",
    "resolve",
    "split_dataset",
    "text_record",
]
