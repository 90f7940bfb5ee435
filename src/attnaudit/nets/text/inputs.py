"""What a network takes, and the records that a training loop reads, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from attnaudit.data.records import Text, TextPair
from attnaudit.errors import DataError
from attnaudit.nets.text.vocabulary import Vocabulary, pad_sequences

Given = Sequence[Sequence[float] | Tensor]
"""Weights from elsewhere, one per unit of each record."""


@dataclass(frozen=True)
class Inputs:
    """Instances padded to one length.

    Attributes:
        tokens: Ids `(B, L)` or vectors `(B, L, E)`.
        present: The positions that the encoder reads.
        units: The positions that may receive weight; a subset of `present`.
        extra: `question` `(B, Q)` with `question_present` and `question_units`; `allowed`
            `(B, C)`, the classes that may be the answer; `given` `(B, L)`, weights from elsewhere.
    """

    tokens: Tensor
    present: Bool[Tensor, "B L"]
    units: Bool[Tensor, "B L"]
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Inputs:
        """The same instances on another device."""
        return Inputs(
            self.tokens.to(device),
            self.present.to(device),
            self.units.to(device),
            {name: value.to(device) for name, value in self.extra.items()},
        )


@dataclass(frozen=True)
class Examples:
    """Labelled instances, as a training loop reads them.

    Attributes:
        sequences: Ids without markers, or states `(T, E)`, one entry an instance.
        labels: `(N,)`, class indices.
        questions: Ids of the questions, where the network reads any.
        allowed: `(N, C)`, the classes that may be the answer, or None for all.
        given: Weights from elsewhere, one per unit, or None.
    """

    sequences: Sequence[Sequence[int] | Tensor]
    labels: Int[Tensor, " N"]
    questions: Sequence[Sequence[int]] | None = None
    allowed: Bool[Tensor, "N C"] | None = None
    given: Sequence[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> list[int]:
        """Units of each instance."""
        return [len(sequence) for sequence in self.sequences]

    def batch(self, rows: Sequence[int]) -> Inputs:
        """The instances `rows`, in that order."""
        sequences = [self.sequences[row] for row in rows]
        tokens, present, units = _padded(sequences)
        extra: dict[str, Tensor] = {}
        if self.questions is not None:
            extra |= question_inputs([self.questions[row] for row in rows])
        if self.allowed is not None:
            extra["allowed"] = self.allowed[list(rows)]
        if self.given is not None:
            given = torch.zeros(units.shape, dtype=self.given[0].dtype)
            given[units] = torch.cat([self.given[row] for row in rows])
            extra["given"] = given
        return Inputs(tokens, present, units, extra)


def question_inputs(sequences: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Questions as entries of `Inputs.extra`."""
    ids, present, units = pad_sequences(sequences)
    return {"question": ids, "question_present": present, "question_units": units}


def question_ids(records: Sequence[Text], vocabulary: Vocabulary) -> list[list[int]]:
    """The ids of the questions of records.

    Raises:
        DataError: A record has no question.
    """
    for record in records:
        if not isinstance(record, TextPair):
            raise DataError(
                f"record {record.id!r} has no question, but the network reads one beside the text; "
                "name the column of questions (--column question=…)"
            )
    return [vocabulary.encode(r.question_units) for r in records if isinstance(r, TextPair)]


def allowed_classes(records: Sequence[Text], classes: int) -> Bool[Tensor, "N C"] | None:
    """Which classes may be the answer of each record; None where all may be everywhere.

    Raises:
        DataError: An index that is no class.
    """
    if not any(isinstance(record, TextPair) and record.allowed is not None for record in records):
        return None
    allowed = torch.ones(len(records), classes, dtype=torch.bool)
    for row, record in enumerate(records):
        if not isinstance(record, TextPair) or record.allowed is None:
            continue
        if not record.allowed or not all(0 <= index < classes for index in record.allowed):
            raise DataError(
                f"record {record.id!r} allows the answers {record.allowed}; they must be some of "
                f"0 to {classes - 1}"
            )
        allowed[row] = False
        allowed[row, list(record.allowed)] = True
    return allowed


def examples_of(
    records: Sequence[Text],
    vocabulary: Vocabulary,
    labels: Int[Tensor, " N"],
    classes: int,
    *,
    question: bool = False,
    given: Given | None = None,
) -> Examples:
    """Records as examples.

    Args:
        records: The records.
        vocabulary: Gives the ids.
        labels: Their class indices.
        classes: How many classes there are.
        question: Whether the network reads a question beside the text.
        given: Weights from elsewhere, one per unit of each record.

    Raises:
        DataError: A question is missing, or given weights do not fit.
    """
    if given is not None:
        _check_given(records, given)
    return Examples(
        [vocabulary.encode(record.units) for record in records],
        labels,
        question_ids(records, vocabulary) if question else None,
        allowed_classes(records, classes),
        None if given is None else [torch.as_tensor(w, dtype=torch.float32) for w in given],
    )


def _check_given(records: Sequence[Text], given: Given) -> None:
    if len(given) != len(records):
        raise DataError(f"{len(given)} instances have given weights, but there are {len(records)}")
    for record, weights in zip(records, given, strict=True):
        if len(weights) != len(record.units):
            raise DataError(
                f"record {record.id!r} has {len(record.units)} units and {len(weights)} given "
                "weights; give one per unit"
            )
        if not bool(torch.isfinite(torch.as_tensor(weights)).all()):
            raise DataError(f"record {record.id!r}: a given weight is not finite")


def _padded(
    sequences: Sequence[Sequence[int] | Tensor],
) -> tuple[Tensor, Bool[Tensor, "B L"], Bool[Tensor, "B L"]]:
    if sequences and isinstance(sequences[0], Tensor):
        states: list[Float[Tensor, "T E"]] = [s for s in sequences if isinstance(s, Tensor)]
        lengths = torch.tensor([len(state) for state in states])
        tokens = pad_sequence(states, batch_first=True)
        present = torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)
        return tokens, present, present
    return pad_sequences([s for s in sequences if not isinstance(s, Tensor)])
