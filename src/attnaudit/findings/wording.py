"""How numbers, statistics and methods are written, the same in every report."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from attnaudit.attribution import METHODS
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import CHECKS
from attnaudit.findings.findings import Estimate, Verdict

NOTHING = "–"
MINUS = "−"
QUESTION = "May these attention weights be shown as an explanation?"

SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✕",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_APPLICABLE: "○",
}

SUBJECTS = {
    "oracle": "known evidence",
    "null": "random units",
    "random": "random scores",
    "truth": "known evidence",
    "permutation": "same weights, other order",
    "exact": "any weights, certified maximum",
    "bounded": "any weights, best found",
    "search": "any weights, published search",
    "largest weight - other weight": "largest weight less another",
}


@dataclass(frozen=True)
class Statistic:
    """What a statistic is called, and whether it is a share that reads best in percent."""

    title: str
    meaning: str
    percent: bool = False


STATISTICS = {
    "skill": Statistic("skill", "balanced accuracy over chance; 0 is chance, 1 is perfect"),
    "accuracy": Statistic("accuracy", "share of labels predicted", percent=True),
    "roc_auc": Statistic("ROC-AUC", "0.5 is chance, 1 is perfect"),
    "kendall_tau": Statistic("mean Kendall tau-b", "−1 opposite order, 0 unrelated, 1 same order"),
    "kendall_tau_null_bound": Statistic(
        "bound of unrelated orders", "the mean tau that unrelated orders stay below"
    ),
    "significant_share": Statistic(
        "share significant", "instances with p ≤ 0.05; grows with length", percent=True
    ),
    "spearman": Statistic("mean Spearman rho", "−1 opposite order, 0 unrelated, 1 same order"),
    "top_k_overlap": Statistic("mean top-k overlap", "share of highest units in common", True),
    "agreement_bar": Statistic(
        "bar in force", "the tau asked of weights: the yardsticks' own where that is lower"
    ),
    "tau_above_bar": Statistic("mean tau above its bar", "paired by instance; below 0 falls short"),
    "median_tvd": Statistic(
        "mean of median output changes",
        "mean over instances of the median total variation over permutations, 0 to 1",
    ),
    "flip_share": Statistic("share of flips", "other weights that change the decision", True),
    "same_prediction_share": Statistic(
        "share unmoved", "instances whose median change is within epsilon", percent=True
    ),
    "contestable_share": Statistic(
        "share contestable", "instances with a different explanation, same prediction", True
    ),
    "balanced_accuracy": Statistic("balanced accuracy", "every class counts alike"),
    "balanced_accuracy_above_chance": Statistic(
        "balanced accuracy over chance", "0 is chance; every class counts alike"
    ),
    "balanced_accuracy_under_null": Statistic(
        "the same, labels shuffled", "mean and range over shuffles"
    ),
    "p_value": Statistic("p", "share of shuffled labels that are predicted as well"),
    "leak": Statistic("leak", "balanced accuracy of the best probe over its reference"),
    "judge_gap": Statistic("gap", "balanced accuracy beyond a neutral judge, paired"),
    "default_mass": Statistic("mean weight on default tokens", "share of the weight", percent=True),
    "flips_by_class": Statistic(
        "flips by class", "by weights of another class, less those of the same class"
    ),
    "shortcut_share": Statistic(
        "shortcut share", "flips by weights, of flips by weights and by content", percent=True
    ),
    "max_jsd": Statistic("mean largest divergence", "Jensen-Shannon, 0 to ln 2 = 0.69"),
    "max_jsd_upper_bound": Statistic("mean upper bound of it", "Jensen-Shannon, 0 to ln 2 = 0.69"),
    "comprehensiveness": Statistic(
        "mean comprehensiveness", "fall in probability when the highest units go; higher is better"
    ),
    "sufficiency": Statistic(
        "mean sufficiency", "fall in probability when only they stay; lower is better"
    ),
    "completeness_error": Statistic(
        "mean completeness error",
        "how far the scores are from their sum, in probability; 0 is exact",
    ),
    "drifted_share": Statistic("share drifted", "erased inputs that lie outside the data", True),
    "flip_fraction": Statistic("mean units to a flip", "share of units; lower is better", True),
    "flip_mass": Statistic("mean weight to a flip", "share of the weight that must go", True),
    "never_flipped": Statistic("never flipped", "share of instances", percent=True),
    "delta_js": Statistic(
        "mean difference in divergence", "largest weight zeroed, less another one"
    ),
    "flip_by": Statistic("decision flipped by zeroing", "share of instances", percent=True),
    "comprehensiveness_over_random": Statistic(
        "mean comprehensiveness over random", "paired by instance, in probability"
    ),
    "comprehensiveness_lead": Statistic(
        "mean lead in comprehensiveness", "best other attribution less this one, paired"
    ),
    "auroc": Statistic("mean AUROC", "of each instance, for the evidence; 0.5 is chance"),
    "auroc_lead": Statistic(
        "mean lead in AUROC", "best other attribution less the weights, paired"
    ),
    "average_precision": Statistic("mean average precision", "chance is the share of evidence"),
    "token_f1": Statistic("mean unit F1", "at as many units as are evidence"),
    "evidence_share": Statistic("mean share of evidence", "among the units", percent=True),
    "mass_on_evidence": Statistic("mean weight on evidence", "share of the weight", percent=True),
    "top_one": Statistic("evidence first", "the highest weight stands on evidence", percent=True),
    "lift": Statistic("mean lift", "weight on evidence over its share of the units; 1 is chance"),
    "coverage": Statistic(
        "mean coverage", "evidence with more than an even share of the weight", percent=True
    ),
    "pooled_auroc": Statistic("pooled AUROC", "all units as one sample; n counts instances"),
    "key_type_mass": Statistic("mean weight on a kind", "share of it, by kind of evidence", True),
    "least_type_share": Statistic(
        "mean least kind",
        "smallest share of the weight on evidence that one kind has",
        percent=True,
    ),
}

PERFORMANCE = (
    "Performance",
    "Is the model good enough to audit?",
    "skill: balanced accuracy over chance",
)


def statistic(name: str) -> Statistic:
    """The wording of a statistic; an unknown one is written as it is named."""
    return STATISTICS.get(name, Statistic(name.replace("_", " "), ""))


def subject(name: str) -> str:
    """A method, or a pair of them, in words.

    Example:
        >>> subject("weights~leave_one_out"), subject("gradient-weights")
        ('attention weights and leave-one-out', 'gradient over attention weights')
    """
    if name in SUBJECTS:
        return SUBJECTS[name]
    if name in METHODS:
        return METHODS[name].title
    if len(name) > 2 and name.startswith("|") and name.endswith("|"):
        return f"size of {subject(name[1:-1])}"
    for mark, word in (("~", " and "), ("-", " over ")):
        first, found, second = name.partition(mark)
        if found:
            return f"{subject(first)}{word}{subject(second)}"
    return name.replace("_", " ")


def title_of(check: str) -> str:
    """What a check, or the gate before all checks, is called."""
    return CHECKS[check].title if check in CHECKS else PERFORMANCE[0]


def decides_of(check: Check) -> str:
    """Whether a failure of the check decides an audit, in words.

    Example:
        >>> [decides_of(CHECKS[name]) for name in ("erasure", "agreement", "adversary")]
        ['yes', 'where ground_truth cannot', 'cautions']
    """
    if not check.decisive:
        return "cautions"
    return f"where {check.stands_in_for} cannot" if check.stands_in_for else "yes"


def number(value: float | None, digits: int = 2, *, percent: bool = False) -> str:
    """A number as people read it: fixed digits, a true minus, never −0.

    Example:
        >>> number(-0.204), number(-0.001), number(0.5, percent=True), number(None)
        ('−0.20', '0.00', '50%', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if percent:
        value, digits = value * 100, max(digits - 2, 0)
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS) + ("%" if percent else "")


