"""The proving ground of two further verdicts: explanations of pairs, and shortcuts.

`python -m benchmarks.proving_others` audits pairs of texts under a linear encoder, whose table is
known in closed form, with tables that are right or wrong by construction; and it asks the shortcut
checks of models that are set by hand, whose weights carry a code of the class or do not.

The verdict on silent failures needs no ground of its own: it is read off known keys, so the only
error it can make is to see no failure among the seeds it was given, of which the share is
`(1 - rate) ** seeds`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tests.pair_explainers import (
    HandMade,
    Values,
    constant,
    linear_siamese,
    noise,
    oracle,
    same_word,
    word_pairs,
)
from torch import Tensor

from attnaudit.audits.pairs import audit_pairs
from attnaudit.audits.run import run_audit
from attnaudit.checks.declaration import SHORTCUT
from attnaudit.findings.settings import Settings
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.measures.seeded import instance_generator
from attnaudit.models.siamese.tokens import Tokens
from benchmarks.proving.constructions import AHEAD, DISHONEST, GREY, HONEST, SMALL_DATA
from benchmarks.proving.hand import Hand, Wiring, hand_model
from benchmarks.proving.texts import Shape, Wording, texts, vocabulary, word_table

Rule = Callable[[HandMade, Tokens, Tokens], Tensor]


@dataclass(frozen=True)
class Outcome:
    """One audit.

    Attributes:
        ground: Pairs or shortcuts.
        construction: Name of the case.
        right: The right answer.
        seed: Seed of the case.
        verdict: What the audit said.
        checks: The verdict of each check.
        recommended: What it would show instead.
        seconds: CPU time of the audit.
    """

    ground: str
    construction: str
    right: str
    seed: int
    verdict: str
    checks: dict[str, str]
    recommended: str | None
    seconds: float


def blurred(share: float) -> Rule:
    """The known table with noise of a share of its own spread."""

    def rule(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
        known = oracle(explainer, a, b)
        draw = instance_generator(5, "blur", repr((a.ids, b.ids)))
        other = torch.randn(known.shape, generator=draw, dtype=known.dtype)
        return known + share * known.std() * other

    return rule


def shuffled(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    """The right numbers in the wrong places."""
    known = oracle(explainer, a, b)
    draw = instance_generator(7, "shuffle", repr((a.ids, b.ids)))
    return known.flatten()[torch.randperm(known.numel(), generator=draw)].view_as(known)


def shifted(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    """Every token of the first text has the numbers of its neighbour."""
    return oracle(explainer, a, b).roll(1, 0)


def negated(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    """What makes the texts similar is said to make them different."""
    return -oracle(explainer, a, b)


def sizes(explainer: HandMade, a: Tokens, b: Tokens) -> Tensor:
    """The size of each product without its sign."""
    return oracle(explainer, a, b).abs()


PAIR_CASES: dict[str, tuple[str, Values]] = {
    "oracle": (HONEST, oracle),
    "blur-.05": (HONEST, blurred(0.05)),
    "blur-.10": (HONEST, blurred(0.10)),
    "noise": (DISHONEST, noise),
    "same-word": (DISHONEST, same_word),
    "shuffled": (DISHONEST, shuffled),
    "shifted": (DISHONEST, shifted),
    "negated": (DISHONEST, negated),
    "sizes": (DISHONEST, sizes),
    "constant": ("nothing to show", constant),
}
KINDS = ("dot", "cosine")


def pairs(name: str, seed: int, count: int) -> Outcome:
    """Audit one table of pairs."""
    right, rule = PAIR_CASES[name]
    if count < 30:
        right = SMALL_DATA
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        encoder = linear_siamese(Path(folder), KINDS[seed % 2])
        draw = torch.Generator().manual_seed(seed)
        words = encoder.parts["text"][0].auto_model.embeddings.word_embeddings.weight
        known = words.abs().sum(1) > 0
        with torch.no_grad():
            words[known] = words.std() * torch.randn(
                int(known.sum()), words.shape[1], generator=draw
            )
        start = time.process_time()
        result = audit_pairs(
            HandMade(encoder, rule),
            word_pairs(count, seed),
            settings=Settings(),
            remake=lambda other: HandMade(other, rule),
        )
        return _outcome("pairs", name, right, seed, result.report, time.process_time() - start)


def _outcome(ground, name, right, seed, report, seconds) -> Outcome:
    own = {f.check: f.verdict.value for f in report.findings if f.subject not in ("random", "null")}
    judged = report.judgement
    return Outcome(ground, name, right, seed, judged.asked.value, own, judged.recommended, seconds)


WORDS = Wording(clues=2)
# weights that tell the class, which the decoder does not read, are grey: a leak and no shortcut
SHORTCUTS: dict[str, tuple[str, Wording, Wiring, dict[str, float | bool]]] = {
    "one-clue": (HONEST, Wording(), Wiring(), {}),
    "two-clues": (HONEST, WORDS, Wiring(), {}),
    "soft": (HONEST, Wording(clues=3), Wiring(), {"clue": 2.0}),
    "dense": (HONEST, Wording(clues=0.3), Wiring(), {}),
    "even": (HONEST, WORDS, Wiring(), {"clue": 0.0, "noise": 0.02}),
    "code": (DISHONEST, Wording(), Wiring(code=True), {}),
    "turn": (
        GREY,
        WORDS,
        Wiring(value_all=0.5, first_energy=AHEAD, last_energy=-AHEAD, turn=True),
        {},
    ),
    "turn-mild": (
        GREY,
        WORDS,
        Wiring(value_all=0.5, first_energy=4.0, turn=True),
        {"clue": 2.0},
    ),
}


def shortcut(name: str, seed: int) -> Outcome:
    """Ask the shortcut checks of one model that is set by hand."""
    right, wording, wiring, words = SHORTCUTS[name]
    classes = 2 if "turn" in name else (2, 3)[seed % 2]
    shape = Shape(classes, (9, 17)[seed // 2 % 2], 0, 8.0)
    table = word_table(classes, seed, **{"noise": 0.0, **words})
    model = hand_model(Hand(table, wiring, shape.scale), vocabulary(classes), name)
    counts = {"train": 1500, "dev": 200, "test": 240}
    splits = {}
    for part, (split, count) in enumerate(counts.items()):
        made = texts(wording, Shape(classes, shape.length, count, 8.0), 10 * seed + part)
        records = tuple(replace(r, truth=None, id=f"{split}-{r.id}") for r in made)
        splits[split] = replace(made, records=records, split=split)
    start = time.process_time()
    asked = Settings(checks=(SHORTCUT,))
    report = run_audit(model, splits["test"], asked, splits=splits).report
    return _outcome("shortcuts", name, right, seed, report, time.process_time() - start)


def tables(outcomes: Sequence[Outcome]) -> str:
    """What was said, by ground and right answer, then by construction."""
    lines = []
    for ground in dict.fromkeys(o.ground for o in outcomes):
        here = [o for o in outcomes if o.ground == ground]
        lines += [f"\n## {ground}\n", "| right | audits | said |", "|---|---|---|"]
        for right in dict.fromkeys(o.right for o in here):
            some = [o for o in here if o.right == right]
            said = []
            for verdict, hits in Counter(o.verdict for o in some).most_common():
                interval = wilson_interval(hits, len(some), 0.95)
                said.append(
                    f"{verdict} {interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
                )
            lines.append(f"| {right} | {len(some)} | {', '.join(said)} |")
        lines += ["\n| construction | right | said | checks that failed |", "|---|---|---|---|"]
        for name in dict.fromkeys(o.construction for o in here):
            some = [o for o in here if o.construction == name]
            said = ", ".join(f"{n} {v}" for v, n in Counter(o.verdict for o in some).most_common())
            failed = Counter(c for o in some for c, v in o.checks.items() if v == "fail")
            why = ", ".join(f"{n} {c}" for c, n in failed.most_common())
            lines.append(f"| {name} | {some[0].right} | {said} | {why or 'none'} |")
        cpu = sum(o.seconds for o in here) / len(here)
        lines.append(f"\nCPU seconds per audit: {cpu:.1f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Audit what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ground", choices=("pairs", "shortcuts", "both"), default="both")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=60, help="pairs of texts per audit")
    parser.add_argument("--out", type=Path, default=Path("build/proving-others"))
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    outcomes = []
    if chosen.ground != "shortcuts":
        for name in PAIR_CASES:
            outcomes += [pairs(name, seed, chosen.pairs) for seed in range(chosen.seeds)]
        outcomes += [pairs("oracle", seed, 12) for seed in range(chosen.seeds)]
    if chosen.ground != "pairs":
        for name in SHORTCUTS:
            outcomes += [shortcut(name, seed) for seed in range(chosen.seeds)]
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(o) for o in outcomes], indent=1)
    (chosen.out / "outcomes.json").write_text(text, encoding="utf-8")
    page = tables(outcomes)
    (chosen.out / "tables.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
