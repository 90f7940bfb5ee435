"""What checks that retrain conclude, from made-up outputs: nothing is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch

from attnaudit.checks.registry import CHECKS
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.evidence.trainings.design import GUIDE_LAMBDA, Recipe, Variants
from attnaudit.evidence.trainings.outputs import Outputs
from attnaudit.evidence.trainings.results import ONE_SEED, Results
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings, TrainingSettings

N, UNITS = 150, 8
VARIANTS = Variants(Recipe(), TrainingSettings(seeds=2, lambdas=(0.0, 1e-3, 1e-2)))
DATA = Dataset(
    "made up",
    tuple(text_record(f"t{i}", " ".join("abcdefgh"), label=i % 2) for i in range(N)),
    ("no", "yes"),
    "test",
)
LABELS = torch.arange(N) % 2


def said(right: float, sure: float = 0.9) -> torch.Tensor:
    """Log-probabilities that are right for the first instances, in that share."""
    wrong = torch.arange(N) >= round(right * N)
    predicted = torch.where(wrong, 1 - LABELS, LABELS)
    yes = torch.where(predicted == 1, sure, 1 - sure)
    return torch.stack([1 - yes, yes], 1).log()


def pointing(unit: int, strength: float = 0.9) -> tuple[torch.Tensor, ...]:
    """Weights with most of their mass on one unit, another one for each instance."""
    rest = (1 - strength) / (UNITS - 1)
    rows = []
    for i in range(N):
        weights = torch.full((UNITS,), rest)
        weights[(unit + i) % UNITS] = strength
        rows.append(weights)
    return tuple(rows)


FLAT = pointing(0, 1 / UNITS)
BASE = Outputs(said(0.9), pointing(0))


def results(near_chance: bool = False, **outputs: Outputs) -> Results:
    """Outputs by name, `_` for blanks and `__` for points."""
    named = {name.replace("__", ".").replace("_", " "): o for name, o in outputs.items()}
    if "own token" in named:
        named["own_token"] = named.pop("own token")
    if near_chance:
        named["base"] = Outputs(said(0.5), BASE.weights)
    return results_of(named)


def results_of(named: dict[str, Outputs], variants: Variants = VARIANTS) -> Results:
    settings = Settings(resamples=200)
    return Results(variants, DATA, {"base": BASE} | named, {"lost": "why"}, settings)


def concluded(check: str, found: Results, subject: str | None = None) -> Finding:
    findings = CHECKS[check].conclude(found)
    return next(f for f in findings if subject in (None, f.subject))


@pytest.mark.parametrize(
    ("right", "verdict", "words"),
    [
        (0.9, Verdict.FAIL, "not needed for this task"),
        (0.95, Verdict.FAIL, "not needed for this task"),
        (0.6, Verdict.PASS, "attention matters here"),
        (0.88, Verdict.INCONCLUSIVE, "is not certain"),
    ],
)
def test_uniform_weights_are_judged_by_what_they_lose(
    right: float, verdict: Verdict, words: str
) -> None:
    found = results(uniform=Outputs(said(right), FLAT))
    finding = concluded("uniform", found)
    assert finding.verdict is verdict
    assert words in finding.sentence
    assert finding.headline.value == pytest.approx(0.9 - right, abs=0.005)
    assert concluded("uniform", found, "random").verdict is Verdict.NOT_APPLICABLE
    near_chance = concluded("uniform", results(near_chance=True, uniform=found.outputs["uniform"]))
    assert near_chance.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("weights", "verdict", "words"),
    [
        (pointing(0, 0.8), Verdict.PASS, "much the same weights"),
        (pointing(3), Verdict.FAIL, "depends on chance"),
    ],
)
def test_seeds_are_judged_by_how_far_weights_are_apart(
    weights: tuple[torch.Tensor, ...], verdict: Verdict, words: str
) -> None:
    other = Outputs(said(0.9), weights)
    finding = concluded("seeds", results(seed_1=other, seed_2=other))
    assert finding.verdict is verdict
    assert words in finding.sentence
    # in random order the one large weight stays where it was once in eight times
    one, two = BASE.weights[0], BASE.weights[1]
    different = scipy.spatial.distance.jensenshannon(one, two) ** 2
    assert finding.headline.null == pytest.approx(different * (1 - 1 / UNITS), rel=0.05)


def test_flat_weights_say_nothing_about_seeds() -> None:
    other = Outputs(said(0.9), pointing(3, 0.13))
    found = results(seed_1=other, seed_2=other)
    found = replace(found, outputs={**found.outputs, "base": Outputs(said(0.9), FLAT)})
    finding = concluded("seeds", found)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "so flat" in finding.sentence


@pytest.mark.parametrize(
    ("uniform", "own", "base", "adversary", "verdicts"),
    [
        (0.6, 0.8, 0.9, 0.5, (Verdict.PASS, Verdict.PASS)),
        (0.6, 0.9, 0.7, 0.7, (Verdict.FAIL, Verdict.FAIL)),
        # nothing beats equal weights: what is worse than them is no worse a story
        (0.9, 0.9, 0.9, 0.5, (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)),
        (0.9, 0.9, 0.9, 0.9, (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)),
    ],
)
def test_guides_are_judged_where_weights_can_help_at_all(
    uniform: float, own: float, base: float, adversary: float, verdicts: tuple[Verdict, Verdict]
) -> None:
    found = guided(uniform, own, base, adversary)
    findings = CHECKS["guide"].conclude(found)
    assert tuple(f.verdict for f in findings) == verdicts
    for finding in findings:
        assert ONE_SEED in finding.notes
        assert "one seed" in finding.sentence
    powerless = uniform >= 0.9
    assert ("so nothing can be concluded" in findings[1].sentence) is powerless


def guided(
    uniform: float,
    own: float,
    base: float,
    adversary: float,
    source: Outputs = Outputs(said(0.9), pointing(3)),  # noqa: B008
) -> Results:
    """Guides that are right so often, and the adversary that the last had its weights from."""
    return results(
        **{
            "guide_uniform": Outputs(said(uniform), FLAT),
            "guide_own": Outputs(said(own), FLAT),
            "guide_base": Outputs(said(base), BASE.weights),
            "guide_adversary": Outputs(said(adversary), source.weights),
            f"adversary_{GUIDE_LAMBDA:g}".replace(".", "__"): source,
        }
    )


@pytest.mark.parametrize("adversary", [0.5, 0.9])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (BASE, "hardly other weights"),
        (Outputs(said(0.9), pointing(0, 0.85)), "hardly other weights"),
        (Outputs(said(0.7), pointing(3)), "does not say the same"),
    ],
)
def test_an_adversary_that_is_none_is_no_evidence(
    source: Outputs, why: str, adversary: float
) -> None:
    """With other weights and the same predictions the very same guides decide."""
    finding = concluded("guide", guided(0.6, 0.8, 0.9, adversary, source), "adversary")
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert why in finding.sentence
    decided = concluded("guide", guided(0.6, 0.8, 0.9, adversary), "adversary")
    assert decided.verdict is (Verdict.PASS if adversary == 0.5 else Verdict.FAIL)
    assert {"mean_jsd", "mean_tvd"} <= {e.statistic for e in decided.estimates}


def shifted(right: float, seed: int) -> Outputs:
    """Right on so many instances, others for each seed."""
    wrong = torch.from_numpy(np.random.default_rng(seed).permutation(N) >= round(right * N))
    predicted = torch.where(wrong, 1 - LABELS, LABELS)
    yes = torch.where(predicted == 1, 0.9, 0.1)
    return Outputs(torch.stack([1 - yes, yes], 1).log(), FLAT)


def test_intervals_cover_other_seeds_where_several_are_at_hand() -> None:
    """Five trainings that spread by chance: a loss beyond the texts' interval is not certain."""
    variants = Variants(Recipe(), TrainingSettings(seeds=4))
    uniform = {"uniform": Outputs(said(0.8), FLAT)}
    alone = concluded("uniform", results_of(uniform, variants), "uniform")
    assert alone.verdict is Verdict.PASS
    assert ONE_SEED in alone.notes
    assert "one seed" in alone.sentence
    accuracies = (0.9, 0.7, 0.94, 0.6, 0.8)  # the first is the base
    others = {f"seed {k}": shifted(a, k) for k, a in enumerate(accuracies[1:], start=1)}
    found = concluded("uniform", results_of(uniform | others, variants), "uniform")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert ONE_SEED not in found.notes
    sd = np.std(accuracies, ddof=1)
    assert f"SD {sd:.3f} of 5 trainings" in found.sentence
    spread = next(e for e in found.estimates if e.statistic == "accuracy_seed_sd")
    assert spread.value == pytest.approx(sd, abs=1e-9)
    assert spread.low < sd < spread.high
    # against the closed form: independent errors over instances and over seeds
    reach = scipy.stats.t.ppf(0.975, 4) * sd * np.sqrt(2)
    for end in ("low", "high"):
        before = getattr(alone.headline, end) - alone.headline.value
        after = getattr(found.headline, end) - found.headline.value
        assert abs(after) == pytest.approx(np.hypot(before, reach))
    # seeds that all say the same leave the interval as it is
    same = results_of(uniform | dict.fromkeys(others, BASE), variants)
    assert concluded("uniform", same, "uniform").headline == alone.headline


