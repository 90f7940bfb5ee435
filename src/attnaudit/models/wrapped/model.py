"""Any module that pools by attention, cut in a few lines."""

from __future__ import annotations

import copy
import hashlib
import operator
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attnaudit.data.records import Text
from attnaudit.errors import AttnauditError, ModelError, NotApplicable, first_line
from attnaudit.models.cut import Batch, LinearDecode, Model, States
from attnaudit.models.encoded import check_shape
from attnaudit.models.self_check import (
    Outputs,
    check_passes,
    check_states,
    kind_of_outputs,
    probes,
)

CHECKED = 6
"""Texts of the first batch on which the functions are tried."""
LONGEST = 200
"""Units of each of them."""

Tokenize = Callable[[Sequence[str]], Sequence[int]]


def module_fingerprint(module: nn.Module, *more: str) -> str:
    """A SHA-256 over the names and values of all parameters and buffers, and `more`."""
    digest = hashlib.sha256("\x1f".join(more).encode())
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def refuse_broken(module: nn.Module, name: str) -> None:
    """Refuse parameters that are NaN or infinite.

    Raises:
        ModelError: Naming the first such tensor.
    """
    for key, value in module.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise ModelError(
                f"{name}: {bad} of {value.numel()} values of the parameter {key!r} are NaN or "
                "infinite. Load an intact checkpoint."
            )


