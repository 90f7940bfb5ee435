"""Methods, edits and curves of pair checks against other ways to compute them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from attnaudit.audits.pairs import audit_pairs
from attnaudit.checks.stability import added, marked
from attnaudit.evidence.pairs.curves import column_of, top_matches, top_units
from attnaudit.evidence.pairs.editing import Embedder, blanked, deleted
from attnaudit.evidence.pairs.pair_methods import PAIR_METHODS, ranks_nothing, scores_of
from attnaudit.evidence.pairs.view import PairView, Shared
from attnaudit.findings.settings import PairSettings, Settings
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from tests.pair_explainers import HandMade, linear_siamese, noise, oracle, word_pairs
from tests.tiny_siamese import tiny_siamese

PAIRS = word_pairs(6, seed=1)


def options_of(seed: int = 0, **options) -> Settings:
    pairs = PairSettings(**{"operators": ("delete", "mask"), "draws": 2, **options})
    return Settings(seed=seed, resamples=100, pairs=pairs)


SETTINGS = options_of()


@pytest.fixture(scope="module", params=["cosine", "dot"])
def encoder(request, tmp_path_factory: pytest.TempPathFactory) -> SiameseEncoder:
    model = tiny_siamese(tmp_path_factory.mktemp("bert"), normalize=False)
    return SiameseEncoder(model, kind=request.param)


def view_of(encoder: SiameseEncoder, rule=noise, options=SETTINGS, pairs=PAIRS) -> PairView:
    return PairView(Shared(HandMade(encoder, rule), options), pairs)


def embedded(encoder: SiameseEncoder, ids) -> np.ndarray:
    """One text alone through the library's own modules."""
    row = torch.tensor([list(ids)])
    with torch.no_grad():
        done = encoder.model({"input_ids": row, "attention_mask": torch.ones_like(row)})
    return done["sentence_embedding"][0].double().numpy()


def score(encoder: SiameseEncoder, x: np.ndarray, y: np.ndarray, scale: float) -> float:
    if encoder.kind == "dot":
        return float(x @ y) / scale
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def edited(ids, gone, operator: str, mask: int) -> list[int]:
    if operator == "delete":
        return [token for place, token in enumerate(ids) if place not in gone]
    return [mask if place in gone else token for place, token in enumerate(ids)]


@pytest.mark.parametrize("operator", ["delete", "mask"])
def test_areas_are_those_of_a_plain_loop(encoder: SiameseEncoder, operator: str):
    options = options_of(operators=(operator,))
    explainer = HandMade(encoder, noise)
    frame = audit_pairs(
        explainer,
        PAIRS,
        settings=options,
        checks=["deletion", "insertion", "pair_deletion", "pair_insertion"],
    ).instances
    mask = encoder.tokenizer.mask_token_id
    for row, table in enumerate(explainer.tables(PAIRS)):
        texts = (table.a, table.b)
        x, y = (embedded(encoder, one.ids) for one in texts)
        scale = np.linalg.norm(x) * np.linalg.norm(y)
        whole = score(encoder, x, y, scale)
        units = [[i for i in range(len(one)) if not one.special[i]] for one in texts]
        sums = [table.values.sum(1).numpy(), table.values.sum(0).numpy()]
        found: dict[str, list[float]] = {}
        for fraction in options.pairs.fractions:
            falls, kept = [], []
            for side in (0, 1):
                count = min(math.ceil(fraction * len(units[side]) - 1e-9), len(units[side]) - 1)
                order = sorted(units[side], key=lambda i: -sums[side][i])
                one = texts[side].ids
                for gone, out in ((order[:count], falls), (order[count:], kept)):
                    changed = embedded(encoder, edited(one, gone, operator, mask))
                    out.append(score(encoder, changed, (y, x)[side], scale))
            found.setdefault("deletion", []).append(whole - float(np.mean(falls)))
            found.setdefault("insertion", []).append(float(np.mean(kept)))

            taken: list[tuple[int, int]] = []
            cells = sorted(
                itertools.product(*units), key=lambda ij: -float(table.values[ij[0], ij[1]])
            )
            least = min(map(len, units))
            for i, j in cells:
                if len(taken) == min(math.ceil(fraction * least - 1e-9), least - 1):
                    break
                if all(i != k and j != m for k, m in taken):
                    taken.append((i, j))
            gone = [{pair[side] for pair in taken} for side in (0, 1)]
            rest = [set(units[side]) - gone[side] for side in (0, 1)]
            out, left = (
                [embedded(encoder, edited(texts[s].ids, g[s], operator, mask)) for s in (0, 1)]
                for g in (gone, rest)
            )
            both = score(encoder, *out, scale)
            joint = (
                whole - score(encoder, out[0], y, scale) - score(encoder, x, out[1], scale) + both
            )
            found.setdefault("pair_deletion", []).append(joint)
            found.setdefault("pair_fall", []).append(whole - both)
            found.setdefault("pair_insertion", []).append(score(encoder, *left, scale))
        for kind, points in found.items():
            check = "pair_deletion" if kind == "pair_fall" else kind
            base = f"{check}/{column_of(check, kind, operator, 'integrated')}"
            assert frame[base][row] == pytest.approx(np.mean(points), abs=2e-6), kind
            curve = [frame[f"{base}@{fraction:g}"][row] for fraction in options.pairs.fractions]
            np.testing.assert_allclose(curve, points, atol=2e-6)


