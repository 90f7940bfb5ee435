"""The exact model: an encoder whose embedding of the reference input is zero.

Möller et al. (2023), section 2.3: with `e(r) = 0` the three terms of a reference vanish, and the
plain matrix of token pairs sums to the score. The shift changes the model, so it is fine-tuned
(`finetune`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from attnaudit.errors import MissingExtra, ModelError, NotApplicable, SettingsError
from attnaudit.models.batches import groups
from attnaudit.models.siamese.layers import Stamp, stamp_of
from attnaudit.models.siamese.modules import OURS, modules_of
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.nets.checkpoint import refuse_changed
from attnaudit.nets.pretrained.words import WordPieces
from attnaudit.nets.weights_files import json_object

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.util import import_from_string
except ImportError as error:
    raise MissingExtra("sentence-transformers", "siamese", "The exact model") from error

CACHED_TOKENS = 2**16
"""How many reference states are kept, those of the texts at hand apart."""


class ShiftedTransformer(Transformer):
    """A transformer whose token embeddings are those of the text minus those of the reference.

    The reference of a text of T tokens has T tokens: the tokenizer's special tokens before and
    after a text, and the padding token, which is attended to, in place of all others. The authors'
    code has one reference of the padded length a batch; here each text is shifted by the reference
    of its own length, so that its embedding does not depend on the texts beside it.

    In training mode the references of a batch are encoded along with it, with gradients. In
    evaluation mode their states are constants, encoded once a length and kept until weights change
    or move; `prepare` does that beforehand, so that a later pass runs the texts alone and may have
    its hidden states replaced. (Weights that are changed through `.data` are not noticed: call
    `train()` or `forget()`.) Prompts count as text.
    """

    _kept: dict[int, Tensor]
    _stamp: Stamp

    def reference_ids(self, length: int) -> Int[Tensor, " t"]:
        """The reference input of a text of so many tokens.

        Raises:
            ModelError: The tokenizer has no padding token.
        """
        return self._rows([length])[length]

    def _rows(self, lengths: Iterable[int]) -> dict[int, Int[Tensor, " t"]]:
        tokenizer = cast(Any, self.tokenizer)
        if tokenizer.pad_token_id is None:
            raise ModelError(
                "the tokenizer has no padding token, which the reference input is made of; set "
                "one, such as tokenizer.pad_token = tokenizer.eos_token"
            )
        words = WordPieces(tokenizer, type(tokenizer).__name__)
        device = next(self.auto_model.parameters()).device
        rows = {}
        for length in lengths:
            inner = [tokenizer.pad_token_id] * (length - len(words.prefix) - len(words.suffix))
            ids = [*words.prefix, *inner, *words.suffix][:length]
            rows[length] = torch.tensor(ids, device=device)
        return rows

    def prepare(self, lengths: Iterable[int]) -> None:
        """Encode the references of texts of so many tokens, where they are not kept already.

        After it, in evaluation mode, `forward` runs no reference of these lengths.
        """
        wanted = sorted(set(lengths))
        stamp = stamp_of(self)
        if self.__dict__.get("_stamp") != stamp:
            self.forget()
            self._stamp = stamp
        missing = [length for length in wanted if length not in self._kept]
        if missing:
            # encode() may run in inference mode, whose tensors are of no use to derivatives
            with torch.inference_mode(False), torch.no_grad():
                found = self._references(missing)
            self._kept |= {length: states.clone() for length, states in found.items()}
        for length in [old for old in self._kept if old not in wanted]:
            if sum(self._kept) <= CACHED_TOKENS:
                break
            del self._kept[length]

    def forget(self) -> None:
        """Drop the states of references that are kept."""
        self._kept, self._stamp = {}, ()

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token embeddings `(B, T, H)` of a batch, shifted on real tokens."""
        mask = features["attention_mask"]
        width = mask.shape[1]
        lengths = [int(length) for length in mask.sum(1).tolist()]
        places = list(zip(lengths, mask.long().argmax(1).tolist(), strict=True))
        # the mode of the transformer decides, as the library leaves its own modules in training
        if self.auto_model.training:
            states = self._references(sorted(set(lengths)))
        else:
            self.prepare(lengths)
            states = self._kept
        ids = self._rows(set(lengths))
        # one row for each length and place, as a batch may hold many copies of one text
        kinds = sorted(set(places))
        rows = torch.tensor([kinds.index(place) for place in places], device=mask.device)
        sides = [(start, width - start - length) for length, start in kinds]
        shift = torch.stack(
            [pad(states[n], (0, 0, *side)) for (n, _), side in zip(kinds, sides, strict=True)]
        )
        reference = torch.stack(
            [pad(ids[n], side, value=-1) for (n, _), side in zip(kinds, sides, strict=True)]
        )
        if len(kinds) > 1:
            shift, reference = shift[rows], reference[rows]
        # exactly zero on the reference itself: a rounding error would be made a unit vector by a
        # Normalize, and an empty text is the reference of its length
        same = ((features["input_ids"] == reference) | (mask == 0)).all(1)
        encoded = super().forward(features, **kwargs)
        shifted = encoded["token_embeddings"] - shift
        encoded["token_embeddings"] = shifted.masked_fill(same[:, None, None], 0.0)
        return encoded

    def _references(self, lengths: Sequence[int]) -> dict[int, Float[Tensor, "t h"]]:
        """States of the references of ascending lengths, a few padded batches of them."""
        states: dict[int, Tensor] = {}
        ids, filler = self._rows(lengths), cast(Any, self.tokenizer).pad_token_id
        for part in groups(lengths):
            chosen, width = lengths[part], lengths[part][-1]
            # what is padded on the right changes neither an encoder nor a decoder
            features = {
                "input_ids": [pad(ids[n], (0, width - n), value=filler) for n in chosen],
                "attention_mask": [pad(torch.ones_like(ids[n]), (0, width - n)) for n in chosen],
            }
            batch = {name: torch.stack(rows) for name, rows in features.items()}
            hidden = super().forward(batch)["token_embeddings"]
            states |= {n: hidden[row, :n] for row, n in enumerate(chosen)}
        return states

    def train(self, mode: bool = True) -> ShiftedTransformer:
        """Set the mode; weights that change in training make kept states worthless."""
        if mode:
            self.forget()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.forget()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]