def digits_for(estimate: Estimate) -> int:
    """Two digits, or three or four where the interval is narrower than two can show."""
    if estimate.low is None or estimate.high is None:
        return 2
    width = estimate.high - estimate.low
    return 2 if width >= 0.02 or width == 0 else 3 if width >= 0.002 else 4


def value_of(estimate: Estimate) -> str:
    """The value of an estimate."""
    return number(
        estimate.value, digits_for(estimate), percent=statistic(estimate.statistic).percent
    )


def interval_of(estimate: Estimate) -> str:
    """The interval of an estimate, or a dash.

    Example:
        >>> interval_of(Estimate(statistic="t", subject="w", value=0.2, low=-0.1, high=0.5, n=9))
        '−0.10 to 0.50'
    """
    if estimate.low is None or estimate.high is None:
        return NOTHING
    digits, percent = digits_for(estimate), statistic(estimate.statistic).percent
    low = number(estimate.low, digits, percent=percent).removesuffix("%")
    return f"{low} to {number(estimate.high, digits, percent=percent)}"


def null_of(estimate: Estimate) -> str:
    """What to expect where there is nothing to find, or a dash."""
    if estimate.null is None:
        return NOTHING
    shown = statistic(estimate.statistic)
    if estimate.null in (0, 1) and not shown.percent:
        return f"{estimate.null:.0f}"
    return number(estimate.null, digits_for(estimate), percent=shown.percent)


def spoken(estimate: Estimate) -> str:
    """Value, interval and sample size in one phrase.

    Example:
        >>> spoken(Estimate(statistic="t", subject="w", value=0.2, low=0.1, high=0.3, n=1900))
        '0.20 (0.10 to 0.30, n = 1,900)'
    """
    if estimate.value is None:
        return f"undefined (n = {count(estimate.n)})"
    if estimate.low is None or estimate.high is None:
        return f"{value_of(estimate)} (n = {count(estimate.n)})"
    return f"{value_of(estimate)} ({interval_of(estimate)}, n = {count(estimate.n)})"


def count(value: int) -> str:
    """A count with thousands set apart."""
    return f"{value:,}"


def threshold(value: float) -> str:
    """A threshold as it was set: no digits added, none lost."""
    return f"{value:g}"


def duration(seconds: float) -> str:
    """A stretch of time.

    Example:
        >>> duration(8.25), duration(75), duration(7300)
        ('8.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def shortened(text: str, longest: int = 24) -> str:
    """Text that fits a label, cut in the middle."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def typeset(text: str) -> str:
    """A sentence with true minus signs, no −0.00, and sizes that do not break across lines.

    Example:
        >>> typeset("tau -0.00 (-0.03 to 0.01, n = 300)").replace("\u00a0", "_")
        'tau 0.00 (−0.03 to 0.01, n_=_300)'
    """
    text = re.sub(r"(?<=[\s(])-(?=\d)", MINUS, text)
    text = re.sub(rf"{MINUS}(0(?:\.0+)?)(?![\d.])", r"\1", text)
    return re.sub(r"\bn = (\d*)", lambda n: f"n\u00a0=\u00a0{_grouped(n[1])}", text)


def _grouped(digits: str) -> str:
    return count(int(digits)) if digits else ""


def prose(description: str | None) -> str:
    """A declared description without the marks of code."""
    return (description or "").replace("`", "")
