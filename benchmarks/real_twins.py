"""What verdicts say of real classifiers, and of twins that were trained to hide what they use.

Each model is trained twice on the same texts: as usual, and with the penalty of Pruthi et al. 2020
that keeps the weight off the words that tell the classes apart. Which words these are is read off a
logistic regression on counts of words, which no model here has seen. Nobody knows the right verdict
of a usual model; a twin that classifies well may not pass.

`python -m benchmarks.real_twins FOLDER`, with one sub-folder per data set, such as `sst`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

import attnaudit
from attnaudit.data.records import Dataset, Text
from attnaudit.data.sources.resolve import resolve
from attnaudit.training.guidance import hide_evidence
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train

SETS = ("sst", "ag_news", "imdb", "newsgroups_sports")
ENCODERS, ATTENTIONS = ("bilstm", "cnn", "average"), ("additive", "dot")
LONGEST = 120
TELLING = 0.9
"""The share of a text's units that tell the least: the others count as telling."""


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        data: The data set.
        encoder: Of the model.
        attention: Of the model.
        seed: Of its training run.
        twin: Whether it was trained to hide.
        accuracy: On the test texts.
        hidden: Mean weight on telling words.
        verdict: Of the audit.
        attained: The headline of the check `effect`.
        moved: The headline of the check `permutation`.
        recommended: What the audit would show instead.
        sentence: Why.
        seconds: CPU time of the audit.
    """

    data: str
    encoder: str
    attention: str
    seed: int
    twin: bool
    accuracy: float
    hidden: float
    verdict: str
    attained: float | None
    moved: float | None
    recommended: str | None
    sentence: str
    seconds: float


def prepared(name: str, folder: Path, limit: int, tests: int) -> dict[str, Dataset]:
    """Splits with at most `LONGEST` units per text, in which telling words are marked."""
    splits = resolve(name, data_dir=folder / name, max_length=LONGEST).splits()
    cut = {"train": limit, "dev": tests, "test": tests}
    small = {s: splits[s].select(_drawn(splits[s].records, n)) for s, n in cut.items()}
    counts = CountVectorizer(analyzer=lambda units: [u.lower() for u in units], min_df=5)
    rows = counts.fit_transform([r.units for r in small["train"]])
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(rows, [r.label for r in small["train"]])
    size = dict(zip(counts.get_feature_names_out(), np.abs(fitted.coef_).max(0), strict=True))
    return {s: d.select([_marked(r, size) for r in d]) for s, d in small.items()}


def _drawn(records: Sequence[Text], most: int) -> list[Text]:
    order = np.random.default_rng(0).permutation(len(records))[:most]
    return [records[i] for i in sorted(order)]


def _marked(record: Text, size: dict[str, float]) -> Text:
    sizes = np.array([size.get(unit.lower(), 0.0) for unit in record.units])
    telling = (sizes >= np.quantile(sizes, TELLING)) & (sizes > 0)
    return replace(record, truth=tuple(bool(flag) for flag in telling))


def measured(
    splits: dict[str, Dataset], data: str, encoder: str, attention: str, seed: int, twin: bool
) -> Row:
    """Train one model and audit it without the marks."""
    penalty = hide_evidence(splits["train"].records, 1.0) if twin else None
    done = train(
        splits,
        encoder=encoder,
        attention=attention,
        hidden=64,
        embedding_dim=64,
        penalty=penalty,
        progress=False,
        options=TrainOptions(epochs=6, seed=seed),
    )
    plain = splits["test"].select([replace(r, truth=None) for r in splits["test"]])
    start = time.process_time()
    audit = attnaudit.audit(done.model, plain, progress=False)
    seconds = time.process_time() - start
    own = {f.check: f for f in audit.findings if f.subject == "weights"}
    heads = {name: f.headline.value if f.headline else None for name, f in own.items()}
    truth = {r.id: r.truth for r in splits["test"]}
    rows = zip(audit.instances["id"], audit.instances["scores.weights"], strict=True)
    hidden = np.mean([sum(np.array(w)[np.array(truth[i])]) for i, w in rows])
    right = (audit.instances["predicted"] == audit.instances["label"]).mean()
    return Row(
        data,
        encoder,
        attention,
        seed,
        twin,
        float(right),
        float(hidden),
        audit.verdict.value,
        heads.get("effect"),
        heads.get("permutation"),
        audit.report.judgement.recommended,
        audit.report.judgement.headline,
        seconds,
    )


def table(rows: Sequence[Row]) -> str:
    """One line per model, twins beside."""
    lines = [
        "| data | encoder | attention | seed | twin | accuracy | weight on telling words | "
        "attained share | moved | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        shown = ["–" if v is None else f"{v:.2f}" for v in (r.attained, r.moved)]
        lines.append(
            f"| {r.data} | {r.encoder} | {r.attention} | {r.seed} | {'yes' if r.twin else ''} | "
            f"{r.accuracy:.2f} | {r.hidden:.2f} | {shown[0]} | {shown[1]} | {r.verdict} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and audit what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=3000)
    parser.add_argument("--tests", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("build/real-twins"))
    chosen = parser.parse_args(arguments)
    rows = []
    for name in chosen.sets:
        splits = prepared(name, chosen.folder, chosen.limit, chosen.tests)
        grid = itertools.product(ENCODERS, ATTENTIONS, range(chosen.seeds), (False, True))
        for encoder, attention, seed, twin in grid:
            rows.append(measured(splits, name, encoder, attention, seed, twin))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (chosen.out / "rows.json").write_text(text, encoding="utf-8")
    (chosen.out / "table.md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
