"""Which models a similarity explanation is for: one vector per text, and a product of two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from attnaudit.errors import NotApplicable

OTHERS = {
    "CrossEncoder": "a cross-encoder, which reads both texts at once and embeds neither",
    "SparseEncoder": "a sparse encoder (SPLADE), whose embeddings are weights of words",
    "MultiVectorEncoder": "a late-interaction model (ColBERT), which has one vector per token",
    "ColBERT": "a late-interaction model (ColBERT), which has one vector per token",
}
"""Models of sentence-transformers and its kin, by class, that are not explained."""
MODULES = {
    "MLMTransformer": "SparseEncoder",
    "SpladePooling": "SparseEncoder",
    "SparseAutoEncoder": "SparseEncoder",
    "CSRSparsity": "SparseEncoder",
    "SparseStaticEmbedding": "SparseEncoder",
    "IDF": "SparseEncoder",
    "MultiVectorMask": "MultiVectorEncoder",
    "TokenPooling": "MultiVectorEncoder",
}
"""Modules that only such models have."""
PACKAGES = {
    "sparse_encoder": "SparseEncoder",
    "cross_encoder": "CrossEncoder",
    "multi_vector_encoder": "MultiVectorEncoder",
    "pylate": "ColBERT",
}
HEADS = {
    "ForMaskedLM": "SparseEncoder",
    "ForSequenceClassification": "CrossEncoder",
    "HF_ColBERT": "ColBERT",
}
"""Ends of the names of transformers with a head of such models."""
USE = "give a SentenceTransformer, whose score is the cosine or dot product of two embeddings"


def check_object(model: object) -> None:
    """Refuse a loaded model of another type.

    Raises:
        NotApplicable: It is a cross-encoder, a sparse encoder or a late-interaction model.
    """
    names = [cls.__name__ for cls in type(model).__mro__]
    found = next((name for name in names if name in OTHERS), None)
    if found is None and isinstance(model, nn.Module):
        inner = [type(module).__name__ for module in model.modules()]
        found = next((MODULES[name] for name in inner if name in MODULES), None)
        found = found or next(filter(None, map(_head, inner)), None)
    if found is not None:
        raise NotApplicable(f"the model is {OTHERS[found]}; {USE}")


def check_saved(root: Path, model_type: object, modules: Sequence[str]) -> None:
    """Refuse a saved model of another type, before anything of it is loaded.

    sentence-transformers turns such a model into one that pools the mean, without a word.

    Args:
        root: Its folder, for messages.
        model_type: That of `config_sentence_transformers.json`; None where it names none.
        modules: The full names of the classes that `modules.json` lists.

    Raises:
        NotApplicable: It is a cross-encoder, a sparse encoder, a late-interaction model or one of
            an unknown type.
    """
    if model_type not in (None, "SentenceTransformer"):
        what = OTHERS.get(str(model_type), f"a model of the type {str(model_type)[:40]!r}")
        raise NotApplicable(f"{root} holds {what}; {USE}")
    for full in modules:
        found = MODULES.get(full.rpartition(".")[2]) or next(
            (PACKAGES[part] for part in full.split(".") if part in PACKAGES), None
        )
        if found is not None:
            raise NotApplicable(f"{root} holds {OTHERS[found]}; {USE}")


def _head(name: str) -> str | None:
    return next((kind for end, kind in HEADS.items() if re.search(f"{end}$", name)), None)