class WrappedModel(Model):
    """A user's module behind the cut; made by `wrap`.

    A deep copy has parameters of its own: the user's functions, which hold on to the module that
    they were written for, run on that module with the parameters of the copy in their places.

    Whatever is done with a model begins with `collate`, so that its first batch is the place where
    the user's functions are tried, once; see `self_check`.

    Attributes:
        gives: What `decode` was found to give: `logits` or `log-probabilities`; None before the
            first batch.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: Sequence[str],
        tokenize: Tokenize,
        encode: Callable[[Tensor, Tensor], Tensor],
        attend: Callable[[Tensor, Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        embed: Callable[[Tensor], Tensor] | None,
        linear_head: nn.Linear | None,
        whole: Callable[[Tensor, Tensor], Tensor] | None,
        pad_value: int,
        mask_value: int | None,
        name: str | None,
    ) -> None:
        self.module = self._written_for = module.eval()
        self.classes = tuple(classes)
        self.name = name or type(module).__name__
        self.pad_value = pad_value
        self.mask_value = mask_value
        self._tokenize, self._embed = tokenize, embed
        self._encode, self._attend, self._decode = encode, attend, decode
        self._head, self._whole = linear_head, whole
        self.gives: Outputs | None = None
        # what the user has frozen stays as it is where others train a copy
        self.trainable = frozenset(
            f"module.{name}" for name, value in module.named_parameters() if value.requires_grad
        )
        refuse_broken(module, self.name)

    def __deepcopy__(self, memo: dict[int, object]) -> WrappedModel:
        copied = copy.copy(self)
        copied.module = copy.deepcopy(self.module, memo)
        copied._head = copy.deepcopy(self._head, memo)
        return copied

    def _run(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """One of the user's functions, on the parameters of this model."""
        if self.module is self._written_for:
            return function(*arguments)
        pairs = list(zip(self._written_for.modules(), self.module.modules(), strict=True))
        modes = [module.training for module, _ in pairs]
        own = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        values = {f"module.{name}": value for name, value in own.items()}
        try:
            for module, mine in pairs:
                module.training = mine.training
            result: Tensor = torch.func.functional_call(
                _Borrowed(self._written_for), values, (function, *arguments)
            )
        finally:
            for (module, _), mode in zip(pairs, modes, strict=True):
                module.training = mode
        return result

    @property
    def device(self) -> torch.device:
        """Where the module's parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def collate(self, records: Sequence[Text]) -> Batch:
        """Token ids of the records' units, padded on the right.

        Raises:
            ModelError: `tokenize` does not give one id per unit; or, with the first batch, one of
                the functions does not keep to what `wrap` asks for.
        """
        rows = []
        for record in records:
            row = self._ids(record)
            if len(row) != len(record.units):
                raise ModelError(
                    f"{self.name}: tokenize gave {len(row)} ids for the {len(record.units)} units "
                    f"of {record.id!r}. It must give exactly one id per unit."
                )
            rows.append(row)
        batch = self._batch(tuple(record.id for record in records), rows)
        if self.gives is None and (found := batch.units.any(1).nonzero().squeeze(1).tolist()):
            # the shortest to the longest of them
            found.sort(key=lambda row: len(rows[row]))
            some = found[:: max(1, -(-len(found) // CHECKED))]
            ids = tuple(batch.ids[row] for row in some)
            self._check(self._batch(ids, [rows[row][:LONGEST] for row in some]))
        return batch

    def _ids(self, record: Text) -> list[int]:
        try:
            return [operator.index(number) for number in self._tokenize(record.units)]
        except TypeError as error:
            raise ModelError(
                f"{self.name}: tokenize gave something else than whole numbers for {record.id!r} "
                f"({error}). It must give exactly one id per unit."
            ) from error

    def _batch(self, ids: tuple[str, ...], rows: Sequence[Sequence[int]]) -> Batch:
        length = max((len(row) for row in rows), default=1) or 1
        inputs = torch.full((len(rows), length), int(self.pad_value), dtype=torch.long)
        units = torch.zeros(len(rows), length, dtype=torch.bool)
        for index, row in enumerate(rows):
            inputs[index, : len(row)] = torch.tensor(row, dtype=torch.long)
            units[index, : len(row)] = True
        return Batch(ids, inputs, units, units).to(self.device)

    @torch.no_grad()
    def _check(self, batch: Batch) -> None:
        """Try the user's functions on a few texts.

        Raises:
            ModelError: One of them fails, or does not keep to what `wrap` asks for.
        """
        try:
            check_passes(self, batch)
            states = self.encode(batch)
            asked = probes(states, self.attend(states))
            self.gives = kind_of_outputs(self._logits(asked), self.name)
        except (AttnauditError, torch.OutOfMemoryError):
            raise
        # whatever the user's own code raises
        except Exception as error:
            reason = first_line(error)
            raise ModelError(
                f"{self.name}: encode, attend or decode fails on the first texts "
                f"({', '.join(map(repr, batch.ids))}): {type(error).__name__}: {reason[:200]}. "
                "Try the three on a batch of ids by hand"
            ) from error

    def encode(self, batch: Batch) -> States:
        """The user's encoder, from ids, or from embeddings where those were given."""
        inputs = batch.inputs if self._embed is None else self.embed(batch)
        hidden = _floats(self._run(self._encode, inputs, batch.present), "encode", self.name)
        states = States(hidden, batch.units)
        check_states(states, batch, self.name)
        return states

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The user's weights, with instances that have no unit set to 0."""
        weights = self._run(self._attend, states.hidden, states.units)
        weights = _floats(weights, "attend", self.name).to(states.hidden.dtype)
        check_shape(weights, states.units, self.name)
        return torch.where(states.units.any(1, keepdim=True), weights, torch.zeros_like(weights))

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """Log-probabilities of the user's head on the weighted sum of the states."""
        pooled = torch.einsum("b...t,bth->b...h", weights, states.hidden)
        return _log_probabilities(self._logits(pooled), len(self.classes), self.name)

    def _logits(self, pooled: Tensor) -> Tensor:
        """What the user's head gives, in the precision of what it reads."""
        logits = _floats(self._run(self._decode, pooled), "decode", self.name)
        if logits.dim() != pooled.dim() or logits.shape[:-1] != pooled.shape[:-1]:
            raise ModelError(
                f"{self.name}: decode gave a tensor of shape {tuple(logits.shape)} for vectors of "
                f"shape {tuple(pooled.shape)}. Return one row of outputs per vector, (..., "
                f"{len(self.classes)}), or (..., 1) for one logit; keep the last axis."
            )
        return logits.to(pooled.dtype)

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """What the module gives when it is called as a whole."""
        if self._whole is None:
            raise NotApplicable(
                f"{self.name} was wrapped without `whole`, so there is nothing to compare its cut "
                "with. Pass whole=, a function of ids and `present` that calls the module"
            )
        outputs = _floats(self._run(self._whole, batch.inputs, batch.present), "whole", self.name)
        return _log_probabilities(outputs, len(self.classes), self.name)

    def linear(self, states: States) -> LinearDecode | None:
        """Where the head is one linear layer, its product with every state."""
        if self._head is None:
            return None
        scores = states.hidden @ self._head.weight.T
        bias: Tensor = scores.new_zeros(scores.shape[-1])
        if self._head.bias is not None:
            bias = bias + self._head.bias
        if scores.shape[-1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], -1)
            bias = torch.cat([torch.zeros_like(bias), bias])
        return LinearDecode(scores, bias)

    def embed(self, batch: Batch) -> Float[Tensor, "B L E"]:
        """The user's embeddings of the token ids."""
        if self._embed is None:
            raise NotApplicable(
                f"{self.name} was wrapped without `embed`, so gradients cannot be taken. "
                "Pass embed= (ids to vectors) and let encode= take those vectors."
            )
        return self._run(self._embed, batch.inputs)

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """The user's encoder from given embeddings."""
        return States(self._run(self._encode, embedded, batch.present), batch.units)

    def fingerprint(self) -> str:
        """A hash of the parameters and the class names."""
        return module_fingerprint(self.module, self.name, *self.classes)


