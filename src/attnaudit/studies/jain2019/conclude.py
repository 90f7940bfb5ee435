"""The paper's claims, each from the cells that can speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from attnaudit.studies.claims import (
    SEEDS,
    Found,
    Rule,
    above,
    below,
    claim_of,
    data_notes,
    difference,
    less,
    near_chance,
    seed_parts,
    shown,
    stood_in,
    value,
)
from attnaudit.studies.declaration import Results
from attnaudit.studies.jain2019.measure import MUTUAL, TO_GRADIENT, TO_LOO
from attnaudit.studies.jain2019.paper import SOURCE, Paper
from attnaudit.studies.jain2019.settings import SETTINGS, difference_of
from attnaudit.studies.schema import Claim, Holds, Measured, Part

TAU = "mean Kendall tau-b (−1 to 1)"
WELL = 0.1
"""How far below counts as well below. Ours; the paper's gaps are .2 and more."""
WEAK = 0.5
"""Below this tau agreement is weak: fewer than three of four pairs ordered alike. Ours."""
MOST = 0.5
MOVES, STILL = 0.3, 0.1
"""Mean over instances of the median output change: strong from, hardly any up to. Ours."""
MOVED, UNMOVED = "moves strongly", "hardly moves"
NEAR = 0.05
"""How far below the paper's accuracy still counts as near. Ours."""


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    paper, note = Paper(results.reference), _note(results)
    real = [name for name, setting in SETTINGS.items() if not setting.generated]
    quarter = paper.adversary("sst", "bilstm", "additive", "q25")
    stated = "" if quarter is None else f" Three quarters of SST lie above {quarter:.2f}."
    return (
        claim_of(
            _counted(results, partial(_performance, results, paper), real),
            id="performance",
            claim="The models audited are as good as the paper's (BiLSTM).",
            paper="Accuracy .81 on SST, .90 on IMDB, .92 on 20 Newsgroups, .96 on AG News, 1.00 on "
            f"bAbI 1, .78 on SNLI, BiLSTM + additive ({SOURCE}).",
            rule=f"The interval of the accuracy lies above the paper's less {NEAR}. {SEEDS}",
            note=note,
        ),
        claim_of(
            _counted(results, partial(_weak, results, paper)),
            id="weak_correlation",
            claim="In a BiLSTM, attention weights correlate only weakly with gradients and with "
            "leave-one-out.",
            paper="tau with the gradient .35 on SST, .44 on IMDB, .13 on 20 Newsgroups, .39 on AG "
            f"News, .25 on bAbI 1; with leave-one-out .29 on SST ({SOURCE}).",
            rule=f"The interval of the mean tau lies between −{WEAK} and {WEAK}. {SEEDS}",
            note=note,
        ),
        claim_of(
            _counted(results, partial(_encoders, results, paper)),
            id="bilstm_below_average",
            claim="Attention over a BiLSTM agrees far less with gradients than attention over a "
            "plain projection of the words (the average encoder).",
            paper="The average encoder's tau is higher by .25 on SST, .24 on IMDB, .64 on 20 "
            f"Newsgroups, .38 on AG News and .47 on bAbI 1 ({SOURCE}).",
            rule="The interval of the difference of the mean taus, as of two independent samples, "
            f"lies above {WELL}. {SEEDS}",
            note=note,
        ),
        claim_of(
            _counted(results, partial(_yardsticks, results, paper)),
            id="gradient_agrees_with_leave_one_out",
            claim="Gradients agree with leave-one-out better than attention weights do (BiLSTM).",
            paper="tau of gradient and leave-one-out exceeds tau of attention and leave-one-out: "
            f".66 against .29 on SST (section 4.1, figures 3 and 4; {SOURCE}).",
            rule=f"The interval of the difference, paired by instance, lies above 0. {SEEDS}",
            note=note,
        ),
        _permutation(results, note),
        claim_of(
            _counted(results, partial(_peaked, results, paper)),
            id="small_change_where_peaked",
            claim="Even where one word has most of the weight, permuting the weights often changes "
            "little (sentiment, BiLSTM).",
            paper="SST: medians of .06 to .08 where the largest weight is .5 to .75, about .11 "
            "beyond (figure 6, read off).",
            rule="Among instances whose largest weight is .5 or more, the interval of the median "
            f"lies below {STILL}; topics are shown for information. {SEEDS}",
            note=note,
        ),
        claim_of(
            _counted(results, partial(_adversaries, results)),
            id="adversaries_exist",
            claim="For most instances very different weights (JSD above .4) leave the prediction "
            "where it was (change of .05 at most; BiLSTM).",
            paper="On SST the largest divergence found peaks near .5, of .69 possible (section "
            f"4.2.2, figures 7 and 8).{stated}",
            rule="The interval of the share of instances for which the published search finds such "
            f"weights lies above {MOST}. {SEEDS} The certified maximum stands beside it.",
            note=note,
        ),
    )


