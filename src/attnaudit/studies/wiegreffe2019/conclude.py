"""The paper's claims, each from the cells that can speak to it. No bar is a number of the paper."""

from __future__ import annotations

from functools import partial

from attnaudit.checks.seeds import SHARE
from attnaudit.evidence.trainings.results import ADVANTAGE
from attnaudit.studies.claims import SEEDS, above, below, claim_of, difference, less, over, value
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.schema import CellRecord, Claim, Holds, Measured, Part
from attnaudit.studies.wiegreffe2019.paper import HALVED, RECALLED, Paper
from attnaudit.studies.wiegreffe2019.parts import LATER, configurations, counted, note_of, of_set
from attnaudit.studies.wiegreffe2019.settings import SETTINGS, Role, named

LITTLE = 0.03
"""A difference in F1 up to which it counts as little. Ours."""
SAME_GUIDE = 0.02
"""How much less F1 a guide may give and still count as no worse. Ours: the controls' margin."""
STABLE = 0.2
"""Mean divergence between seeds up to which weights count as stable. Ours: the controls' bar."""
FAR = 0.1
"""How much further than seeds counts as far beyond them. Ours."""
DIFFERENT = 0.4
"""Mean divergence from which weights are clearly different (the paper's own table)."""
EPSILON = 0.05
"""Mean output change up to which predictions count as kept (the controls' bar)."""
MARGIN = 0.02
"""Accuracy that uniform weights lose on a task that needs attention. Ours: the controls' bar."""
LOSE, AS_WELL = "uniform weights lose", "uniform weights do as well"
"""The halves of the claim about tasks."""
F1_LESS, JSD = "difference of F1 (0 to 1)", "mean Jensen-Shannon divergence (0 to .69)"
SEEDS_JSD = "mean over texts of the median divergence over seeds (0 to .69)"
TEXTS = ("sst", "imdb", "newsgroups_sports", "ag_news_binary")
NOTES = ("diabetes", "anemia")
NOT_COUNTED = "A set on which the weights can tell nothing is shown and does not count."


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    paper = Paper(results.reference)
    asked = partial(counted, results)
    note = note_of(results, *LATER, *named(Role.STAND_IN))
    return (
        claim_of(
            asked(
                value("f1_difference", "uniform/uniform", F1_LESS),
                lambda m: below(m, LITTLE),
                stated=lambda d: less(paper.f1(d, "learned"), paper.f1(d, "uniform")),
                sets=TEXTS,
            ),
            id="uniform_loses_little",
            claim="On sentiment and news, a model with uniform weights is nearly as good as one "
            "with learned attention.",
            paper="F1 .831 with learned and .822 with uniform weights on SST, .964 and .960 on AG "
            "News, .942 and .934 on 20 Newsgroups, .902 and .879 on IMDB (section 3.1, table 2; "
            f"{RECALLED}).",
            rule="The interval of the F1 of learned weights less that of uniform ones, paired by "
            f"text, lies below {LITTLE}. {SEEDS}",
            note=note_of(results, *TEXTS, *named(Role.STAND_IN)),
        ),
        _uniform_loses_on_notes(results, paper),
        claim_of(
            asked(
                value("median_jsd", "seeds/weights", SEEDS_JSD),
                lambda m: below(m, STABLE),
                doubt=_too_flat,
            ),
            id="seeds_agree",
            claim="Another seed gives much the same weights: the divergence between seeds is "
            "small, and is what every other divergence must be set beside.",
            paper="On SST most of the violins lie at small divergences; in the negative class of "
            f"Diabetes they do not (section 3.2, figure 3, without numbers; {RECALLED}).",
            rule="The interval of the mean over texts of the median divergence over seeds lies "
            f"below {STABLE}; where it does not also lie below {SHARE.value:.0%} of that of "
            "random orders, the weights are too flat to differ. "
            f"{NOT_COUNTED} {SEEDS}",
            note=note,
        ),
        claim_of(
            asked(
                value("jsd_difference", "search - seeds", f"difference of {JSD}"),
                lambda m: above(m, FAR),
            ),
            id="search_beyond_seeds",
            claim="The adversary of Jain & Wallace, free to choose weights text by text, goes far "
            "beyond what another seed does.",
            paper="On SST its violins lie far right of those of the seeds (section 3.2, figure 3, "
            f"without numbers; {RECALLED}).",
            rule="The interval of the adversary's divergence less the median over seeds, paired by "
            f"text, lies above {FAR}. {SEEDS}",
            note=note,
        ),
        claim_of(
            asked(
                value("f1_difference", "guide/base - own", F1_LESS),
                lambda m: above(m, -SAME_GUIDE),
                stated=lambda d: less(paper.guided(d, "base"), paper.guided(d, "own")),
                doubt=_powerless,
            ),
            id="base_guides",
            claim="The LSTM's weights help a context-free model at least as much as weights that "
            "it learns itself.",
            paper="F1 .824 with the LSTM's and .817 with its own weights on SST, .905 and .888 on "
            "IMDB, .753 and .699 on Diabetes, .931 and .920 on Anemia (section 3.4, table 3; "
            f"{RECALLED}).",
            rule="The interval of the F1 with the LSTM's weights less that with its own, paired by "
            f"text, lies above −{SAME_GUIDE}. Where neither gains {SAME_GUIDE} over uniform ones, "
            f"nothing can be concluded. {NOT_COUNTED} {SEEDS}",
            note=note,
        ),
        claim_of(
            asked(
                value("f1_difference", "guide/base - uniform", F1_LESS),
                lambda m: above(m, 0.0),
                stated=lambda d: less(paper.guided(d, "base"), paper.guided(d, "uniform")),
            ),
            id="uniform_guides_worse",
            claim="Uniform weights help a context-free model less than the LSTM's do.",
            paper="F1 .812 with uniform weights on SST, .863 on IMDB, .404 on Diabetes, .873 on "
            f"Anemia, each below that with the LSTM's (section 3.4, table 3; {RECALLED}).",
            rule="The interval of the F1 with the LSTM's weights less that with uniform ones, "
            f"paired by text, lies above 0. {SEEDS}",
            note=note,
        ),
        claim_of(
            asked(
                value("f1_difference", "guide/base - adversary", F1_LESS),
                lambda m: above(m, SAME_GUIDE),
                stated=lambda d: less(paper.guided(d, "base"), paper.guided(d, "adversary")),
                doubt=_no_adversary,
            ),
            id="adversary_guides_worse",
            claim="The weights of a trained adversary help a context-free model less than the "
            "LSTM's.",
            paper="F1 .592 with the adversary's weights on SST, .700 on IMDB, .503 on Diabetes, "
            f"far below; .932 on Anemia, no worse (section 3.4, table 3; {RECALLED}).",
            rule="The interval of the F1 with the LSTM's weights less that with the adversary's, "
            f"paired by text, lies above {SAME_GUIDE}. Nothing can be concluded where weights gain "
            "nothing over uniform ones, where the adversary's differ by less than "
            f"{ADVANTAGE.value}, or where its output changes by more than {EPSILON}. "
            f"{NOT_COUNTED} {SEEDS}",
            note=note,
        ),
        _trained_adversary(results, paper, note),
        claim_of(
            asked(
                value("jsd_difference", "search - trained", f"difference of {JSD}"),
                lambda m: above(m, 0.0),
            ),
            id="trained_below_search",
            claim="A model that must be consistent over all texts does not get as far from the "
            "base as the adversary that is free to choose text by text.",
            paper="The curves of the trained adversaries end left of the points of Jain & "
            f"Wallace's (section 4, figure 5, without numbers; {RECALLED}).",
            rule="The interval of the free adversary's divergence less that of the trained one "
            f"with the predictions kept, paired by text, lies above 0. {SEEDS}",
            note=note,
        ),
        _tasks(results),
    )


