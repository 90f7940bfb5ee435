"""Running a transformer again from the layer of a cut, with its own code.

What lies below the cut is skipped: the cut layer is given the states that entered it. It runs on
the query row alone, with the values mixed by the new weights. What lies above runs on.

| mode | above the cut | exact where |
|---|---|---|
| `tail` | the query row, against the first pass's keys and values | no other row sees it (causal) |
| `rows` | all rows, of which the query row is new | always, for encoders |
| `plain` | the whole model, from its start | always |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attnaudit.models.transformer.registry import Inputs, mixed_by
from attnaudit.models.transformer.softmaxes import by_heads
from attnaudit.models.transformer.stack import LayerOutput, Stack, seen, stepped

Mode: TypeAlias = Literal["tail", "rows", "plain"]
Arguments: TypeAlias = Mapping[str, object]
POSITIONS = "position_embeddings"


@dataclass(frozen=True)
class Passed:
    """What a pass has left behind at the cut.

    Attributes:
        output: `(B, ...)`, what the head gave.
        weights: `(B, S, T)`, the query row of the heads.
        kept: What decoding needs, each with `B` rows.
    """

    output: Tensor
    weights: Float[Tensor, "B S T"]
    kept: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """A transformer cut at a call of attention.

    Attributes:
        model: The model.
        stack: Its layers and calls.
        call: The call of attention.
        heads: Which heads; weights are those of each.
        mode: How it is run again.
        small: Only the query row leaves the last layer, as the head reads no other.
        skipped: Calls of layers that are not made in a pass that is given the encoder's states.
    """

    model: nn.Module
    stack: Stack
    call: int
    heads: tuple[int, ...]
    mode: Mode = "rows"
    small: bool = False
    skipped: int = 0

    @property
    def step(self) -> int:
        """The call of a layer that the cut is in."""
        return self.stack.calls[self.call].step

    def encode(
        self, run: Callable[[Arguments], Tensor], arguments: Arguments, rows: Int[Tensor, " B"]
    ) -> Passed:
        """One pass, which keeps what decoding needs.

        Args:
            run: The model's forward pass, and what of its output is read.
            arguments: What it is given.
            rows: The query row of each instance.
        """
        reader = _Reader(self, rows)
        soft = self.stack.soft
        with (
            seen(self.model, reader, soft=soft),
            stepped(self.stack.layers, reader.step),
        ):
            output = run(arguments)
        given = {f"argument.{k}": v for k, v in arguments.items() if isinstance(v, Tensor)}
        kept = {**reader.kept, **given}
        assert reader.weights is not None
        return Passed(at_rows(output, rows), reader.weights, {**kept, "row": rows})

    def decode(
        self,
        run: Callable[[Arguments], Tensor],
        stub: Callable[[int, Tensor], Arguments],
        kept: Mapping[str, Tensor],
        weights: Float[Tensor, "B K S T"],
    ) -> Tensor:
        """The head's output for other rows of the heads: `(B, K, ...)`.

        Args:
            run: As in `encode`.
            stub: Arguments of a pass of one row per alternative, from their number and places.
            kept: As `encode` gave it.
            weights: `K` alternatives for each instance.
        """
        size, count = weights.shape[:2]
        rows = kept["row"].repeat_interleave(count)
        writer = _Writer(self, kept, weights, rows)
        tiny = self.mode == "tail" or (self.small and self.step == self.stack.steps - 1)
        if tiny and self.mode != "plain":
            arguments = stub(len(rows), rows)
        else:
            named = {n.removeprefix("argument."): v for n, v in kept.items() if "argument." in n}
            arguments = {name: v.repeat_interleave(count, 0) for name, v in named.items()}
            writer.whole = True
        soft = self.stack.soft
        with (
            seen(self.model, writer, soft=soft),
            stepped(self.stack.layers, writer.step),
        ):
            output = at_rows(run(arguments), rows)
        return output.view(size, count, -1)


def at_rows(output: Tensor, rows: Tensor) -> Tensor:
    """`(B, C)`: what the head gave for the whole, or for the query row."""
    if output.dim() == 2:
        return output
    return output[:, 0] if output.shape[1] == 1 else row_of(output, rows)[:, 0]


def state_of(output: LayerOutput) -> Tensor:
    """The states among what a layer returns."""
    states = output[0] if isinstance(output, tuple) else output
    assert states is not None
    return states


def with_state(output: LayerOutput, states: Tensor) -> LayerOutput:
    """What a layer returned, with other states."""
    return (states, *output[1:]) if isinstance(output, tuple) else states


def row_of(states: Float[Tensor, "B T E"], rows: Int[Tensor, " B"]) -> Float[Tensor, "B 1 E"]:
    """One row of each instance."""
    return states.gather(1, rows.view(-1, 1, 1).expand(-1, 1, states.shape[-1]))


class _Reader:
    """A watch and a step that keep what decoding needs."""

    def __init__(self, cut: Cut, rows: Tensor) -> None:
        self.cut, self.rows = cut, rows
        self.kept: dict[str, Tensor] = {}
        self.weights: Tensor | None = None

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs:
        return inputs

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        cut = self.cut
        if cut.stack.calls[call].step < cut.step:
            return mixed
        size = len(self.rows)
        if cut.stack.calls[call].step == cut.step:
            index = self.rows.view(-1, 1, 1, 1).expand(-1, 1, *mixed.shape[2:])
            self.kept[f"mixed.{call}"] = mixed.gather(1, index)
        if call == cut.call:
            index = self.rows.view(-1, 1, 1, 1).expand(-1, weights.shape[1], 1, weights.shape[3])
            row = weights.gather(2, index).squeeze(2)
            self.weights = row[:, list(cut.heads)]
            # a sliding window of keys is shorter than the text
            self.kept["value"] = inputs.value
        elif cut.mode == "tail" and cut.stack.calls[call].step > cut.step:
            self.kept[f"key.{call}"] = inputs.key
            self.kept[f"value.{call}"] = inputs.value
            if inputs.mask is not None:
                mask = inputs.mask.expand(size, *inputs.mask.shape[1:])
                index = self.rows.view(-1, 1, 1, 1).expand(-1, mask.shape[1], 1, mask.shape[3])
                self.kept[f"mask.{call}"] = mask.gather(2, index)
        return mixed

    def soften(self, call: int, module: nn.Module, weights: Tensor) -> Tensor:
        if call == self.cut.call:
            heads = by_heads(weights, len(self.rows))
            index = self.rows.view(-1, 1, 1, 1).expand(-1, heads.shape[1], 1, heads.shape[3])
            self.weights = heads.gather(2, index).squeeze(2)[:, list(self.cut.heads)]
        return weights

    def step(self, number: int, layer: Callable[..., LayerOutput], hidden: Tensor) -> LayerOutput:
        cut = self.cut
        if number == cut.step and cut.stack.soft:
            # values are not seen at a softmax: the states that they are made of stand for them
            self.kept["value"] = hidden.unsqueeze(1)
        if number == cut.step and cut.mode != "plain":
            self.kept["enter"] = hidden
        output = layer(hidden)
        if number == cut.step and cut.mode == "rows":
            self.kept["leave"] = state_of(output)
        if number == cut.stack.steps - 1 and cut.small:
            return with_state(output, row_of(state_of(output), self.rows))
        return output


class _Writer:
    """A watch and a step that put other weights at the cut."""

    def __init__(self, cut: Cut, kept: Mapping[str, Tensor], weights: Tensor, rows: Tensor) -> None:
        self.cut, self.kept, self.rows = cut, kept, rows
        self.count = weights.shape[1]
        self.weights = weights.flatten(0, 1)
        self.whole = False
        first = next(c.index for c in cut.stack.calls if c.step == cut.step)
        self.offset = 0 if cut.mode == "plain" else first

    def _spread(self, name: str) -> Tensor:
        return self.kept[name].repeat_interleave(self.count, 0)

    def _mixed(self) -> Tensor:
        """`(BK, 1, H, D)`, the values mixed by the new weights, and by the other heads' own."""
        cut, value = self.cut, self.kept["value"]
        own = self.kept[f"mixed.{cut.call}"]
        groups = own.shape[2] // value.shape[1]
        some = value[:, [head // groups for head in cut.heads]]
        weights = self.weights.view(len(some), self.count, *self.weights.shape[1:])
        new = torch.einsum("bkst,bstd->bksd", weights.to(some.dtype), some).flatten(0, 1)
        spread = own.repeat_interleave(self.count, 0)
        if cut.heads == tuple(range(own.shape[2])):
            return new.unsqueeze(1)
        index = torch.tensor(cut.heads, device=new.device)
        return spread.index_copy(2, index, new.unsqueeze(1).to(spread.dtype))

    def enter(self, call: int, module: nn.Module, inputs: Inputs) -> Inputs | Tensor:
        cut, call = self.cut, call + self.offset
        place = cut.stack.calls[call]
        if cut.mode == "plain":
            return inputs
        if place.step == cut.step:
            return self._mixed() if call == cut.call else self._spread(f"mixed.{call}")
        if cut.mode == "tail":
            mask = self._spread(f"mask.{call}") if f"mask.{call}" in self.kept else None
            key, value = self._spread(f"key.{call}"), self._spread(f"value.{call}")
            if not place.cross:
                key, value = (
                    old.scatter(2, self._at(old), new)
                    for old, new in ((key, inputs.key), (value, inputs.value))
                )
            return Inputs(inputs.query, key, value, mask)
        return inputs

    def _at(self, states: Tensor) -> Tensor:
        """Where the new row stands among `(BK, H, T, D)`."""
        return self.rows.view(-1, 1, 1, 1).expand(-1, states.shape[1], 1, states.shape[3])

    def leave(
        self, call: int, module: nn.Module, inputs: Inputs, mixed: Tensor, weights: Tensor
    ) -> Tensor:
        cut = self.cut
        if cut.mode != "plain" or call != cut.call:
            return mixed
        groups = mixed.shape[2] // inputs.value.shape[1]
        some = inputs.value[:, [head // groups for head in cut.heads]]
        new = mixed_by(self.weights.unsqueeze(2), some)
        index = self.rows.view(-1, 1, 1, 1).expand(-1, 1, len(cut.heads), mixed.shape[3])
        part = mixed[:, :, list(cut.heads)].scatter(1, index, new.to(mixed.dtype))
        return mixed.index_copy(2, torch.tensor(cut.heads, device=mixed.device), part)

    def soften(self, call: int, module: nn.Module, weights: Tensor) -> Tensor:
        if call != self.cut.call:
            return weights
        heads = by_heads(weights, len(self.rows))
        some = list(self.cut.heads)
        index = self.rows.view(-1, 1, 1, 1).expand(-1, len(some), 1, heads.shape[3])
        part = heads[:, some].scatter(2, index, self.weights.unsqueeze(2).to(heads.dtype))
        place = torch.tensor(some, device=heads.device)
        return heads.index_copy(1, place, part).view_as(weights)

    def step(self, number: int, layer: Callable[..., LayerOutput], hidden: Tensor) -> LayerOutput:
        cut = self.cut
        if cut.mode == "plain":
            return self._ended(number, layer(hidden))
        number += cut.skipped if not self.whole else 0
        if number < cut.step:
            # below the cut nothing is computed; what is computed there is not looked at
            return cut.stack.packed(number, hidden)
        if number > cut.step:
            return self._ended(number, layer(hidden))
        entered = row_of(self.kept["enter"], self.kept["row"]).repeat_interleave(self.count, 0)
        output = layer(entered, self._sliced)
        if cut.mode == "tail" or not self.whole:
            return output
        if number == cut.stack.steps - 1 and cut.small:
            return output
        states = self._spread("leave")
        index = self.rows.view(-1, 1, 1).expand(-1, 1, states.shape[-1])
        return with_state(output, states.scatter(1, index, state_of(output).to(states.dtype)))

    def _ended(self, number: int, output: LayerOutput) -> LayerOutput:
        """Only the query row of the last layer, where the head reads no other."""
        states = state_of(output)
        if number == self.cut.stack.steps - 1 and self.cut.small and states.shape[1] > 1:
            return with_state(output, row_of(states, self.rows))
        return output

    def _sliced(self, name: str | None, value: object) -> object:
        """Arguments of the cut layer for its one row: what has one entry per position."""
        if not self.whole:
            return value
        if name == POSITIONS and isinstance(value, tuple):
            return tuple(self._at_row(part) for part in value)
        return value

    def _at_row(self, part: Tensor) -> Tensor:
        if part.dim() < 3:
            return part[self.rows].unsqueeze(1)
        part = part.expand(len(self.rows), *part.shape[1:])
        return row_of(part, self.rows)
