"""Edits of a batch against plain lists."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.errors import NotApplicable
from attnaudit.models.cut import Batch
from attnaudit.models.edits import delete, mask, pad
from tests.toys import reader


@st.composite
def batches(draw: st.DrawFn) -> tuple[Batch, torch.Tensor]:
    rows = draw(
        st.lists(st.lists(st.integers(2, 20), min_size=1, max_size=7), min_size=1, max_size=4)
    )
    length = max(map(len, rows))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    present = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        present[index, : len(row)] = True
    flags = draw(st.lists(st.booleans(), min_size=present.numel(), max_size=present.numel()))
    drop = torch.tensor(flags).view(present.shape) & present
    return Batch(tuple(map(str, range(len(rows)))), ids, present, present), drop


@given(batches())
def test_delete_is_what_a_list_would_do(case: tuple[Batch, torch.Tensor]) -> None:
    batch, drop = case
    shorter = delete(batch, drop, reader())
    for row in range(len(batch)):
        kept = [
            int(value)
            for value, gone, there in zip(
                batch.inputs[row], drop[row], batch.present[row], strict=True
            )
            if there and not gone
        ]
        assert shorter.inputs[row][shorter.present[row]].tolist() == kept
        assert shorter.present[row].tolist() == sorted(shorter.present[row].tolist(), reverse=True)
    assert (shorter.inputs[~shorter.present] == 0).all()


def test_delete_works_on_vectors_and_keeps_start_markers() -> None:
    inputs = torch.arange(8.0).view(1, 4, 2)
    present = torch.tensor([[True, True, True, True]])
    units = torch.tensor([[False, True, True, False]])
    drop = torch.tensor([[False, True, False, False]])
    shorter = delete(Batch(("a",), inputs, present, units), drop, reader())
    assert shorter.inputs.tolist() == [[[0, 1], [4, 5], [6, 7]]]
    assert shorter.units.tolist() == [[False, True, False]]


@given(batches())
def test_mask_and_pad_keep_every_position(case: tuple[Batch, torch.Tensor]) -> None:
    batch, where = case
    model = reader()
    for edit, value in ((mask, 1), (pad, 0)):
        edited = edit(batch, where, model)
        assert (edited.inputs[where] == value).all()
        assert (edited.inputs[~where] == batch.inputs[~where]).all()
        assert (edited.present == batch.present).all()
    assert (pad(batch, where, model).units == (batch.units & ~where)).all()


def test_mask_needs_a_mask_value() -> None:
    model = reader()
    model.mask_value = None
    batch = model.collate([])
    with pytest.raises(NotApplicable, match="mask value"):
        mask(batch, batch.units, model)
