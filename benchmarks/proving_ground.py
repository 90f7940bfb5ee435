"""How often is a verdict right? Audits of models whose right verdict is known by construction.

`python -m benchmarks.proving_ground` audits every case with and without its column of known
evidence, at the default settings, and writes what came of it as a table in Markdown and JSON.
Constructions are split in two by their names: rules and bars were made on one half alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

import attnaudit
from attnaudit.audits import record
from attnaudit.data.bags.records import BagDataset
from attnaudit.measures.bootstrap import wilson_interval
from benchmarks.proving.constructions import (
    BAGS,
    DISHONEST,
    HALF_SET,
    HAND,
    HONEST,
    MILD,
    SMALL,
    Case,
    Construction,
)
from benchmarks.proving.proof import prove
from benchmarks.proving.trained import TRAINED

CONSTRUCTIONS: dict[str, Construction] = {
    c.name: c for c in (*HAND, *HALF_SET, *BAGS, *TRAINED, *SMALL, *MILD)
}
AUROC = "ground_truth/auroc."
RECORD = Path(record.__file__).with_name(record.FILE)
VERDICTS = ("pass", "fail", "inconclusive", "not applicable")


@dataclass(frozen=True)
class Outcome:
    """One audit of one case.

    Attributes:
        construction: Of the case.
        right: The right verdict.
        made_on: Whether rules were made on it.
        seed: Of the case.
        evidence: Whether the audit knew the evidence.
        verdict: What it said.
        checks: The verdict of each check.
        headlines: The headline of each check.
        recommended: What it would show instead, or in addition.
        auroc: Of the weights for the evidence.
        recommended_auroc: The same of what is recommended.
        proof: What the case is, measured.
        seconds: CPU time of the audit.
        about: Size, classes and so on.
    """

    construction: str
    right: str
    made_on: bool
    seed: int
    evidence: bool
    verdict: str
    checks: Mapping[str, str]
    headlines: Mapping[str, float | None]
    recommended: str | None
    auroc: float
    recommended_auroc: float | None
    proof: Mapping[str, float]
    seconds: float
    about: Mapping[str, object] = field(default_factory=dict)


def run(construction: str, seed: int) -> list[Outcome]:
    """Audit one case with its evidence and without."""
    torch.set_num_threads(1)
    built = CONSTRUCTIONS[construction]
    case = built.make(seed)
    proof = asdict(prove(case))
    found = []
    aurocs: dict[str, float] = {}
    for evidence in (True, False):
        start = time.process_time()
        audit = attnaudit.audit(
            case.model, case.data if evidence else without(case), progress=False
        )
        seconds = time.process_time() - start
        own = {f.check: f for f in audit.findings if f.subject not in ("random", "oracle")}
        if evidence:
            columns = [c for c in audit.instances.columns if c.startswith(AUROC)]
            aurocs = {c.removeprefix(AUROC): _mean(audit.instances[c]) for c in columns}
        better = audit.report.judgement.recommended
        found.append(
            Outcome(
                construction,
                built.right,
                built.made_on,
                seed,
                evidence,
                audit.verdict.value,
                {name: f.verdict.value for name, f in own.items()},
                {name: None if f.headline is None else f.headline.value for name, f in own.items()},
                better,
                aurocs["weights"],
                None if better is None else aurocs.get(better),
                proof,
                seconds,
                case.about,
            )
        )
    return found


def _mean(column) -> float:
    values = column.drop_nans().drop_nulls()
    return float("nan") if not len(values) else float(values.mean())


def without(case: Case):
    """The data without the known evidence."""
    data = case.data
    if isinstance(data, BagDataset):
        return replace(data, bags=tuple(replace(b, truth=None) for b in data.bags))
    return replace(data, records=tuple(replace(r, truth=None) for r in data.records))


def table(outcomes: Sequence[Outcome]) -> str:
    """Verdicts by what is right, with and without evidence, with Wilson intervals."""
    lines = [
        "| right | evidence | audits | " + " | ".join(VERDICTS) + " |",
        "|---|---|---|" + "---|" * len(VERDICTS),
    ]
    for right in dict.fromkeys(o.right for o in outcomes):
        for evidence in (True, False):
            some = [o for o in outcomes if o.right == right and o.evidence is evidence]
            counts = Counter(o.verdict for o in some)
            cells = [_share(counts[v], len(some)) for v in VERDICTS]
            known = "yes" if evidence else "no"
            lines.append(f"| {right} | {known} | {len(some)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(hits: int, n: int) -> str:
    interval = wilson_interval(hits, n, 0.95)
    if not n or interval.value is None:
        return "–"
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def by_construction(outcomes: Sequence[Outcome]) -> str:
    """One line per construction: what was said, and what was measured."""
    lines = [
        "| construction | right | half | with evidence | without | recommended is worse |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(o.construction for o in outcomes):
        some = [o for o in outcomes if o.construction == name]
        said = [
            ", ".join(
                f"{v} {k}"
                for v, k in Counter(o.verdict for o in some if o.evidence is e).most_common()
            )
            for e in (True, False)
        ]
        worse = sum(is_worse(o) for o in some)
        half = "made on" if some[0].made_on else "reported"
        lines.append(
            f"| {name} | {some[0].right} | {half} | {said[0]} | {said[1]} | "
            f"{worse} of {sum(o.recommended is not None for o in some)} |"
        )
    return "\n".join(lines)


def by_check(outcomes: Sequence[Outcome]) -> str:
    """What the answer would be without each check that decides, and with others that caution."""
    lines = [
        "| checks that decide | dishonest that pass | honest that pass | honest that fail |",
        "|---|---|---|---|",
    ]
    rules = {
        "as it is": DECIDE,
        **{f"without {name}": DECIDE - {name} for name in sorted(DECIDE)},
        **{f"and {name} too": DECIDE | {name} for name in ("agreement", "erasure", "adversary")},
    }
    for title, names in rules.items():
        cells = []
        for right, verdict in ((DISHONEST, "pass"), (HONEST, "pass"), (HONEST, "fail")):
            some = [o for o in outcomes if o.right == right and not gated(o)]
            cells.append(_share(sum(decided(o.checks, names) == verdict for o in some), len(some)))
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


DECIDE = frozenset({"effect", "permutation", "ground_truth"})


def gated(outcome: Outcome) -> bool:
    """Whether the gate kept the checks from deciding."""
    return outcome.verdict != decided(outcome.checks, DECIDE)


def decided(checks: Mapping[str, str], names: Collection[str]) -> str:
    """The rule of the judgement, on the verdicts of some checks."""
    asked = {name: verdict for name, verdict in checks.items() if name in names}
    if asked.get("ground_truth") in ("pass", "fail"):
        asked.pop("effect", None)
    found = set(asked.values()) - {"not applicable"}
    order = ("fail", "inconclusive", "pass")
    return next((verdict for verdict in order if verdict in found), "not applicable")


def is_worse(outcome: Outcome) -> bool:
    """Whether what is recommended finds the evidence less well than the weights."""
    other = outcome.recommended_auroc
    return other is not None and other < outcome.auroc - 0.005


def main(arguments: Sequence[str] | None = None) -> None:
    """Audit the cases that were asked for and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6, help="cases of each construction")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--half", choices=("made-on", "reported", "both"), default="both")
    parser.add_argument("--only", nargs="*", help="names of constructions")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/proving-ground"))
    parser.add_argument("--record", action="store_true", help="keep the counts in the package")
    chosen = parser.parse_args(arguments)
    names = [
        name
        for name, c in CONSTRUCTIONS.items()
        if (chosen.half == "both" or c.made_on is (chosen.half == "made-on"))
        and (not chosen.only or name in chosen.only)
    ]
    jobs = [(name, chosen.first + k) for name in names for k in range(chosen.seeds)]
    outcomes = list(_all(jobs, chosen.workers))
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(o) for o in outcomes], indent=1)
    (chosen.out / "outcomes.json").write_text(text, encoding="utf-8")
    cpu = sum(o.seconds for o in outcomes) / max(1, len(outcomes))
    reported = [o for o in outcomes if not o.made_on]
    parts = [
        f"## The half on which no rule was made\n\n{table(reported)}",
        f"## Both halves\n\n{table(outcomes)}",
        f"## What each check adds, on both halves\n\n{by_check(outcomes)}",
        f"## By construction\n\n{by_construction(outcomes)}",
        f"CPU seconds per audit: {cpu:.1f}\n",
    ]
    page = "\n\n".join(parts)
    (chosen.out / "tables.md").write_text(page, encoding="utf-8")
    print(page)
    if chosen.record:
        text = json.dumps(counts_of(outcomes), indent=1, sort_keys=True)
        RECORD.write_text(f"{text}\n", encoding="utf-8")


def counts_of(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, Counter[str]]]]:
    """Verdicts on the half that no rule was made on, as `attnaudit.audits.record` reads them."""
    found: dict[str, dict[str, dict[str, Counter[str]]]] = {}
    for outcome in outcomes:
        if outcome.made_on or outcome.right not in (HONEST, DISHONEST):
            continue
        reads = "bags" if outcome.construction.startswith("bag-") else "texts"
        known = "known" if outcome.evidence else "unknown"
        counts = found.setdefault(reads, {}).setdefault(known, {})
        counts.setdefault(outcome.right, Counter())[outcome.verdict] += 1
    return found


def _all(jobs: Sequence[tuple[str, int]], workers: int) -> Iterable[Outcome]:
    if workers == 1:
        for job in jobs:
            yield from run(*job)
        return
    with ProcessPoolExecutor(workers) as pool:
        for some in pool.map(run, *zip(*jobs, strict=True)):
            yield from some


if __name__ == "__main__":
    main()
