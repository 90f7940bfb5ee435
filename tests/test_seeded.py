import itertools
import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.seeded import (
    instance_generator,
    instance_normal,
    instance_uniform,
    permuted,
)

DRAWS = (instance_uniform, instance_normal)
UNIFORM = [0.599659030958149, 0.2657349198557767, 0.2212091133697266]
PERMUTATIONS = [[2, 1, 0], [1, 2, 0], [2, 1, 0]]
LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5)


def scattered(lengths, width, seed):
    mask = torch.zeros(len(lengths), width, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for row, length in enumerate(lengths):
        mask[row, torch.randperm(width, generator=generator)[:length]] = True
    return mask


def names(lengths):
    return [f"instance {row}" for row in range(len(lengths))]


@given(LENGTHS, st.integers(0, 20), st.integers(0, 3))
def test_draws_do_not_depend_on_padding_batch_or_order(lengths, seed, extra):
    ids, mask = names(lengths), scattered(lengths, 12 + extra, seed)
    for draw in DRAWS:
        whole = draw(ids, mask, 3, seed, "test")
        assert (whole.masked_fill(mask.unsqueeze(1), 0.0) == 0).all()
        for row, length in enumerate(lengths):
            alone = draw(
                ids[row : row + 1], torch.ones(1, length, dtype=torch.bool), 3, seed, "test"
            )
            assert torch.equal(whole[row][:, mask[row]], alone[0])
        flipped = draw(ids[::-1], mask.flip(0), 3, seed, "test")
        assert torch.equal(flipped.flip(0), whole)
        assert torch.equal(draw(ids, mask, 5, seed, "test")[:, :3], whole)


def orders_of(ids, mask, k, seed, stream):
    """Which unit stands where: `permuted` on the numbers of the positions."""
    numbers = torch.arange(mask.shape[1], dtype=torch.float64).expand(mask.shape)
    return permuted(numbers, ids, mask, k, seed, stream).long()


@given(LENGTHS, st.integers(0, 20))
def test_permutations_are_of_the_units_and_do_not_depend_on_padding(lengths, seed):
    ids, mask = names(lengths), scattered(lengths, 12, seed)
    index = orders_of(ids, mask, 4, seed, "test")
    everywhere = torch.arange(12).expand_as(index)
    assert torch.equal(index.sort(-1).values, everywhere)
    off = ~mask.unsqueeze(1).expand_as(index)
    assert torch.equal(index[off], everywhere[off])
    for row, length in enumerate(lengths):
        alone = orders_of(
            ids[row : row + 1], torch.ones(1, length, dtype=torch.bool), 4, seed, "test"
        )
        places = mask[row].nonzero().squeeze(-1)
        assert torch.equal(index[row][:, mask[row]], places[alone[0]])


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_orders_are_equally_frequent(n):
    index = orders_of(names(range(40)), torch.ones(40, n, dtype=torch.bool), 1000, 11, "orders")
    code = (index.flatten(0, 1) * n ** torch.arange(n)).sum(-1)
    _, counts = code.unique(return_counts=True)
    assert len(counts) == math.factorial(n)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_every_unit_goes_everywhere_equally_often():
    n = 18
    index = orders_of(["x"], torch.ones(1, n, dtype=torch.bool), 20_000, 3, "places")[0]
    table = torch.stack([torch.bincount(index[:, place], minlength=n) for place in range(n)])
    statistic = float(((table - 20_000 / n) ** 2 / (20_000 / n)).sum())
    # Rows and columns are both fixed, so (n − 1)² cells are free.
    assert scipy.stats.chi2.sf(statistic * (n - 1) / n, (n - 1) ** 2) > 1e-3


def test_uniform_and_normal_draws_have_their_distributions():
    mask = torch.ones(20, 50, dtype=torch.bool)
    ids = names(range(20))
    uniform = instance_uniform(ids, mask, 30, 1, "a").flatten().numpy()
    normal = instance_normal(ids, mask, 30, 1, "a").flatten().numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(normal, "norm").pvalue > 1e-3


def test_instances_streams_seeds_and_draws_are_independent():
    mask = torch.ones(1, 4000, dtype=torch.bool)
    kinds = [
        (0, "a", "x"),
        (1, "a", "x"),
        (0, "b", "x"),
        (0, "a", "y"),
        (0, "ax", ""),
        (0, "", "ax"),
    ]
    rows = [instance_normal([id], mask, 2, seed, stream)[0] for seed, stream, id in kinds]
    together = torch.cat(rows)
    correlation = torch.corrcoef(together) - torch.eye(len(together), dtype=torch.float64)
    assert correlation.abs().max() < 5 / math.sqrt(4000)
    generators = [instance_generator(*kind) for kind in kinds]
    first = [torch.rand(3, generator=generator) for generator in generators]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(first, 2))


def test_draws_are_the_same_for_ever():
    """Stored numbers of an earlier release stay comparable: these values must never change."""
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert instance_uniform(["x"], mask, 1, 0, "s")[0, 0].tolist() == pytest.approx(UNIFORM, abs=0)
    assert orders_of(["x"], mask, 3, 0, "s")[0].tolist() == PERMUTATIONS


def test_no_instances_units_or_draws():
    empty = torch.zeros(0, 3, dtype=torch.bool)
    assert instance_uniform([], empty, 2, 0, "s").shape == (0, 2, 3)
    assert orders_of([], empty, 2, 0, "s").shape == (0, 2, 3)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    assert (instance_normal(["a", "b"], mask, 2, 0, "s") == 0).all()
    assert orders_of(["a", "b"], mask, 1, 0, "s").tolist() == [[[0, 1, 2]]] * 2
    assert permuted(torch.ones(2, 3), ["a", "b"], mask, 0, 0, "s").shape == (2, 0, 3)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused():
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(DataError, match="1 ids but 2 instances"):
        instance_uniform(["a"], mask, 1, 0, "s")
    with pytest.raises(SettingsError, match="k is -1"):
        orders_of(["a", "b"], mask, -1, 0, "s")
    with pytest.raises(DataError, match="bool"):
        instance_normal(["a", "b"], mask.float(), 1, 0, "s")
    with pytest.raises(DataError, match="weights has shape"):
        permuted(torch.ones(2, 4), ["a", "b"], mask, 1, 0, "s")
