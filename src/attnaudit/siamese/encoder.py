"""A sentence-transformers model, cut at the states that enter one of its layers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnaudit.errors import DataError, ModelError, NotApplicable, SettingsError
from attnaudit.siamese.layers import (
    differentiable,
    entering,
    layers_of,
    replaced,
    skipped,
    still,
    width_of,
    words_replaced,
)
from attnaudit.siamese.references import Reference
from attnaudit.siamese.table import ScoreKind
from attnaudit.siamese.tokens import Tokens

Tail = Callable[[Float[Tensor, "n t h"]], Float[Tensor, "n d"]]
REPLAY, COARSE = 1e-4, 0.05
"""How far, of its length, an embedding from the cut states may lie from that of the whole model, in
single precision and in half."""


class CutTextWarning(UserWarning):
    """A text is longer than the model reads; the message says what was cut."""


class PrecisionWarning(UserWarning):
    """The weights are in half precision, in which tables hardly add up."""


class SiameseEncoder:
    """One encoder of both texts: tokens, the states at a layer, and the embedding made of them.

    The embedding is that before a last `Normalize`: of a cosine score the lengths are constants of
    the pair (Möller et al. 2023, section 2).

    Args:
        model: A `SentenceTransformer` whose first module is a transformer. It is not changed.
        layer: The layer whose input is attributed to: 0 for the embeddings of tokens and
            positions, k for the output of the k-th layer.
        kind: `cosine` or `dot`; the model's own by default. Of a model that ends in `Normalize`
            both are the cosine.
        prompt: Put before every text, as the model was trained with; it gets no attribution. By
            default the model's own default prompt, if it has one.

    Raises:
        NotApplicable: A model that is no transformer with separate layers, or a score that is
            neither cosine nor dot.
        ModelError: Weights that are not finite.
        SettingsError: No such layer or kind.
    """

    def __init__(
        self, model: Any, layer: int = 0, kind: ScoreKind | None = None, prompt: str | None = None
    ) -> None:
        self.model = model
        self.transformer = _transformer(model)
        self.stack = layers_of(self.transformer)
        if not isinstance(layer, int) or not 0 <= layer < len(self.stack):
            raise SettingsError(
                f"layer must be from 0 to {len(self.stack) - 1} for this model, got {layer}"
            )
        if kind not in (None, "cosine", "dot"):
            raise SettingsError(f"kind must be cosine or dot, got {kind!r}")
        self.layer = layer
        self.prompt = _default_prompt(model) if prompt is None else prompt
        self.heads = _heads(model)
        unit = len(self.heads) < len(list(model))
        self.kind: ScoreKind = "cosine" if unit else kind or _kind(model)
        self.size: int | None = getattr(model, "truncate_dim", None)
        if unit and self.size is not None and kind == "dot":
            raise NotApplicable(
                "the dot product of embeddings that are cut off after they were made unit vectors "
                "is no cosine; set truncate_dim to None, or explain the cosine"
            )
        self.tokenizer = model[0].tokenizer
        if not getattr(self.tokenizer, "is_fast", False):
            raise NotApplicable(
                f"{type(self.tokenizer).__name__} does not say where its tokens stand in the text; "
                "give a model with a fast tokenizer (tokenizer.json)"
            )
        _check_finite(self.transformer)
        if next(self.transformer.parameters()).dtype in (torch.float16, torch.bfloat16):
            warnings.warn(
                "the weights are in half precision, in which tables hardly add up: load the model "
                "in float32 for exact ones",
                PrecisionWarning,
                stacklevel=3,
            )
        self._width: int | None = None
        self._skips: bool | None = None
        self._fingerprint: str | None = None

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.stack)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.transformer.parameters()).device

    @property
    def fingerprint(self) -> str:
        """A digest of all weights and settings that an embedding depends on."""
        if self._fingerprint is None:
            config: Any = self.transformer.config
            digest = hashlib.sha256(config.to_json_string().encode())
            for module in self.model:
                settings: Any = getattr(module, "get_config_dict", dict)()
                digest.update(f"{type(module).__name__} {settings!r}".encode())
            digest.update(self.tokenizer.backend_tokenizer.to_str().encode())
            for name, value in sorted(self.model.state_dict().items()):
                raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(memoryview(raw.numpy()))
            more = (self.prompt, self.model.max_seq_length, self.kind, self.size)
            digest.update(repr(more).encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    # --- text

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The texts as the model reads them, cut at its limit with a warning that says where.

        Raises:
            DataError: A text that is no string, or empty.
        """
        return [self._tokens(place, text) for place, text in enumerate(texts)]

    def _tokens(self, place: int, text: str) -> Tokens:
        if not isinstance(text, str):
            raise DataError(f"text {place} must be a string, got {type(text).__name__}")
        if not text.strip():
            raise DataError(f"text {place} is empty: no token of it can explain a score")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"text {place} holds a character that is none ({text[error.start]!a}, half of a "
                "pair); read the text again with the right encoding"
            ) from error
        whole = self.prompt + text
        read = self.tokenizer(
            whole, truncation=True, max_length=self.model.max_seq_length,
            return_offsets_mapping=True, return_special_tokens_mask=True,
        )  # fmt: skip
        ids, shift = read["input_ids"], len(self.prompt)
        self._check_ids(whole, ids)
        spans = [
            (max(start - shift, 0), max(end - shift, 0)) for start, end in read["offset_mapping"]
        ]
        special = [
            bool(flag) or end <= start
            for flag, (start, end) in zip(read["special_tokens_mask"], spans, strict=True)
        ]
        if all(special):
            raise DataError(
                f"text {place} ({text[:40]!r}) has no token that the model reads, beside those "
                "that it adds to every text"
            )
        offsets = [(0, 0) if flag else span for flag, span in zip(special, spans, strict=True)]
        last = max(end for _, end in offsets)
        cut = ""
        if self.model.max_seq_length is not None and len(ids) >= self.model.max_seq_length:
            cut = text[last:].strip()
        if cut:
            warnings.warn(
                f"the text {text[:40]!r}… is longer than the {self.model.max_seq_length} tokens "
                f"that the model reads; {len(cut)} characters at its end, from {cut[:40]!r} on, "
                "have no part in the score",
                CutTextWarning,
                stacklevel=4,
            )
        pieces = tuple(self.tokenizer.convert_ids_to_tokens(ids))
        return Tokens(text, tuple(ids), pieces, tuple(offsets), tuple(special), cut)

    def _check_ids(self, whole: str, ids: list[int]) -> None:
        """What is attributed to must be what the model reads."""
        features = _preprocessed(self.model, whole)
        own = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
        if own != ids:
            raise NotApplicable(
                f"the model reads {whole[:40]!r} as other tokens than its tokenizer gives (it "
                "changes texts before it reads them), so no token can be shown in the text"
            )

    # --- passes

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within it, `states`, `tail` and `embeddings` may be called and differentiated."""
        with still(self.model), differentiable(self.transformer):
            yield

    def embeddings(self, tokens: Sequence[Tokens]) -> Float[Tensor, "b d"]:
        """The model's own embeddings, with its own attention kernel, before a last `Normalize`.

        Args:
            tokens: Texts of one length in tokens.
        """
        with still(self.model):
            return self._embed(self._features(_ids(tokens, self.device)))

    def states(
        self, tokens: Sequence[Tokens], reference: Reference | None = None
    ) -> tuple[Float[Tensor, "b t h"], Float[Tensor, "b d"]]:
        """The states that enter the layer, and the embeddings; of the texts or their reference.

        Args:
            tokens: Texts of one length in tokens.
            reference: What stands in for each token that is not special; None for the texts.
        """
        ids = _ids(tokens, self.device)
        kept = torch.tensor([t.special for t in tokens], device=self.device)
        if reference is not None and reference.token is not None:
            ids = torch.where(kept, ids, reference.token)
        with entering(self.stack[self.layer]) as seen:
            if reference is not None and reference.vector is not None:
                with words_replaced(self.transformer, kept, reference.vector.to(self.device)):
                    embedded = self._embed(self._features(ids))
            else:
                embedded = self._embed(self._features(ids))
        # a module may run its own passes before that of the texts, as the shifted one does
        return seen[-1], embedded

    def tail(self, tokens: Sequence[Tokens], rows: Tensor) -> Tail:
        """The function from states at the layer to embeddings, for copies of the texts.

        Args:
            tokens: Texts of one length in tokens.
            rows: N numbers of texts: the n-th states belong to text `rows[n]`.

        Returns:
            A function from `(N, T, H)` to `(N, D)`, to be called within `ready`.
        """
        if self._skips is None:
            self._skips = self._may_skip(tokens[:1])
        features = self._features(_ids(tokens, self.device)[rows])
        return lambda states: self._replayed(features, states, skip=bool(self._skips))

    def _replayed(self, features: dict[str, Any], states: Tensor, *, skip: bool) -> Tensor:
        count = self.layer if skip else 0
        with (
            skipped(self.stack, count, self._width or 0),
            replaced(self.stack[self.layer], states),
        ):
            return self._embed(features)

    def _may_skip(self, tokens: Sequence[Tokens]) -> bool:
        """Whether layers below the cut can be left out; some hand on more than states.

        Raises:
            NotApplicable: Not even the whole model gives its embedding from the states at the cut.
        """
        one = self._features(_ids(tokens, self.device))
        states, wanted = self.states(tokens)
        self._width = width_of(self.stack[0], lambda: self._embed(one))
        bar = REPLAY if wanted.dtype in (torch.float32, torch.float64) else COARSE
        for skip in (True, False):
            try:
                found = self._replayed(one, states, skip=skip)
            # layers that want what a skipped one did not give them fail in many ways
            except (TypeError, ValueError, AttributeError, RuntimeError, IndexError):
                continue
            if float((found - wanted).norm()) <= bar * float(wanted.norm()):
                return skip
        raise NotApplicable(
            f"the embedding does not follow from the states that enter layer {self.layer} of this "
            "model; start from another layer, such as 0"
        )

    def _features(self, ids: Tensor) -> dict[str, Any]:
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.prompt and not all(getattr(m, "include_prompt", True) for m in self.heads):
            features["prompt_length"] = self._prompt_length()
        return features

    def _prompt_length(self) -> int:
        """How many tokens at the beginning a pooling without the prompt leaves out."""
        special = self._tokens(0, "a").special
        return special.index(False)

    def _embed(self, features: dict[str, Any]) -> Tensor:
        done = dict(features)
        for module in self.heads:
            done = module(done)
        return cast(Tensor, done["sentence_embedding"])[..., : self.size]


def _ids(tokens: Sequence[Tokens], device: torch.device) -> Tensor:
    return torch.tensor([t.ids for t in tokens], device=device)


def _preprocessed(model: Any, text: str) -> dict[str, Tensor]:
    read = model.preprocess if hasattr(model, "preprocess") else model.tokenize
    return cast("dict[str, Tensor]", read([text]))


def _transformer(model: Any) -> nn.Module:
    first = model[0] if isinstance(model, nn.Sequential) and len(model) else None
    transformer = getattr(first, "auto_model", None)
    if transformer is None or not hasattr(transformer, "get_input_embeddings"):
        raise NotApplicable(
            f"{type(model).__name__} is no sentence-transformers model that starts with a "
            "transformer; give such a model, its folder or its name on the hub"
        )
    return cast(nn.Module, transformer)


def _heads(model: Any) -> list[nn.Module]:
    """The modules, without a Normalize at the end."""
    modules = list(model)
    while len(modules) > 1 and type(modules[-1]).__name__ == "Normalize":
        modules.pop()
    return modules


def _default_prompt(model: Any) -> str:
    name = getattr(model, "default_prompt_name", None)
    return str(model.prompts[name]) if name else ""


def _kind(model: Any) -> ScoreKind:
    name = str(getattr(model, "similarity_fn_name", None) or "cosine")
    if name not in ("cosine", "dot"):
        raise NotApplicable(
            f"the model compares by {name!r}, which is no product of embeddings; say kind='cosine' "
            "or kind='dot' to explain that score instead"
        )
    return cast(ScoreKind, name)


def _check_finite(transformer: nn.Module) -> None:
    for name, value in transformer.named_parameters():
        if not bool(value.isfinite().all()):
            raise ModelError(
                f"the weights {name!r} hold NaN or infinity; load an intact copy of the model"
            )