@pytest.mark.parametrize(
    ("adversary", "seed", "verdict", "words"),
    [
        (pointing(3), pointing(0, 0.8), Verdict.FAIL, "not the only story"),
        (pointing(0, 0.7), pointing(3), Verdict.PASS, "gets further than another seed"),
        (pointing(0, 0.3), pointing(0, 0.8), Verdict.INCONCLUSIVE, "somewhat further"),
    ],
)
def test_adversaries_are_set_beside_the_most_different_seed(
    adversary: tuple[torch.Tensor, ...],
    seed: tuple[torch.Tensor, ...],
    verdict: Verdict,
    words: str,
) -> None:
    found = results(
        adversary_0=Outputs(said(0.9), BASE.weights),
        adversary_0__001=Outputs(said(0.9, 0.88), adversary),
        adversary_0__01=Outputs(said(0.3), pointing(5, 0.999)),  # too far from the predictions
        seed_1=Outputs(said(0.9), BASE.weights),
        seed_2=Outputs(said(0.8), seed),
    )
    finding = concluded("trained_adversary", found)
    assert finding.verdict is verdict
    assert words in finding.sentence
    assert "λ = 0.001" in finding.sentence
    lead = found.column(VARIANTS.adversary(1e-3), "jsd") - found.column(VARIANTS.learned(2), "jsd")
    assert finding.headline.value == pytest.approx(np.mean(lead))
    beyond = next(e for e in finding.estimates if e.statistic == "beyond_seeds_share")
    assert beyond.null == pytest.approx(1 / 3)  # of two seeds and one more
    assert "where one more seed would be on 33%" in finding.sentence
    assert "percentile" not in finding.sentence  # a mean is no single value
    means = [float(found.column(VARIANTS.learned(k), "jsd").mean()) for k in (1, 2)]
    mean = float(found.column(VARIANTS.adversary(1e-3), "jsd").mean())
    assert f"above that of {sum(m < mean for m in means)} of 2 other seeds" in finding.sentence