def test_input_x_gradient_is_that_of_autograd(encoder: SiameseEncoder):
    view = view_of(encoder)
    for (a, b), (i, j), found in zip(
        view.tokens, view.units, scores_of(view, "input_x_gradient"), strict=True
    ):
        one = torch.zeros(1, dtype=torch.long)
        with encoder.ready():
            tails = [encoder.tail([text], one) for text in (a, b)]
            x, y = (encoder.states([text])[0].detach().requires_grad_() for text in (a, b))
            with torch.enable_grad():
                e, f = (tail(states)[0] for tail, states in zip(tails, (x, y), strict=True))
                s = e @ f / (e.norm() * f.norm() if encoder.kind == "cosine" else 1.0)
                gx, gy = torch.autograd.grad(s, (x, y), create_graph=True)
                along = (gx * x.detach()).sum(-1)[0]
                mixed = torch.stack(
                    [
                        (torch.autograd.grad(part, y, retain_graph=True)[0] * y).sum(-1)[0]
                        for part in along
                    ]
                )
        np.testing.assert_allclose(found.a, along.detach().numpy()[i], atol=2e-5)
        np.testing.assert_allclose(found.b, (gy * y).sum(-1)[0].detach().numpy()[j], atol=2e-5)
        np.testing.assert_allclose(found.pairs, mixed.detach().numpy()[np.ix_(i, j)], atol=2e-5)


def test_alignment_is_the_library_s_token_cosine(encoder: SiameseEncoder):
    view = view_of(encoder)
    for (a, b), (i, j), found in zip(
        view.pairs, view.units, scores_of(view, "alignment"), strict=True
    ):
        x, y = (
            encoder.model.encode(text, output_value="token_embeddings").numpy() for text in (a, b)
        )
        x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
        expected = (x @ y.T)[np.ix_(i, j)]
        np.testing.assert_allclose(found.pairs, expected, atol=1e-5)
        np.testing.assert_allclose(found.a, expected.max(1), atol=1e-5)
        np.testing.assert_allclose(found.b, expected.max(0), atol=1e-5)


def test_leave_one_out_of_a_linear_encoder_is_the_truth(tmp_path):
    options = options_of(operators=("mask",))
    view = view_of(linear_siamese(tmp_path), oracle, options)
    for found, (i, j), table, scale in zip(
        scores_of(view, "leave_one_out"), view.units, view.tables, view.scale, strict=True
    ):
        true = (table.pairs * scale).numpy()
        np.testing.assert_allclose(found.pairs, true[np.ix_(i, j)], atol=1e-5)
        np.testing.assert_allclose(found.a, true.sum(1)[i], atol=1e-5)
        np.testing.assert_allclose(found.b, true.sum(0)[j], atol=1e-5)


def test_the_table_counts_the_other_text_s_reference_and_the_plain_matrix_does_not(encoder):
    explainer = PairExplainer(encoder, tolerance=0.01)
    view = PairView(Shared(explainer, SETTINGS), PAIRS[:2])
    for own, plain, (i, j), table in zip(
        scores_of(view, "integrated"),
        scores_of(view, "plain"),
        view.units,
        view.tables,
        strict=True,
    ):
        np.testing.assert_allclose(own.a - plain.a, table.column.numpy()[i], atol=1e-12)
        np.testing.assert_allclose(own.b - plain.b, table.row.numpy()[j], atol=1e-12)
        assert plain.pairs is None


def test_random_scores_depend_on_seed_and_texts_alone(encoder: SiameseEncoder):
    one, other = view_of(encoder), view_of(encoder, pairs=PAIRS[::-1])
    for x, y in zip(scores_of(one, "random"), scores_of(other, "random")[::-1], strict=True):
        assert np.array_equal(x.pairs, y.pairs)
        assert np.array_equal(x.a, y.a)
    seeded = view_of(encoder, options=options_of(seed=1))
    assert not np.array_equal(scores_of(seeded, "random")[0].a, scores_of(one, "random")[0].a)


