"""The paper's claims, each from the cells that can speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from attnaudit.studies.claims import SEEDS, above, below, claim_of, difference, measured, over
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.jain2019.measure import MUTUAL, TO_GRADIENT, TO_LOO
from attnaudit.studies.jain2019.paper import SOURCE, Paper
from attnaudit.studies.jain2019.settings import SETTINGS, difference_of
from attnaudit.studies.schema import CellRecord, Claim, Holds, Measured, Part

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

Found = Callable[[CellRecord], Measured | None]


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    paper = Paper(results.reference)
    return (
        _performance(results, paper),
        _weak(results, paper),
        _encoders(results, paper),
        _yardsticks(results, paper),
        _permutation(results),
        _peaked(results, paper),
        _adversaries(results, paper),
    )


def _performance(results: Results, paper: Paper) -> Claim:
    def parts(data: str, attention: str) -> Iterator[Part]:
        stated = paper.performance(data, "bilstm", attention)

        def near(found: Measured | None) -> Holds:
            return Holds.NOT_MEASURED if stated is None else above(found, stated - NEAR)

        yield from _by_seed(
            results,
            data,
            attention,
            _value("accuracy", "model", "accuracy"),
            stated,
            near,
            gated=False,
        )

    return claim_of(
        _counted(results, parts, generated=False),
        id="performance",
        claim="The models audited are as good as the paper's (BiLSTM).",
        paper="Accuracy .81 on SST, .90 on IMDB, .92 on 20 Newsgroups, .96 on AG News, 1.00 on "
        f"bAbI 1, .78 on SNLI, BiLSTM + additive ({SOURCE}).",
        rule=f"The interval of the accuracy lies above the paper's less {NEAR}. {SEEDS}",
        note=_note(results),
    )


def _weak(results: Results, paper: Paper) -> Claim:
    def parts(data: str, attention: str) -> Iterator[Part]:
        for pair, name in ((TO_GRADIENT, "gradient"), (TO_LOO, "leave-one-out")):
            yield from _by_seed(
                results,
                data,
                attention,
                _value("kendall_tau", pair, TAU),
                paper.tau(data, "bilstm", attention, pair),
                lambda m: _within(m, WEAK),
                suffix=f"with {name}",
            )

    return claim_of(
        _counted(results, parts),
        id="weak_correlation",
        claim="In a BiLSTM, attention weights correlate only weakly with gradients and with "
        "leave-one-out.",
        paper=f"tau with the gradient .35 on SST, .44 on IMDB, .13 on 20 Newsgroups, .39 on AG "
        f"News, .25 on bAbI 1; with leave-one-out .29 on SST ({SOURCE}).",
        rule=f"The interval of the mean tau lies between −{WEAK} and {WEAK}. {SEEDS}",
        note=_note(results),
    )


def _encoders(results: Results, paper: Paper) -> Claim:
    def parts(data: str, attention: str) -> Iterator[Part]:
        stated = None
        ends = [paper.tau(data, e, attention, TO_GRADIENT) for e in ("average", "bilstm")]
        if ends[0] is not None and ends[1] is not None:
            stated = ends[0] - ends[1]
        tau = _value("kendall_tau", TO_GRADIENT, TAU)
        pairs: list[tuple[int, Measured | None]] = []
        weak = False
        for record in results.where(data=data, attention=attention, encoder="bilstm"):
            seed = record.spec["seed"]
            other = results.where(data=data, attention=attention, encoder="average", seed=seed)
            if other:
                gap = difference(tau(other[0]), tau(record), f"difference of {TAU}")
                pairs.append((seed, gap))
                weak |= "fail" in (record.facts.get("gate"), other[0].facts.get("gate"))
        yield from _seeds(data, attention, pairs, stated, lambda m: above(m, WELL), weak=weak)

    return claim_of(
        _counted(results, parts),
        id="bilstm_below_average",
        claim="Attention over a BiLSTM agrees far less with gradients than attention over a "
        "plain projection of the words (the average encoder).",
        paper=f"The average encoder's tau is higher by .25 on SST, .24 on IMDB, .64 on 20 "
        f"Newsgroups, .38 on AG News and .47 on bAbI 1 ({SOURCE}).",
        rule=f"The interval of the difference of the mean taus, as of two independent samples, "
        f"lies above {WELL}. {SEEDS}",
        note=_note(results),
    )


def _yardsticks(results: Results, paper: Paper) -> Claim:
    def parts(data: str, attention: str) -> Iterator[Part]:
        stated = None
        ends = [paper.tau(data, "bilstm", attention, p) for p in (MUTUAL, TO_LOO)]
        if ends[0] is not None and ends[1] is not None:
            stated = ends[0] - ends[1]
        yield from _by_seed(
            results,
            data,
            attention,
            _value("tau_difference", f"{MUTUAL} - {TO_LOO}", f"difference of {TAU}"),
            stated,
            lambda m: above(m, 0.0),
        )

    return claim_of(
        _counted(results, parts),
        id="gradient_agrees_with_leave_one_out",
        claim="Gradients agree with leave-one-out better than attention weights do (BiLSTM).",
        paper="tau of gradient and leave-one-out exceeds tau of attention and leave-one-out: .66 "
        f"against .29 on SST (section 4.1, figures 3 and 4; {SOURCE}).",
        rule="The interval of the difference, paired by instance, lies above 0. " + SEEDS,
        note=_note(results),
    )


def _permutation(results: Results) -> Claim:
    found = _value("median_tvd", "weights", "mean over texts of the median output change (0 to 1)")

    def parts(data: str, attention: str) -> Iterator[Part]:
        if SETTINGS[data].kind == "answers":
            yield from _by_seed(
                results, data, attention, found, None, lambda m: above(m, MOVES), MOVED
            )
        elif SETTINGS[data].kind == "classification":
            yield from _informing(
                data,
                _by_seed(results, data, attention, found, None, lambda m: below(m, STILL), UNMOVED),
            )

    counted = [
        part.model_copy(update={"half": MOVED if MOVED in part.of else UNMOVED})
        for part in _counted(results, parts)
    ]
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
        note=_note(results),
        halves=(MOVED, UNMOVED),
    )
    known = {p.half for p in counted if p.counts and p.holds is not Holds.NOT_MEASURED}
    if len(known) == 1:
        note = f"Only one half could be measured: '{known.pop()}'. {claim.note}"
        claim = claim.model_copy(update={"note": note})
    return claim.model_copy(update={"measured": None})


def _peaked(results: Results, paper: Paper) -> Claim:
    found = _value(
        "median_of_median_tvd",
        "weights",
        "median over instances of the median output change (0 to 1)",
        "peaked",
    )

    def parts(data: str, attention: str) -> Iterator[Part]:
        if SETTINGS[data].kind == "classification":
            stated = paper.peaked(data, "bilstm", attention)
            yield from _informing(
                data, _by_seed(results, data, attention, found, stated, lambda m: below(m, STILL))
            )

    return claim_of(
        _counted(results, parts),
        id="small_change_where_peaked",
        claim="Even where one word has most of the weight, permuting the weights often changes "
        "little (sentiment, BiLSTM).",
        paper="SST: medians of .06 to .08 where the largest weight is .5 to .75, about .11 "
        "beyond (figure 6, read off).",
        rule="Among instances whose largest weight is .5 or more, the interval of the median "
        f"lies below {STILL}; topics are shown for information. {SEEDS}",
        note=_note(results),
    )


def _informing(data: str, parts: Iterable[Part]) -> Iterator[Part]:
    """Parts that count for sentiment, and are shown for other classifications."""
    for part in parts:
        yield part if SETTINGS[data].sentiment else part.model_copy(update={"counts": False})


def _adversaries(results: Results, paper: Paper) -> Claim:
    def parts(data: str, attention: str) -> Iterator[Part]:
        for kind, name in (
            ("search", "published search"),
            ("exact", "certified maximum"),
            ("bounded", "best found"),
        ):
            for part in _by_seed(
                results,
                data,
                attention,
                _value("contestable_share", kind, "share of instances (0 to 1)"),
                None,
                lambda m: above(m, MOST),
                suffix=name,
            ):
                if part.measured is not None:
                    yield part if kind == "search" else part.model_copy(update={"counts": False})

    quarter = paper.adversary("sst", "bilstm", "additive", "q25")
    stated = "" if quarter is None else f" Three quarters of SST lie above {quarter:.2f}."
    return claim_of(
        _counted(results, parts),
        id="adversaries_exist",
        claim="For most instances very different weights (JSD above .4) leave the prediction where "
        "it was (change of .05 at most; BiLSTM).",
        paper="On SST the largest divergence found peaks near .5, of .69 possible (section 4.2.2, "
        "figures 7 and 8)." + stated,
        rule="The interval of the share of instances for which the published search finds such "
        f"weights lies above {MOST}. {SEEDS} The certified maximum stands beside it.",
        note=_note(results),
    )


def _counted(
    results: Results,
    parts: Callable[[str, str], Iterator[Part]],
    *,
    generated: bool = True,
) -> list[Part]:
    """Parts of every data set and attention; which of them count is decided here.

    Additive attention counts, the dot product only where nothing else was run. Generated data
    count only where no real set was measured.
    """
    present = {str(r.spec["attention"]) for r in results.records}
    first = "additive" if "additive" in present or not present else sorted(present)[0]
    found = [
        (data, attention, part if attention == first else part.model_copy(update={"counts": False}))
        for data in SETTINGS
        for attention in sorted(present, key=lambda a: a != first)
        for part in parts(data, attention)
        if generated or not SETTINGS[data].generated
    ]
    # a set that can tell nothing is not replaced by generated data either
    real = any(
        attention == first and part.measured is not None and not SETTINGS[data].generated
        for data, attention, part in found
    )
    return [
        part.model_copy(update={"counts": False}) if real and SETTINGS[data].generated else part
        for data, _, part in found
    ]


def _value(statistic: str, subject: str, unit: str, group: str = "all") -> Found:
    return lambda record: measured(find(record.rows, statistic, subject, group), unit)


def _by_seed(
    results: Results,
    data: str,
    attention: str,
    found: Found,
    stated: float | None,
    rule: Callable[[Measured | None], Holds],
    suffix: str = "",
    *,
    gated: bool = True,
) -> Iterator[Part]:
    """One part a data set, and one a seed where there are several.

    What is measured on a model near chance decides nothing and does not count, unless `gated` is
    off.
    """
    records = results.where(data=data, encoder="bilstm", attention=attention)
    pairs = [(int(r.spec["seed"]), found(r)) for r in records]
    weak = gated and any(r.facts.get("gate") == "fail" for r in records)
    yield from _seeds(data, attention, pairs, stated, rule, suffix, weak=weak)


def _seeds(
    data: str,
    attention: str,
    pairs: Sequence[tuple[int, Measured | None]],
    stated: float | None,
    rule: Callable[[Measured | None], Holds],
    suffix: str = "",
    *,
    weak: bool = False,
) -> Iterator[Part]:
    if not pairs:
        return
    whole = over([m for _, m in pairs])
    rule, suffix = _doubtful if weak else rule, _with(suffix, weak)
    words = [SETTINGS[data].title, attention, suffix]
    yield Part(
        of=", ".join(w for w in words if w),
        measured=whole,
        paper=stated,
        holds=rule(whole),
        counts=not weak,
    )
    for seed, one in pairs if len(pairs) > 1 else ():
        words = [SETTINGS[data].title, attention, f"seed {seed}", suffix]
        yield Part(
            of=", ".join(w for w in words if w),
            measured=one,
            paper=stated,
            holds=rule(one),
            counts=False,
        )


def _doubtful(found: Measured | None) -> Holds:
    return Holds.NOT_MEASURED if found is None else Holds.UNDECIDED


def _with(suffix: str, weak: bool) -> str:
    return ", ".join(t for t in (suffix, "a model near chance" if weak else "") if t)


def _within(found: Measured | None, bar: float) -> Holds:
    """Yes where the interval lies within ±bar, no where it lies outside."""
    answers = {below(found, bar), above(found, -bar)}
    if Holds.NO in answers:
        return Holds.NO
    return answers.pop() if len(answers) == 1 else Holds.UNDECIDED


def _note(results: Results) -> str:
    """How the data here differ from the paper's, set by set."""
    used = [d for d in SETTINGS if results.where(data=d)]
    texts = []
    for data in used:
        said = difference_of(data, results.where(data=data)[0].spec)
        texts += [f"{SETTINGS[data].title}: {said}"] if said else []
    limited = {r.spec["train_limit"] for r in results.records} - {None}
    if limited:
        texts.insert(0, f"At most {min(limited):,} training texts a set")
    if used and all(SETTINGS[d].generated for d in used):
        texts.insert(0, "Generated data stand in for the paper's, which were not given")
    if not used:
        return "No data set could be measured."
    return ". ".join(texts) + "." if texts else ""
