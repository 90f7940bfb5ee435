"""Several models as one: what is shown is what their weights have in common."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor

from attnaudit.errors import ModelError, SettingsError
from attnaudit.measures.rank import average_ranks
from attnaudit.measures.ties import settled
from attnaudit.models.cut import Batch, Model, States
from attnaudit.nets.checkpoint import (
    CONFIG,
    checked_header,
    header_bytes,
    model_folder,
    refuse_changed,
)

FORMAT, VERSION = "attnaudit-ensemble", 1
RULES = ("mean", "ranks")
"""How the weights of members become one: their mean, or the mean of their ranks in the instance,
over the sum of these means."""
MOST_MEMBERS = 1000
"""Members of an ensemble that is read; one of more is damaged, or made to exhaust memory."""
LEAST = 1e-30
"""Stands for a weight of 0 where members are compared at one unit."""


@dataclass(frozen=True)
class Header:
    """What `config.json` of a saved ensemble holds.

    Attributes:
        format: Always `FORMAT`.
        version: Of the format.
        name: What reports call it.
        rule: A name of `RULES`.
        members: The folders of the members, beside it.
    """

    format: str
    version: int
    name: str
    rule: str
    members: tuple[str, ...]

    __pydantic_config__ = ConfigDict(extra="forbid")


class Ensemble(Model):
    """Models of one kind, trained with other seeds, under the contract of the cut.

    The output is the mean of the members' probabilities. The weights shown are the mean of the
    members' weights, or of their ranks (our protocol, after the ensembling of Haab et al. 2022,
    abstract). What other weights mean for a member: it gets the given weights times what it adds
    to the weights shown at each unit, normalised over the units. So the ensemble's own weights
    give each member its own, and all weight on one unit puts every member there.

    Args:
        members: Two or more, with equal classes and states of one width.
        rule: A name of `RULES`.
        name: What reports call it.

    Raises:
        ModelError: The members do not fit each other.
        SettingsError: No such rule, or fewer than two members.
    """

    def __init__(
        self, members: Sequence[Model], rule: str = "mean", name: str | None = None
    ) -> None:
        if rule not in RULES:
            raise SettingsError(f"the rule {rule!r} is unknown; choose one of {', '.join(RULES)}")
        if len(members) < 2:
            raise SettingsError(f"an ensemble has two members or more, got {len(members)}")
        first = members[0]
        for member in members[1:]:
            if _kind(member) != _kind(first):
                raise ModelError(
                    f"{member.name} does not fit {first.name}: an ensemble has members of one "
                    f"kind, with equal classes ({member.classes} and {first.classes})"
                )
        self.members = tuple(members)
        self.rule = rule
        self.name = name or f"{len(members)} x {first.name}"
        self.classes, self.kind, self.features = first.classes, first.kind, first.features
        self.pad_value, self.mask_value = first.pad_value, first.mask_value
        self.trained_on = first.trained_on

    def collate(self, records: Sequence[object]) -> Batch:
        """As the members do.

        Raises:
            ModelError: Two members read the records differently (another vocabulary or scaling).
        """
        batches = [member.collate(records) for member in self.members]
        first = batches[0]
        for member, batch in zip(self.members[1:], batches[1:], strict=True):
            same = torch.equal(batch.inputs, first.inputs) and torch.equal(batch.units, first.units)
            if not same:
                raise ModelError(
                    f"{member.name} and {self.members[0].name} read {first.ids[0]!r} differently: "
                    "members need one vocabulary, or one scaling of features. Train them together"
                )
        return first

    def encode(self, batch: Batch) -> States:
        """The states of all members, side by side."""
        return _joined([member.encode(batch) for member in self.members])

    def embed(self, batch: Batch) -> Float[Tensor, "B L E"]:
        """The members' inputs, side by side.

        Raises:
            NotApplicable: A member has none.
        """
        return torch.cat([member.embed(batch) for member in self.members], -1)

    def encode_embedded(self, batch: Batch, embedded: Tensor) -> States:
        """As `encode`, from given inputs."""
        parts = embedded.chunk(len(self.members), -1)
        return _joined(
            [m.encode_embedded(batch, part) for m, part in zip(self.members, parts, strict=True)]
        )

    def attend(self, states: States) -> Float[Tensor, "B L"]:
        """The weights shown: 0 off the units, summing to 1."""
        return self._shown(self._own(states), states.attendable)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        """The log of the members' mean probability, for weights `(B, L)` or `(B, K, L)`."""
        candidates = weights if weights.dim() == 3 else weights.unsqueeze(1)
        own = self._own(states)
        shown = self._shown(own, states.attendable)
        total: Tensor | None = None
        parts = self._split(states)
        lowest = torch.finfo(own.dtype).min
        for member, part, mine in zip(self.members, parts, own.unbind(1), strict=True):
            adds = ((mine + LEAST).log() - (shown + LEAST).log()).unsqueeze(1)
            # in logarithms, since a weight far below another's would underflow
            given = candidates.clamp_min(LEAST).log() + adds
            theirs = torch.softmax(given.masked_fill(candidates <= 0, lowest), -1)
            theirs = theirs * (candidates > 0)
            outputs = member.decode(part, theirs)
            total = outputs if total is None else torch.logaddexp(total, outputs)
        assert total is not None
        mean = total - math.log(len(self.members))
        return mean if weights.dim() == 3 else mean.squeeze(1)

    def decode_size(self, states: States) -> int:
        """Members decode one after the other."""
        parts = zip(self.members, self._split(states), strict=True)
        return max(member.decode_size(part) for member, part in parts)

    def whole(self, batch: Batch) -> Float[Tensor, "B C"]:
        """The log of the mean of what each member gives as a whole."""
        each = torch.stack([member.whole(batch) for member in self.members])
        return each.logsumexp(0) - math.log(len(self.members))

    def _own(self, states: States) -> Float[Tensor, "B S L"]:
        parts = zip(self.members, self._split(states), strict=True)
        return torch.stack([member.attend(part) for member, part in parts], 1)

    def _shown(self, own: Float[Tensor, "B S L"], units: Tensor) -> Float[Tensor, "B L"]:
        if self.rule == "mean":
            return own.mean(1)
        each = [average_ranks(settled(weights, units, "own"), units) for weights in own.unbind(1)]
        ranks = torch.stack(each, 1).mean(1).to(own.dtype)
        return ranks / ranks.sum(-1, keepdim=True).clamp_min(1)

    def _split(self, states: States) -> list[States]:
        """The states of each member."""
        hidden = states.hidden.chunk(len(self.members), -1)
        return [
            States(
                part,
                states.units,
                {
                    key.partition("/")[2]: value
                    for key, value in states.extra.items()
                    if key.partition("/")[0] == str(number)
                },
                states.sinks,
            )
            for number, part in enumerate(hidden)
        ]

    def fingerprint(self) -> str:
        """SHA-256 of the rule and the members' fingerprints."""
        parts = (self.rule, *(member.fingerprint() for member in self.members))
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the members are."""
        return self.members[0].device

    def to(self, device: torch.device | str) -> Ensemble:
        """Move the members to another device; the ensemble itself is returned.

        Raises:
            ModelError: A member cannot be moved.
        """
        for member in self.members:
            move = getattr(member, "to", None)
            if move is None:
                raise ModelError(f"{member.name} cannot be moved to another device")
            move(device)
        return self

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the members, and what joins them, as a folder that `load` reads.

        Args:
            folder: Where to; it is made.
            overwrite: Replace a model that attnaudit saved there.

        Raises:
            ModelError: The folder cannot be written, holds something already, or a member cannot
                be saved.
        """
        names = tuple(f"member-{number:02d}" for number in range(len(self.members)))
        with model_folder(folder, overwrite=overwrite) as part:
            for name, member in zip(names, self.members, strict=True):
                save = getattr(member, "save", None)
                if save is None:
                    raise ModelError(
                        f"{member.name} cannot be saved, so its ensemble cannot either"
                    )
                save(part / name)
            header = Header(FORMAT, VERSION, self.name, self.rule, names)
            (part / CONFIG).write_bytes(header_bytes(header))