def test_every_method_scores_units_of_every_pair(encoder: SiameseEncoder):
    view = view_of(encoder, pairs=[*PAIRS, ("a", "good film"), ("a", "a")])
    for name, method in PAIR_METHODS.items():
        for found, (i, j) in zip(scores_of(view, name), view.units, strict=True):
            assert found.a.shape == (len(i),)
            assert found.b.shape == (len(j),)
            assert (found.pairs is None) == (not method.pairs)
            if found.pairs is not None:
                assert found.pairs.shape == (len(i), len(j))


def test_edits_keep_everything_else(encoder: SiameseEncoder):
    text = encoder.tokens(["a good film never boring"])[0]
    less = deleted(text, [2, 3])
    assert len(less) == len(text) - 2
    assert less.ids == text.ids[:2] + text.ids[4:]
    assert less.shown == text.shown[:2] + text.shown[4:]
    blank = blanked(text, [2], 7)
    assert blank.ids[2] == 7
    assert [i for i, (x, y) in enumerate(zip(text.ids, blank.ids, strict=True)) if x != y] == [2]


def test_the_embedder_embeds_each_text_once(encoder: SiameseEncoder):
    seen: list[int] = []
    words = encoder.model[0].auto_model.embeddings.word_embeddings
    texts = encoder.tokens(["a film", "a good film", "a film", "good", "bad film"])
    embed = Embedder(encoder, 10)
    with words.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0]))):
        first, again = embed(texts), embed(texts[::-1])
    assert sum(seen) == 4
    assert torch.equal(first, again.flip(0))
    for row, one in zip(first, texts, strict=True):
        np.testing.assert_allclose(row.numpy(), embedded(encoder, one.ids), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(2, 7), st.integers(2, 7)),
        elements=st.floats(-9, 9, width=16),
    ),
    st.floats(0.05, 0.95),
)
def test_matches_are_disjoint_greedy_and_never_all(values: np.ndarray, fraction: float):
    [(i, j)] = top_matches(values, (fraction,))
    least = min(values.shape)
    assert len(i) == len(set(i.tolist())) == len(set(j.tolist()))
    assert len(i) == min(math.ceil(fraction * least - 1e-9), least - 1)
    free = values.copy()
    for row, column in zip(i, j, strict=True):
        assert free[row, column] == free.max()
        free[row], free[:, column] = -np.inf, -np.inf


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-9, 9, width=16), min_size=2, max_size=7), min_size=1, max_size=4)
)
def test_top_units_are_the_highest_and_never_all(texts: list[list[float]]):
    fractions = (0.2, 0.9)
    for scores, found in zip(
        texts, top_units([np.array(t) for t in texts], fractions), strict=True
    ):
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        for fraction, units in zip(fractions, found, strict=True):
            count = min(math.ceil(fraction * len(scores) - 1e-9), len(scores) - 1)
            assert sorted(units.tolist()) == sorted(order[:count])


def test_equal_scores_rank_nothing():
    assert ranks_nothing(np.full(3, 0.1 + 0.2))
    assert ranks_nothing(np.zeros((2, 2)))
    assert ranks_nothing(np.array([1.0]))
    assert ranks_nothing(None)
    assert ranks_nothing(np.array([1.0, np.nan]))
    assert not ranks_nothing(np.array([1e-12, 2e-12]))


def test_words_are_added_before_final_marks_and_marks_after_them():
    assert added("Really?!", "indeed")[0] == "Really indeed?!"
    assert added(" a ", "indeed")[0] == " a indeed "
    assert added("...", "so")[0] == " so..."
    assert marked("A cat. ", ".")[0] == "A cat.. "


def test_an_addition_that_changes_how_others_are_read_has_no_value(tmp_path):
    encoder = SiameseEncoder(tiny_siamese(tmp_path))
    options = options_of(mark="s", word="good")
    pairs = [("a good actin", "a film"), ("a good film", "not a film")]
    frame = audit_pairs(
        HandMade(encoder, noise), pairs, checks=["stability"], settings=options
    ).instances
    assert frame["stability/word"].null_count() == 0
    one = encoder.tokens(["a good actin", "a good actins"])
    same = one[0].ids[:-1] == one[1].ids[: len(one[0].ids) - 1]
    assert (frame["stability/mark"][0] is None) == (not same)