def _performance(results: Results, paper: Paper, data: str, attention: str) -> Iterator[Part]:
    stated = paper.performance(data, "bilstm", attention)

    def near(found: Measured | None) -> Holds:
        return Holds.NOT_MEASURED if stated is None else above(found, stated - NEAR)

    found = value("accuracy", "model", "accuracy")
    return _by_seed(results, data, attention, found, near, stated, gated=False)


def _weak(results: Results, paper: Paper, data: str, attention: str) -> Iterator[Part]:
    for pair, name in ((TO_GRADIENT, "with gradient"), (TO_LOO, "with leave-one-out")):
        stated = paper.tau(data, "bilstm", attention, pair)
        found = value("kendall_tau", pair, TAU)
        yield from _by_seed(results, data, attention, found, _weakly, stated, name)


def _encoders(results: Results, paper: Paper, data: str, attention: str) -> Iterator[Part]:
    stated = less(*(paper.tau(data, e, attention, TO_GRADIENT) for e in ("average", "bilstm")))
    tau = value("kendall_tau", TO_GRADIENT, TAU)
    others = {
        r.spec["seed"]: r for r in results.where(data=data, attention=attention, encoder="average")
    }
    pairs = [
        (record, others[record.spec["seed"]])
        for record in results.where(data=data, attention=attention, encoder="bilstm")
        if record.spec["seed"] in others
    ]
    gaps = [
        (int(own.spec["seed"]), difference(tau(other), tau(own), f"difference of {TAU}"))
        for own, other in pairs
    ]
    weak = any(near_chance(record) for pair in pairs for record in pair)
    return seed_parts(
        gaps, _named(data, attention, "", weak), lambda m: above(m, WELL), stated, weak
    )


def _yardsticks(results: Results, paper: Paper, data: str, attention: str) -> Iterator[Part]:
    stated = less(*(paper.tau(data, "bilstm", attention, p) for p in (MUTUAL, TO_LOO)))
    found = value("tau_difference", f"{MUTUAL} - {TO_LOO}", f"difference of {TAU}")
    return _by_seed(results, data, attention, found, lambda m: above(m, 0.0), stated)


def _permutation(results: Results, note: str) -> Claim:
    found = value("median_tvd", "weights", "mean over texts of the median output change (0 to 1)")
    sides = {
        "answers": (MOVED, lambda m: above(m, MOVES)),
        "classification": (UNMOVED, lambda m: below(m, STILL)),
    }

    def parts(data: str, attention: str) -> Iterator[Part]:
        kind = SETTINGS[data].kind
        if kind in sides:
            half, rule = sides[kind]
            for part in _by_seed(results, data, attention, found, rule, None, half):
                yield _of_sentiment(data, part.model_copy(update={"half": half}))

    counted = _counted(results, parts)
    known = {p.half for p in counted if p.counts and p.holds is not Holds.NOT_MEASURED}
    if len(known) == 1:
        note = f"Only one half could be measured: '{known.pop()}'. {note}"
    claim = claim_of(
        counted,
        id="permutation",
        claim="Permuting the weights hardly moves the output of sentiment classifiers, and moves "
        "it strongly where a question needs certain facts (bAbI).",
        paper="Quartiles of the median output change on bAbI 1 lie near .7 and above in every "
        "bin; on SST the medians of the lower bins lie at .03 to .05 (figure 6, read off).",
        rule=f"bAbI: the interval of the mean lies above {MOVES}. Sentiment: it lies below "
        f"{STILL}; topics are shown for information. Both halves must hold; one that fails is "
        f"enough to fail. {SEEDS}",
        note=note,
        halves=(MOVED, UNMOVED),
    )
    return claim.model_copy(update={"measured": None})