def _too_flat(record: CellRecord) -> str:
    """Whether the seeds agree only because the weights are flat, as the control judges it."""
    found = find(record.rows, "median_jsd", "seeds/weights")
    if found is None or found.high is None or found.null is None or found.high > STABLE:
        return ""
    flat = found.high > SHARE.value * found.null
    return "weights so flat that random orders would differ hardly more" if flat else ""


def _powerless(record: CellRecord) -> str:
    """Whether equal weights guide as well as any, so that good ones cannot be told from bad."""
    some = [find(record.rows, "f1_difference", f"guide/{s} - uniform") for s in ("base", "own")]
    highs = [e.high for e in some if e is not None and e.high is not None]
    flat = bool(highs) and all(high < SAME_GUIDE for high in highs)
    return "equal weights guide as well as any others" if flat else ""


def _no_adversary(record: CellRecord) -> str:
    """Whether the guiding adversary has the base's weights, or does not say the same."""
    jsd, tvd = (find(record.rows, f"mean_{w}", "guide/adversary") for w in ("jsd", "tvd"))
    if jsd is not None and jsd.value is not None and jsd.value < ADVANTAGE.value:
        return "an adversary that has hardly other weights"
    if tvd is not None and tvd.value is not None and tvd.value > EPSILON:
        return "an adversary that does not say the same"
    return _powerless(record)


