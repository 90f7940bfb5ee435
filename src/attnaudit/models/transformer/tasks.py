"""What a model of each head is given, and what of its output is read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from attnaudit.errors import ModelError

Kind: TypeAlias = Literal["sequence", "token", "masked", "causal", "translation", "image"]
HEADS: Mapping[str, Kind] = {
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForMaskedLM": "masked",
    "ForPreTraining": "masked",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForConditionalGeneration": "translation",
    "MTModel": "translation",
    "ForImageClassification": "image",
}
"""Endings of class names, and what such a model does."""
AUTO: Mapping[Kind, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "translation": "AutoModelForSeq2SeqLM",
    "image": "AutoModelForImageClassification",
}


@dataclass(frozen=True)
class Task:
    """What a model does, and how it is asked.

    Attributes:
        kind: The task.
        causal: No position sees those behind it.
        accepts: Names of the arguments that the model's forward pass takes.
    """

    kind: Kind
    causal: bool
    accepts: frozenset[str]


def kind_of_head(name: str, *, crossing: bool = False) -> Kind:
    """What a class of the library does, by its name.

    Raises:
        ModelError: It has no head that is known.

    Example:
        >>> kind_of_head("BertForSequenceClassification")
        'sequence'
    """
    for ending, kind in HEADS.items():
        if name.endswith(ending):
            return "translation" if crossing and kind != "sequence" else kind
    raise ModelError(
        f"{name} has no head whose output could be explained; a model for sequence or token "
        "classification, masked or causal language modelling, translation or image classification "
        "is needed"
    )


def task_of(model: PreTrainedModel) -> Task:
    """The task of a model at hand.

    Raises:
        ModelError: It has no head that is known.
    """
    config = model.config
    kind = kind_of_head(type(model).__name__, crossing=bool(config.is_encoder_decoder))
    accepts = frozenset(inspect.signature(model.forward).parameters)
    if kind in ("causal", "translation"):
        causal = True
    else:
        causal = kind == "sequence" and "score" in dict(model.named_children())
    return Task(kind, causal, accepts)


def logits_of(model: PreTrainedModel, task: Task, arguments: Mapping[str, object]) -> Tensor:
    """`(B, C)` of a whole, or `(B, T, C)` of every position.

    A classifier on a causal model finds its last position by ids, which it is not given here, so
    the scores of every position are read.
    """
    options: dict[str, object] = {"return_dict": True}
    if task.kind in ("causal", "translation") or task.causal:
        options["use_cache"] = False
    if not (task.causal and task.kind == "sequence"):
        logits: Tensor = model(**arguments, **options).logits
        return logits
    scores: list[Tensor] = []
    handle = model.get_submodule("score").register_forward_hook(
        lambda module, inputs, out: scores.append(out)
    )
    try:
        model(**arguments, **options)
    finally:
        handle.remove()
    return scores[0]


def stub_of(
    task: Task, width: int, dtype: torch.dtype, device: torch.device, count: int, places: Tensor
) -> dict[str, object]:
    """Arguments of a pass of one row for each of `count` alternatives.

    The states that enter the cut are put in place of what is given here.
    """
    empty = torch.zeros(count, 1, width, dtype=dtype, device=device)
    if task.kind == "translation":
        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=empty),
            "decoder_inputs_embeds": empty,
        }
    found: dict[str, object] = {"inputs_embeds": empty}
    if task.causal and "position_ids" in task.accepts:
        found["position_ids"] = places.unsqueeze(1)
    return found


def start_of(model: PreTrainedModel) -> int:
    """The token with which a decoder begins."""
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id", "eos_token_id")
    places = (model.config, getattr(model, "generation_config", None))
    values = (getattr(place, name, None) for name in names for place in places)
    return next((int(value) for value in values if isinstance(value, int)), 0)
