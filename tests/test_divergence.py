import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from attnaudit.measures.divergence import (
    LN2,
    entropy,
    jensen_shannon,
    kl_divergence,
    total_variation,
)

SHARES = hnp.arrays(np.float64, (2, 7), elements=st.one_of(st.just(0.0), st.floats(1e-12, 1.0)))


def normalised(raw):
    raw = raw + (raw.sum(-1, keepdims=True) == 0)
    return torch.from_numpy(raw / raw.sum(-1, keepdims=True))


@given(SHARES)
def test_values_equal_scipy(raw):
    p, q = normalised(raw)
    assert jensen_shannon(p, q).item() == pytest.approx(
        np.nan_to_num(jensenshannon(p, q)) ** 2, abs=1e-12
    )
    expected = rel_entr(p.numpy(), q.numpy()).sum()
    assert kl_divergence(p, q).item() == pytest.approx(expected, abs=1e-12)
    assert entropy(p).item() == pytest.approx(scipy.stats.entropy(p), abs=1e-12)
    assert total_variation(p, q).item() == pytest.approx(
        np.abs(p.numpy() - q.numpy()).sum() / 2, abs=1e-15
    )


@given(SHARES, st.sampled_from([torch.float32, torch.float64]))
def test_jensen_shannon_is_symmetric_bounded_and_below_total_variation(raw, dtype):
    p, q = normalised(raw).to(dtype)
    jsd = jensen_shannon(p, q).item()
    assert jsd == pytest.approx(jensen_shannon(q, p).item(), abs=1e-6)
    assert 0 <= jsd <= LN2
    assert jsd <= LN2 * total_variation(p, q).item() + 1e-6  # Lin (1991), theorem 3
    assert jensen_shannon(p, p).item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distributions_without_a_common_unit_are_ln_2_apart(dtype):
    p, q = torch.tensor([[0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.9, 0.1]], dtype=dtype)
    assert jensen_shannon(p, q).item() == pytest.approx(LN2, abs=1e-7)
    assert jensen_shannon(p, q).item() <= LN2
    assert kl_divergence(p, q).item() == math.inf


def test_nearly_equal_distributions_keep_their_digits():
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    step = 1e-9 * torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    series = (step**2 / (8 * p)).sum().item()  # the second-order term; the third is 1e-9 of it
    assert jensen_shannon(p, p + step).item() == pytest.approx(series, rel=1e-6)


def test_broadcasts_candidates_against_the_original():
    generator = torch.Generator().manual_seed(0)
    many = torch.rand(3, 4, 6, generator=generator).double().softmax(-1)
    one = torch.rand(3, 1, 6, generator=generator).double().softmax(-1)
    found = jensen_shannon(many, one)
    assert found.shape == (3, 4)
    assert found[2, 1].item() == pytest.approx(jensenshannon(many[2, 1], one[2, 0]) ** 2)


def test_what_stands_outside_the_mask_is_not_read():
    p, q = torch.tensor([[0.25, 0.75, 7.0]]), torch.tensor([[0.5, 0.5, torch.nan]])
    mask = torch.tensor([[True, True, False]])
    assert jensen_shannon(p, q, mask).item() == jensen_shannon(p[:, :2], q[:, :2]).item()
    assert kl_divergence(p, q, mask).item() == kl_divergence(p[:, :2], q[:, :2]).item()


def test_gradients_are_right_and_finite_at_padding():
    logits = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fixed = torch.softmax(torch.arange(5.0).double(), -1)
    for measure in (jensen_shannon, kl_divergence):
        assert torch.autograd.gradcheck(
            lambda x, m=measure: m(torch.softmax(x, -1), fixed), logits.clone().requires_grad_()
        )
        p = torch.tensor([0.4, 0.6, 0.0], requires_grad=True)
        measure(p, torch.tensor([0.5, 0.5, 0.0])).backward()
        assert torch.isfinite(p.grad).all()
        assert p.grad[2] == 0


@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(RuntimeError):
        jensen_shannon(torch.ones(2, 3) / 3, torch.ones(2, 4) / 4)