def _uniform_loses_on_notes(results: Results, paper: Paper) -> Claim:
    parts = [
        part
        for data in NOTES
        for config in configurations(results)[:1]
        for part in of_set(
            results,
            data,
            config,
            value("f1_difference", "uniform/uniform", F1_LESS),
            lambda m: above(m, LITTLE),
            stated=less(paper.f1(data, "learned"), paper.f1(data, "uniform")),
        )
    ]
    note = (
        note_of(results, *NOTES)
        if parts
        else ("Diabetes and Anemia need your own copy of MIMIC-III; nothing stands in for them.")
    )
    return claim_of(
        parts,
        id="uniform_loses_on_notes",
        claim="On clinical notes, uniform weights lose clearly: there attention matters.",
        paper="F1 .775 with learned and .706 with uniform weights on Diabetes, .938 and .899 on "
        f"Anemia (section 3.1, table 2; {RECALLED}).",
        rule=f"The interval of the same difference lies above {LITTLE}. {SEEDS}",
        note=note,
    )


def _trained_adversary(results: Results, paper: Paper, note: str) -> Claim:
    def found(record: CellRecord) -> Measured | None:
        best = record.facts.get("best_adversary")
        return value("mean_jsd", f"trained_adversary/{best}", JSD)(record)

    parts = counted(
        results, found, lambda m: above(m, DIFFERENT), stated=lambda d: paper.adversary(d, "jsd")
    )
    tried = value("mean_jsd", "trained_adversary/uniform", JSD)
    none = [r for r in results.records if tried(r) and not r.facts.get("best_adversary")]
    if none:
        # it was sought and not found, which proves nothing
        sets = ", ".join(dict.fromkeys(SETTINGS[str(r.spec["data"])].title for r in none))
        note = f"No strength tried keeps the predictions on {sets}. {note}"
        parts = [
            p if p.measured else p.model_copy(update={"holds": Holds.UNDECIDED}) for p in parts
        ]
    return claim_of(
        parts,
        id="trained_adversary",
        claim="A whole model can be trained to say nearly the same with clearly different weights.",
        paper="Mean divergence .514 at a mean output change of .036 and F1 .823 on SST, .405 at "
        ".014 and .906 on IMDB, .409 at .015 and .775 on Diabetes, .481 at .017 and .942 on "
        f"Anemia (section 4, table 4; {RECALLED}; {HALVED}).",
        rule="Of the strengths that were tried and keep the mean output change at or below "
        f"{EPSILON}, the one with the largest mean divergence: the interval of that lies above "
        f"{DIFFERENT}. {SEEDS}",
        note=note,
    )


def _tasks(results: Results) -> Claim:
    """Not the paper's: whether its first control can tell a task that needs attention."""
    lost = value("accuracy_difference", "uniform/uniform", "difference of accuracy")
    sides = {
        Role.NECESSARY: (lambda m: above(m, MARGIN), LOSE),
        Role.USELESS: (lambda m: below(m, MARGIN), AS_WELL),
    }
    parts: list[Part] = []
    known: dict[Role, list[Measured]] = {}
    for role, (rule, suffix) in sides.items():
        for data in named(role):
            for config in configurations(results)[:1]:
                for part in of_set(results, data, config, lost, rule):
                    of = {"of": f"{part.of}: {suffix}", "half": suffix}
                    parts.append(part.model_copy(update=of))
                    if part.counts and part.measured is not None:
                        known.setdefault(role, []).append(part.measured)
    claim = claim_of(
        parts,
        id="controls_tell_tasks_apart",
        claim="The controls tell a task that needs attention from one that does not.",
        paper="Not in the paper: a check of the controls themselves, on generated tasks whose "
        "answer is known.",
        rule="Accuracy of learned less that of uniform weights: where attention is necessary its "
        f"interval lies above {MARGIN}, where it is useless below {MARGIN}. Both halves must hold; "
        f"one that fails is enough to fail. {SEEDS}",
        note=_said(results),
        halves=(LOSE, AS_WELL),
    )
    gap = None
    if len(known) == len(sides):
        unit = "accuracy lost where attention is necessary, less where useless"
        gap = difference(over(known[Role.NECESSARY]), over(known[Role.USELESS]), unit)
    elif known:
        note = f"Only one kind was measured. {claim.note}"
        claim = claim.model_copy(update={"note": note})
    return claim.model_copy(update={"measured": gap})


def _said(results: Results) -> str:
    """What the control itself says of each task, in words."""
    said = [
        f"{SETTINGS[data].title}: {finding['sentence']}"
        for data in named(Role.NECESSARY, Role.USELESS)
        for record in results.where(data=data)
        for finding in record.facts.get("findings", [])
        if (finding["control"], finding["subject"]) == ("uniform", "uniform")
    ]
    return " ".join(said) or "No generated task was measured."