def shifted(model: SentenceTransformer, kind: ScoreKind = "cosine") -> SentenceTransformer:
    """A copy of a model whose embedding of every reference input is exactly zero.

    Args:
        model: A sentence-transformers model that starts with a transformer. It is not changed.
        kind: The score that the copy is for. `dot` leaves out a last `Normalize`, under which a dot
            product would be a cosine.

    Raises:
        NotApplicable: The model does not start with a transformer that gives token embeddings.
        ModelError: No padding token, or a head that does not map zero to zero, such as a `Dense`
            with a bias.
    """
    first = model[0] if len(model) else None
    if not isinstance(first, Transformer):
        raise NotApplicable(
            f"a model that starts with {type(first).__name__} has no token embeddings that could "
            "be shifted; give a sentence-transformers model that starts with a Transformer"
        )
    made = copy.deepcopy(model)
    # all that a module is lies in its dictionary, whatever version of the library made it
    module = ShiftedTransformer.__new__(ShiftedTransformer)
    module.__dict__ = made[0].__dict__
    if hasattr(module, "unpad_inputs"):
        module.unpad_inputs = False
    module.forget()
    made[0] = module
    if kind == "dot" and len(made) > 1 and type(made[-1]).__name__ == "Normalize":
        del made[-1]
    made.similarity_fn_name = kind
    made.eval()
    _check_zero(made, module)
    return made


def load_shifted(folder: str | Path, device: str | None = None) -> SentenceTransformer:
    """A model that `finetune` saved, as an ordinary `SentenceTransformer`.

    sentence-transformers loads classes of other packages only on
    `SentenceTransformer(folder, trust_remote_code=True)`, which trusts whatever the folder names.
    This function runs no code of the folder: see `modules_of`; the first module must be ours.

    Args:
        folder: Where it was saved.
        device: Where to put it.

    Raises:
        ModelError: The folder holds no such model.
    """
    root = Path(folder)
    listed = modules_of(root)
    if listed[0].type != OURS:
        raise ModelError(
            f"{root} holds no model of the class {OURS}; load it with SentenceTransformer, and "
            "make it exact with `attnaudit train --kind siamese`"
        )
    modules = []
    for entry in listed:
        kind: Any = ShiftedTransformer if entry.type == OURS else import_from_string(entry.type)
        try:
            modules.append(kind.load(str(entry.folder), local_files_only=True))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise ModelError(f"{entry.folder}: the module cannot be read ({error})") from error
    refuse_changed(root)
    settings: Any = json_object(root / "config_sentence_transformers.json")
    names = ("prompts", "default_prompt_name", "similarity_fn_name")
    given = {name: settings[name] for name in names if settings.get(name)}
    model = SentenceTransformer(modules=modules, device=device, **given)
    return model.eval()


def is_shifted(folder: str | Path) -> bool:
    """Whether a folder holds a model for `load_shifted`."""
    try:
        return modules_of(Path(folder))[0].type == OURS
    except (ModelError, NotApplicable):
        return False


def _check_zero(model: SentenceTransformer, module: ShiftedTransformer) -> None:
    """Refuse heads that give the reference an embedding of its own."""
    for length in (4, 9):
        ids = module.reference_ids(length)[None]
        features: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        with torch.no_grad():
            for part in model:
                features = part(features)
                embedding = features.get("sentence_embedding")
                if embedding is not None and bool((embedding != 0).any()):
                    raise ModelError(
                        f"the module {type(part).__name__} does not map zero to zero, so the "
                        "reference would have an embedding after all; give a model without it, or "
                        "with a Dense that has no bias"
                    )
        if embedding is None:
            raise SettingsError("the model gives no sentence embedding; add a Pooling module")