def _peaked(results: Results, paper: Paper, data: str, attention: str) -> Iterator[Part]:
    if SETTINGS[data].kind == "classification":
        unit = "median over instances of the median output change (0 to 1)"
        found = value("median_of_median_tvd", "weights", unit, "peaked")
        stated = paper.peaked(data, "bilstm", attention)
        for part in _by_seed(results, data, attention, found, lambda m: below(m, STILL), stated):
            yield _of_sentiment(data, part)


def _of_sentiment(data: str, part: Part) -> Part:
    """Topics are shown and do not count."""
    topic = SETTINGS[data].kind == "classification" and not SETTINGS[data].sentiment
    return shown(part) if topic else part


def _adversaries(results: Results, data: str, attention: str) -> Iterator[Part]:
    unit = "share of instances (0 to 1)"
    for kind, name in (
        ("search", "published search"),
        ("exact", "certified maximum"),
        ("bounded", "best found"),
    ):
        found = value("contestable_share", kind, unit)
        for part in _by_seed(results, data, attention, found, lambda m: above(m, MOST), None, name):
            if part.measured is not None:
                yield part if kind == "search" else shown(part)


def _counted(
    results: Results, parts: Callable[[str, str], Iterator[Part]], sets: Iterable[str] = SETTINGS
) -> list[Part]:
    """Parts of every data set and attention.

    Additive attention counts, the dot product only where nothing else was run.
    """
    present = {str(r.spec["attention"]) for r in results.records}
    first = "additive" if "additive" in present or not present else min(present)
    return stood_in(
        (SETTINGS[data].generated, attention == first, part)
        for data in sets
        for attention in sorted(present, key=lambda a: a != first)
        for part in parts(data, attention)
    )


def _by_seed(
    results: Results,
    data: str,
    attention: str,
    found: Found,
    rule: Rule,
    stated: float | None,
    suffix: str = "",
    *,
    gated: bool = True,
) -> Iterator[Part]:
    """Parts of a data set's BiLSTMs; of models near chance nothing is decided, if `gated`."""
    records = results.where(data=data, encoder="bilstm", attention=attention)
    weak = gated and any(map(near_chance, records))
    pairs = [(int(r.spec["seed"]), found(r)) for r in records]
    return seed_parts(pairs, _named(data, attention, suffix, weak), rule, stated, weak)


def _named(data: str, attention: str, suffix: str, weak: bool) -> Callable[[str], str]:
    doubt = "a model near chance" if weak else ""
    return lambda seed: ", ".join(
        filter(None, (SETTINGS[data].title, attention, seed, suffix, doubt))
    )


def _weakly(found: Measured | None) -> Holds:
    """Yes where the interval lies within ±`WEAK`, no where it lies outside."""
    answers = {below(found, WEAK), above(found, -WEAK)}
    if Holds.NO in answers:
        return Holds.NO
    return answers.pop() if len(answers) == 1 else Holds.UNDECIDED


def _note(results: Results) -> str:
    """How the data here differ from the paper's, set by set."""
    used = {d: results.where(data=d)[0] for d in SETTINGS if results.where(data=d)}
    if not used:
        return "No data set could be measured."
    differ = {d: difference_of(d, record.spec) for d, record in used.items()}
    said = [f"{SETTINGS[d].title}: {words}" for d, words in differ.items() if words]
    texts = data_notes(results.records, said, [SETTINGS[d].generated for d in used])
    return ". ".join(texts) + "." if texts else ""
