"""Encoders: embedded tokens in, one hidden state a position out.

Every encoder reads the positions marked `present` as if no others were there, wherever they
stand: padding on the right, or a position taken out of the middle, leaves no trace in the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attnaudit.errors import SettingsError
from attnaudit.nets.text.orthogonal import orthogonal_states

KERNELS = (1, 3, 5, 7)
"""Window widths of the convolutional encoder."""


def compaction(present: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"] | None:
    """The order that brings present positions to the front; None where they are there already.

    Example:
        >>> compaction(torch.tensor([[True, False, True]])).tolist()
        [[0, 2, 1]]
        >>> compaction(torch.tensor([[True, True, False]])) is None
        True
    """
    if not bool((present[:, 1:] & ~present[:, :-1]).any()):
        return None
    return torch.argsort((~present).to(torch.uint8), dim=1, stable=True)


class Encoder(nn.Module, ABC):
    """Base of the encoders.

    Attributes:
        name: What configurations call it.
        description: One line for tables.
        width: Size `H` of a hidden state.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    width: int

    @abstractmethod
    def read(
        self,
        embedded: Float[Tensor, "B L E"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B L H"]:
        """Hidden states where all present positions stand at the front."""

    def last_hidden(
        self,
        hidden: Float[Tensor, "B L H"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B H"]:
        """One vector for the whole sequence; 0 where it is empty.

        By default the mean over present positions (the released code of the averaging encoder
        divided by the padded length).
        """
        total = hidden.masked_fill(~present.unsqueeze(-1), 0.0).sum(dim=1)
        return total / present.sum(dim=1, keepdim=True).clamp(min=1)

    def forward(
        self,
        embedded: Float[Tensor, "B L E"],
        present: Bool[Tensor, "B L"],
        units: Bool[Tensor, "B L"],
    ) -> Float[Tensor, "B L H"]:
        """Hidden states, 0 at positions that are not present.

        Args:
            embedded: The embedded tokens; what stands at positions not present is not read.
            present: The positions to read.
            units: The positions that may receive weight, a subset of `present`.
        """
        if not embedded.shape[1]:
            return embedded.new_zeros(len(embedded), 0, self.width)
        order = compaction(present)
        if order is None:
            return self.read(embedded, present, units)
        hidden = self.read(
            embedded.gather(1, order.unsqueeze(-1).expand_as(embedded)),
            present.gather(1, order),
            units.gather(1, order),
        )
        return torch.zeros_like(hidden).scatter(1, order.unsqueeze(-1).expand_as(hidden), hidden)


class BiLSTMEncoder(Encoder):
    """One LSTM in each direction over the whole sequence, markers included; `H = 2 · hidden`."""

    name = "bilstm"
    description = "an LSTM in each direction: a state sees the whole text"

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.forwards = nn.LSTM(embedding_dim, hidden, batch_first=True)
        self.backwards = nn.LSTM(embedding_dim, hidden, batch_first=True)

    def read(self, embedded: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """See `Encoder.read`.

        Each direction reads on into the padding after its last token, where nothing looks. That
        is what packing gives, at a third of its cost when long texts are trained: the backward
        pass of a packed sequence fills an array of the whole batch at every step.
        """
        position = torch.arange(present.shape[1], device=present.device)
        mirrored = present.sum(dim=1, keepdim=True) - 1 - position
        mirrored = torch.where(present, mirrored, position).unsqueeze(-1)
        # NaN times a padding mask is NaN: padding is blanked before it is read.
        embedded = embedded.masked_fill(~present.unsqueeze(-1), 0.0)
        forwards, backwards = self.states(
            embedded, embedded.gather(1, mirrored.expand_as(embedded))
        )
        backwards = backwards.gather(1, mirrored.expand_as(backwards))
        hidden = torch.cat([forwards, backwards], dim=-1)
        return hidden.masked_fill(~present.unsqueeze(-1), 0.0)

    def states(self, embedded: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        """The states of both directions, each in the order in which it reads."""
        return self.forwards(embedded)[0], self.backwards(mirrored)[0]

    def last_hidden(self, hidden: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """The forward state at the last present position beside the backward state at the first."""
        position = torch.arange(present.shape[1], device=present.device)
        last = (position * present).amax(dim=1)
        first = present.to(torch.uint8).argmax(dim=1)
        rows = torch.arange(len(hidden), device=hidden.device)
        half = self.width // 2
        return torch.cat([hidden[rows, last, :half], hidden[rows, first, half:]], dim=-1)


class OrthogonalLSTMEncoder(BiLSTMEncoder):
    """A bidirectional LSTM whose states are orthogonal to the mean of those before them.

    (Mohankumar et al. 2020, section 4; see `orthogonal_states`.) A remedy: states that all point
    the same way all say the same, whatever the weights.
    """

    name = "orthogonal"
    description = "an LSTM in each direction; a state is orthogonal to the mean of earlier ones"

    def states(self, embedded: Tensor, mirrored: Tensor) -> tuple[Tensor, ...]:
        """See `BiLSTMEncoder.states`."""
        return orthogonal_states((self.forwards, self.backwards), (embedded, mirrored))


class CNNEncoder(Encoder):
    """Four convolutions of widths 1, 3, 5, 7 with `hidden / 4` channels each, then ReLU.

    Markers are read but, like padding, have the state 0.
    """

    name = "cnn"
    description = "convolutions of widths 1, 3, 5 and 7: a state sees three tokens either side"

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        if hidden % len(KERNELS):
            raise SettingsError(f"hidden is {hidden}; the cnn encoder needs a multiple of 4")
        self.width = hidden
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding_dim, hidden // len(KERNELS), kernel, padding=kernel // 2)
            for kernel in KERNELS
        )

    def read(self, embedded: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """See `Encoder.read`."""
        channels = embedded.masked_fill(~present.unsqueeze(-1), 0.0).transpose(1, 2)
        windows = torch.cat([convolve(channels) for convolve in self.convolutions], dim=1)
        return torch.relu(windows).transpose(1, 2).masked_fill(~units.unsqueeze(-1), 0.0)

    def last_hidden(self, hidden: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """The largest value of each channel over the units; states are never negative."""
        return hidden.masked_fill(~units.unsqueeze(-1), 0.0).amax(dim=1)


class AverageEncoder(Encoder):
    """A linear map and tanh of each token for itself."""

    name = "average"
    description = "each token for itself, a linear map and tanh: a state sees no context"

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        self.width = hidden
        self.projection = nn.Linear(embedding_dim, hidden)

    def read(self, embedded: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """See `Encoder.read`."""
        return torch.tanh(self.projection(embedded)).masked_fill(~present.unsqueeze(-1), 0.0)


class IdentityEncoder(Encoder):
    """The inputs themselves: states that another network has made."""

    name = "identity"
    description = "the inputs as they are, where another network has encoded them"

    def __init__(self, embedding_dim: int, hidden: int) -> None:
        super().__init__()
        self.width = embedding_dim

    def read(self, embedded: Tensor, present: Tensor, units: Tensor) -> Tensor:
        """See `Encoder.read`."""
        return embedded.masked_fill(~present.unsqueeze(-1), 0.0)


ENCODERS: dict[str, type[Encoder]] = {
    encoder.name: encoder
    for encoder in (
        BiLSTMEncoder,
        CNNEncoder,
        AverageEncoder,
        IdentityEncoder,
        OrthogonalLSTMEncoder,
    )
}