def member_folders(folder: Path) -> tuple[str, str, list[Path]]:
    """Name, rule and the members' folders of a saved ensemble.

    Raises:
        ModelError: The header is damaged, or names a folder elsewhere.
    """
    header = checked_header(folder, Header, FORMAT, VERSION)
    if len(header.members) > MOST_MEMBERS:
        raise ModelError(
            f"{folder / CONFIG}: {len(header.members):,} members, more than the {MOST_MEMBERS:,} "
            "that are read: each takes the memory of a model"
        )
    for name in header.members:
        if "\0" in name or Path(name).name != name or name in (".", ".."):
            raise ModelError(f"{folder / CONFIG}: a member lies elsewhere: {name!r:.99}")
        if folder.resolve().is_relative_to((folder / name).resolve()):
            raise ModelError(f"{folder / CONFIG}: the member {name!r:.99} is the ensemble itself")
    refuse_changed(folder)
    return header.name, header.rule, [folder / name for name in header.members]


def _kind(model: Model) -> tuple[object, ...]:
    """What members must have in common."""
    return model.classes, model.kind, model.features, model.pad_value, model.mask_value


def _joined(parts: Sequence[States]) -> States:
    widths = {part.hidden.shape[-1] for part in parts}
    if len(widths) > 1:
        raise ModelError(
            f"the members have states of different widths, {sorted(widths)}; an ensemble has "
            "members of one architecture"
        )
    extra = {
        f"{number}/{key}": value
        for number, part in enumerate(parts)
        for key, value in part.extra.items()
    }
    hidden = torch.cat([part.hidden for part in parts], -1)
    return States(hidden, parts[0].units, extra, parts[0].sinks)
