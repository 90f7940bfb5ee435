"""Records, their sources and generators with known truth."""

from attnaudit.data.generated.reviews import generate_review_splits, generate_reviews
from attnaudit.data.named.named import NAMED_SETS, NamedSet, load_named
from attnaudit.data.named.paper import PAPER_SETTINGS, PIPELINES, PaperSettings
from attnaudit.data.records import Dataset, Text, TextPair
from attnaudit.data.sources.resolve import load_data
from attnaudit.data.splits import load_splits, split_dataset
from attnaudit.data.texts.tokens import TOKENIZERS, pair_record, text_record

__all__ = [
    "NAMED_SETS",
    "PAPER_SETTINGS",
    "PIPELINES",
    "TOKENIZERS",
    "Dataset",
    "NamedSet",
    "PaperSettings",
    "Text",
    "TextPair",
    "generate_review_splits",
    "generate_reviews",
    "load_data",
    "load_named",
    "load_splits",
    "pair_record",
    "split_dataset",
    "text_record",
]