class _Borrowed(nn.Module):
    """A module as a place in which functions run."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        return function(*arguments)


def wrap(
    module: nn.Module,
    *,
    classes: Sequence[str],
    tokenize: Tokenize,
    encode: Callable[[Tensor, Tensor], Tensor],
    attend: Callable[[Tensor, Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    embed: Callable[[Tensor], Tensor] | None = None,
    linear_head: nn.Linear | None = None,
    whole: Callable[[Tensor, Tensor], Tensor] | None = None,
    pad_value: int = 0,
    mask_value: int | None = None,
    name: str | None = None,
) -> WrappedModel:
    """Cut your own module at its attention, so that every check runs on it.

    Args:
        module: The module; it is put into evaluation mode.
        classes: Names of the outputs. One logit means two classes: `("no", "yes")`.
        tokenize: Units (strings) of one text to as many token ids.
        encode: `(inputs, present)` to states `(B, T, H)`. `inputs` are what `embed` returns, or
            the ids `(B, T)` where `embed` is not given; `present (B, T)` is False on padding.
        attend: `(hidden, units)` to weights `(B, T)`, 0 where `units` is False, sums of 1.
        decode: Weighted sums `(..., H)` to logits or log-probabilities `(..., C)`, or one logit
            `(..., 1)`, of which the sigmoid is the second class. Probabilities are refused.
        embed: Ids `(B, T)` to vectors `(B, T, E)`. Gradient methods need it.
        linear_head: The layer, where `decode` is that one linear layer and nothing else: then
            candidates cost O(T) and the adversary of a two-class model is exact.
        whole: `(ids, present)` to the outputs of the module as it is, in one call: what
            `verify` compares the cut with.
        pad_value: The id of padding.
        mask_value: The id of an unknown or masked token, for erasure by masking.
        name: What reports call the model.

    Returns:
        A model that `attnaudit.audit` takes. The functions are tried on its first batch: two
        passes agree, a text alone gets what it gets in a batch, padding changes nothing, and
        outputs are no probabilities; a ModelError names what fails.

    Raises:
        ModelError: The module has NaN parameters.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> table, scorer, head = nn.Embedding(10, 4), nn.Linear(4, 1), nn.Linear(4, 2)
        >>> model = wrap(
        ...     nn.ModuleList([table, scorer, head]), classes=("neg", "pos"),
        ...     tokenize=lambda units: [len(unit) % 10 for unit in units],
        ...     embed=table, encode=lambda vectors, present: vectors,
        ...     attend=lambda h, units: torch.softmax(
        ...         scorer(h).squeeze(-1).masked_fill(~units, -1e9), -1) * units,
        ...     decode=head, linear_head=head)
        >>> model.name, model.classes
        ('ModuleList', ('neg', 'pos'))
    """
    return WrappedModel(
        module,
        classes=classes,
        tokenize=tokenize,
        encode=encode,
        attend=attend,
        decode=decode,
        embed=embed,
        linear_head=linear_head,
        whole=whole,
        pad_value=pad_value,
        mask_value=mask_value,
        name=name,
    )


def _floats(found: object, function: str, name: str) -> Tensor:
    """What one of the user's functions gave, where it is a tensor of real numbers.

    Raises:
        ModelError: It is something else.
    """
    if isinstance(found, Tensor) and found.is_floating_point():
        return found
    what = found.dtype if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise ModelError(
        f"{name}: {function} gave {what}. Return one tensor of floating-point numbers."
    )


def _log_probabilities(logits: Tensor, classes: int, name: str) -> Tensor:
    if logits.shape[-1] == 1 and classes == 2:
        return torch.nn.functional.logsigmoid(torch.cat([-logits, logits], -1))
    if logits.shape[-1] != classes:
        raise ModelError(
            f"{name}: decode gave {logits.shape[-1]} logits, but {classes} classes were named."
        )
    return torch.log_softmax(logits, -1)
