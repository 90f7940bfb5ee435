"""A sentence-transformers model, cut at the states that enter one of its layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp, vmap

from attnaudit.errors import NotApplicable, SettingsError, first_line
from attnaudit.models.siamese.fingerprint import fingerprint_of
from attnaudit.models.siamese.layers import (
    Stamp,
    differentiable,
    entering,
    layers_of,
    replaced,
    skipped,
    stamp_of,
    still,
    width_of,
    words_replaced,
)
from attnaudit.models.siamese.reader import TextReader
from attnaudit.models.siamese.references import Reference
from attnaudit.models.siamese.structure import (
    check_weights,
    is_normalize,
    layer_of,
    own_kind,
    sides_read,
    transformer_of,
    without_normalize,
)
from attnaudit.models.siamese.supported import check_object
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.models.siamese.tokens import Role, Tokens
from attnaudit.nets.positions import positions_of

Tail = Callable[[Float[Tensor, "n t h"]], Float[Tensor, "n d"]]
REPLAY, COARSE = 1e-4, 0.05
"""How far, of its length, an embedding from the cut states may lie from that of the whole model, in
single precision and in half."""


class PrecisionWarning(UserWarning):
    """The weights are in half precision, in which tables hardly add up."""


class SiameseEncoder:
    """One encoder of both texts: tokens, the states at a layer, and the embedding made of them.

    Where the model reads queries and documents in different ways, by a prompt or a `Router` each,
    the first text of a pair is the query and the second the document.

    The embedding is that before a last `Normalize`: of a cosine score the lengths are constants of
    the pair (Möller et al. 2023, section 2).

    Args:
        model: A `SentenceTransformer` whose first module is a transformer. It is not changed.
        layer: The layer whose input is attributed to: 0 for the embeddings of tokens and
            positions, k for the output of the k-th layer.
        kind: `cosine` or `dot`; the model's own by default. Of a model that ends in `Normalize`
            both are the cosine.
        prompt: Put before every text, as the model was trained with; it gets no attribution. By
            default the model's own prompts for queries and documents, or its default prompt.
        source: The folder or hub name that the model was read from, by which other processes read
            it too.

    Raises:
        NotApplicable: A model that is no transformer with separate layers, or a score that is
            neither cosine nor dot; a cross-encoder, sparse encoder or late-interaction model;
            quantized layers, which have no derivative.
        ModelError: Weights that are not finite.
        SettingsError: No such layer or kind.
    """

    def __init__(
        self,
        model: Any,
        layer: int = 0,
        kind: ScoreKind | None = None,
        prompt: str | None = None,
        source: str | None = None,
    ) -> None:
        check_object(model)
        self.model, self.source = model, source
        self.named_kind, self.named_prompt = kind, prompt
        self.sides = sides_read(model, prompt)
        self.transformer = transformer_of(model, self.sides)
        self.stack = layers_of(self.transformer)
        self.layer = layer_of(layer, len(self.stack))
        if kind not in (None, "cosine", "dot"):
            raise SettingsError(f"kind must be cosine or dot, got {kind!r}")
        wanted = kind or own_kind(model)
        unit = all(is_normalize(side.modules[-1]) for side in self.sides.values())
        self.parts: dict[Role, list[nn.Module]] = {
            role: without_normalize(side.modules) if unit else list(side.modules)
            for role, side in self.sides.items()
        }
        self.kind: ScoreKind = "cosine" if unit else wanted
        self.size: int | None = getattr(model, "truncate_dim", None)
        if unit and self.size is not None and wanted == "dot":
            raise NotApplicable(
                "the dot product of embeddings that are cut off after they were made unit vectors "
                "is no cosine; set truncate_dim to None, or explain the cosine"
            )
        self.tokenizer: Any = next(iter(self.parts.values()))[0].tokenizer
        if not getattr(self.tokenizer, "is_fast", False):
            raise NotApplicable(
                f"{type(self.tokenizer).__name__} does not say where its tokens stand in the text; "
                "give a model with a fast tokenizer (tokenizer.json)"
            )
        check_weights(model)
        if self.dtype in (torch.float16, torch.bfloat16):
            warnings.warn(
                "the weights are in half precision, in which tables hardly add up: load the model "
                "in float32 for exact ones",
                PrecisionWarning,
                stacklevel=3,
            )
        self.reader = TextReader(
            model, self.tokenizer, self.sides, positions_of(self.transformer, self.stack)
        )
        self._width: int | None = None
        self._skips: bool | None = None
        self._fingerprint: tuple[Stamp, str] | None = None

    @property
    def roles(self) -> tuple[Role, Role]:
        """How the first and the second text of a pair are read."""
        return ("text", "text") if "text" in self.sides else ("query", "document")

    def again(self, model: Any = None, layer: int | None = None) -> SiameseEncoder:
        """The same encoder of another model or from another layer."""
        return SiameseEncoder(
            self.model if model is None else model,
            self.layer if layer is None else layer,
            self.named_kind,
            self.named_prompt,
        )

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.stack)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.transformer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.transformer.parameters()).dtype

    @property
    def limit(self) -> int | None:
        """How many tokens of a text the model reads; None for all of them."""
        return self.reader.limit

    @property
    def stamp(self) -> Stamp:
        """What differs after weights were changed in place, moved or replaced; costs nothing.

        Changes through `.data` are not in it.
        """
        return (*stamp_of(self.model), (self.limit or 0, self.size or 0))

    @property
    def fingerprint(self) -> str:
        """A digest of all weights and settings that an embedding depends on."""
        stamp = self.stamp
        if self._fingerprint is None or self._fingerprint[0] != stamp:
            prompts = sorted((role, side.prompt) for role, side in self.sides.items())
            more = (prompts, self.model.max_seq_length, self.kind, self.size)
            found = fingerprint_of(self.model, self.transformer, self.tokenizer, more)
            self._fingerprint = stamp, found
        return self._fingerprint[1]

    def forget(self) -> None:
        """Take the fingerprint anew: weights may have changed in ways that leave no trace."""
        self._fingerprint = None

    # --- text

    def tokens(self, texts: Sequence[str], role: Role | None = None) -> list[Tokens]:
        """The texts as the model reads them, cut at its limit with a warning that says where.

        Args:
            texts: Any texts.
            role: As what they are read; by default as the first text of a pair.

        Raises:
            DataError: A text that is no string, or empty.
            ModelError: A text with more tokens than the model has positions.
        """
        chosen = self.roles[0] if role is None else role
        return [self.reader.read(place, text, chosen) for place, text in enumerate(texts)]

    # --- passes

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within it, `states`, `tail` and `embeddings` may be called and differentiated."""
        with still(self.model), differentiable(self.transformer):
            yield

    def embeddings(self, tokens: Sequence[Tokens]) -> Float[Tensor, "b d"]:
        """The model's own embeddings, with its own attention kernel, before a last `Normalize`.

        Args:
            tokens: Texts of one length in tokens, read as one role.
        """
        with still(self.model):
            return self._run(tokens[0].role, _ids(tokens, self.device))

    def states(
        self, tokens: Sequence[Tokens], reference: Reference | None = None
    ) -> tuple[Float[Tensor, "b t h"], Float[Tensor, "b d"]]:
        """The states that enter the layer, and the embeddings; of the texts or their reference.

        Args:
            tokens: Texts of one length in tokens, read as one role.
            reference: What stands in for each token that is not special; None for the texts.

        Raises:
            NotApplicable: The layer does not get one state per token.
        """
        role = tokens[0].role
        ids = _ids(tokens, self.device)
        kept = torch.tensor([t.special for t in tokens], device=self.device)
        if reference is not None and reference.token is not None:
            ids = torch.where(kept, ids, reference.token)
        with entering(self.stack[self.layer]) as seen:
            if reference is not None and reference.vector is not None:
                with words_replaced(self.transformer, kept, reference.vector.to(self.device)):
                    embedded = self._run(role, ids)
            else:
                embedded = self._run(role, ids)
        # a module may run its own passes before that of the texts, as the shifted one does
        states = seen[-1] if seen else None
        if not isinstance(states, Tensor) or states.shape[:2] != ids.shape:
            found = tuple(states.shape) if isinstance(states, Tensor) else "none at all"
            raise NotApplicable(
                f"layer {self.layer} of {type(self.transformer).__name__} gets states of the shape "
                f"{found} for {ids.shape[1]} tokens, not one state per token, so no token has a "
                "part of its own; explain a model such as BERT, RoBERTa or Llama"
            )
        return states, embedded

    def tail(self, tokens: Sequence[Tokens], rows: Tensor) -> Tail:
        """The function from states at the layer to embeddings, for copies of the texts.

        Args:
            tokens: Texts of one length in tokens, read as one role.
            rows: N numbers of texts: the n-th states belong to text `rows[n]`.

        Returns:
            A function from `(N, T, H)` to `(N, D)`, to be called within `ready`.
        """
        if self._skips is None:
            self._skips = self._may_skip(tokens[:1])
            self._check_derivative(tokens[:1])
        role, ids = tokens[0].role, _ids(tokens, self.device)[rows]
        return lambda states: self._replayed(role, ids, states, skip=bool(self._skips))

    def _replayed(self, role: Role, ids: Tensor, states: Tensor, *, skip: bool) -> Tensor:
        count = self.layer if skip else 0
        with (
            skipped(self.stack, count, self._width or 0),
            replaced(self.stack[self.layer], states),
        ):
            return self._run(role, ids)

    def _may_skip(self, tokens: Sequence[Tokens]) -> bool:
        """Whether layers below the cut can be left out; some hand on more than states.

        Raises:
            NotApplicable: Not even the whole model gives its embedding from the states at the cut.
        """
        role, ids = tokens[0].role, _ids(tokens, self.device)
        states, wanted = self.states(tokens)
        self._width = width_of(self.stack[0], lambda: self._run(role, ids))
        bar = REPLAY if wanted.dtype in (torch.float32, torch.float64) else COARSE
        for skip in (True, False):
            try:
                found = self._replayed(role, ids, states, skip=skip)
            # layers that want what a skipped one did not give them fail in many ways
            except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, StopIteration):
                continue
            if float((found - wanted).norm()) <= bar * float(wanted.norm()):
                return skip
        raise NotApplicable(
            f"the embedding does not follow from the states that enter layer {self.layer} of this "
            "model; start from another layer, such as 0"
        )

    def _check_derivative(self, tokens: Sequence[Tokens]) -> None:
        """One derivative, as those that a table is made of."""
        role, ids = tokens[0].role, _ids(tokens, self.device)
        states, _ = self.states(tokens)

        def along(step: Tensor) -> Tensor:
            run = lambda x: self._replayed(role, ids, x, skip=bool(self._skips))  # noqa: E731
            moved: Tensor = jvp(run, (states,), (step,))[1]
            return moved

        try:
            vmap(along)(states[None])
        except torch.OutOfMemoryError:
            raise
        # torch says in many ways that a layer has none
        except (RuntimeError, NotImplementedError, TypeError) as error:
            reason = first_line(error)
            raise NotApplicable(
                f"{type(self.transformer).__name__} has a layer without a forward derivative "
                f"({reason[:100]}), which a table is made of; explain a model such as BERT, "
                "RoBERTa or Llama"
            ) from error

    def _features(self, role: Role, ids: Tensor) -> dict[str, Any]:
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        prompt = self.sides[role].prompt
        if prompt and not all(getattr(m, "include_prompt", True) for m in self.parts[role]):
            features["prompt_length"] = self._prompt_length(prompt)
        return features

    def _prompt_length(self, prompt: str) -> int:
        """How many tokens at the beginning a pooling without the prompt leaves out.

        As the library counts: of the prompt alone, but for a special token at its end.
        """
        ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - int(ids[-1] in self.tokenizer.all_special_ids)

    def _run(self, role: Role, ids: Tensor) -> Tensor:
        done = self._features(role, ids)
        for module in self.parts[role]:
            done = module(done)
        return cast(Tensor, done["sentence_embedding"])[..., : self.size]


def _ids(tokens: Sequence[Tokens], device: torch.device) -> Tensor:
    return torch.tensor([t.ids for t in tokens], device=device)