def test_adversaries_that_do_not_keep_the_predictions_decide_nothing() -> None:
    far = Outputs(said(0.3), pointing(3))
    found = results(adversary_0=far, adversary_0__001=far, seed_1=BASE, seed_2=BASE)
    finding = concluded("trained_adversary", found)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "No adversary keeps the predictions" in finding.sentence
    assert any("'adversary 0.01' has failed" in note for note in finding.notes)
    alone = concluded("trained_adversary", results(adversary_0=BASE))
    assert alone.verdict is Verdict.NOT_APPLICABLE


def test_every_picture_is_of_the_numbers_of_its_findings() -> None:
    """Made-up outputs, so that every row and point is known."""
    seeds = {"seed 1": Outputs(said(0.9), pointing(0, 0.8)), "seed 2": BASE}
    found = results_of(
        {
            **guided(0.6, 0.8, 0.9, 0.5).outputs,
            **seeds,
            "uniform": Outputs(said(0.6), FLAT),
            "adversary 0": Outputs(said(0.9), pointing(3)),
        }
    )
    drawn = {}
    for name in ("uniform", "seeds", "guide", "trained_adversary"):
        check = CHECKS[name]
        figure, *tables = check.picture(found, check.conclude(found))
        drawn[name] = figure.chart
        assert tables
        assert figure.description
    (row,) = drawn["uniform"].rows  # the other replacements were not trained
    assert row.estimates[0].value == pytest.approx(0.3, abs=0.005)
    assert [row.estimates[0].value for row in drawn["guide"].rows] == pytest.approx(
        [0.6, 0.8, 0.9, 0.5], abs=0.005
    )
    assert sum(half.n for row in drawn["seeds"].rows for half in row.halves) == N
    adversaries, others, uniform = drawn["trained_adversary"].rows
    assert [label for _, _, label in adversaries.points] == ["λ = 0"]
    assert {label for _, _, label in others.points} == {"seed 1", "seed 2"}
    assert uniform.points[0][1] == pytest.approx(
        found.column(VARIANTS.replaced("uniform"), "tvd").mean()
    )
