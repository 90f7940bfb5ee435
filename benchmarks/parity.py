"""Parity with the reference implementation: same parameters, same numbers.

Compares with the stored results of the implementation that the authors of "Attention is not
Explanation" released. Quantities without randomness must be equal within a tolerance; random ones
must agree in distribution. Prints a table, writes `build/parity.json`, fails beyond tolerance.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binom, kendalltau, ks_2samp
from tests.golden import golden_batches, golden_instances, golden_model

from attnaudit.attribution.gradient import embedding_gradient
from attnaudit.attribution.leave_one_out import deleted_outputs
from attnaudit.checks.adversary import search
from attnaudit.data.records import Text
from attnaudit.evidence.batch.view import View
from attnaudit.findings.settings import Settings
from attnaudit.measures.adversary_exact import exact_adversary
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.rank import kendall_tau
from attnaudit.models.encoded import Encoded

EXACT, TAU, EPSILON = 1e-5, 1e-4, 0.05
BATCH = 128


@dataclass(frozen=True)
class Row:
    """One compared quantity.

    Attributes:
        quantity: What is compared.
        difference: The largest difference, or the statistic of the test.
        tolerance: What it must not exceed.
        n: How many values were compared.
        how: How they were compared.
        passed: Whether they agree.
    """

    quantity: str
    difference: float
    tolerance: float
    n: int
    how: str
    passed: bool


def within(quantity: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> Row:
    """The largest absolute difference."""
    gap = float(np.abs(ours - theirs).max())
    return Row(quantity, gap, tolerance, len(ours), "largest |difference|", gap <= tolerance)


def flat(rows: list[list[float]]) -> np.ndarray:
    """Ragged lists as one array."""
    return np.concatenate([np.asarray(row, dtype=np.float64) for row in rows])


def ours() -> dict[str, list]:
    """Every quantity of the golden sentences by our code."""
    model = golden_model()
    # the search with the paper's own ε in its hinge, to be comparable
    settings = Settings(search_hinge=0.01)
    found: dict[str, list] = {
        name: []
        for name in (
            "probability",
            "attention",
            "gradient",
            "leave_one_out",
            "permutations",
            "search",
            "exact",
            "tau.attention-gradient",
            "tau.attention-leave_one_out",
            "tau.gradient-leave_one_out",
        )
    }
    for _, batch in golden_batches(BATCH):
        encoded = Encoded(model, batch)
        records = [Text(i, "", (), ()) for i in batch.ids]
        view = View(encoded, records, settings, np.ones(len(batch), bool), None)
        found["probability"] += encoded.probabilities[:, 1].tolist()
        embedded = model.embed(batch).detach()
        slope, _ = embedding_gradient(
            model, batch, embedded, torch.ones(len(batch), dtype=torch.long), hold_weights=True
        )
        raw = (embedded * slope).sum(-1).abs()
        gradient = raw / raw.sum(1, keepdim=True)
        removed = deleted_outputs(encoded, settings.token_budget)[..., 1].exp()
        change = (removed - encoded.probabilities[:, 1:]).abs()
        for row in range(len(batch)):
            there, units = batch.present[row], batch.units[row]
            found["attention"].append(encoded.weights[row][there].tolist())
            found["gradient"].append(gradient[row][there].tolist())
            found["leave_one_out"].append(removed[row][units].tolist())
        pairs = {
            "attention-gradient": (encoded.weights, raw),
            "attention-leave_one_out": (encoded.weights, change),
            "gradient-leave_one_out": (raw, change),
        }
        for name, (a, b) in pairs.items():
            found[f"tau.{name}"] += kendall_tau(a, b, batch.units).value.tolist()
        found["permutations"] += view.permutations[1][..., 1].tolist()
        found["search"] += search(encoded, settings).best_jsd.tolist()
        scores = encoded.linear.scores[..., 1] - encoded.linear.scores[..., 0]
        bias = encoded.linear.bias[..., 1] - encoded.linear.bias[..., 0]
        exact = exact_adversary(scores, bias, encoded.weights, batch.units, EPSILON)
        found["exact"] += exact.jsd.tolist()
    return found


def stored_search(rows: list[dict]) -> np.ndarray:
    """The stored search's ε-max JSD, by the released selection."""
    best = []
    for row in rows:
        attention = torch.tensor(row["attention"], dtype=torch.float64)
        others = torch.tensor(row["adversary_attention"], dtype=torch.float64)
        jsd = jensen_shannon(others, attention).numpy()
        change = np.abs(np.asarray(row["adversary_probabilities"]).ravel() - row["probability"])
        best.append(max(0.0, *jsd[change <= EPSILON]) if (change <= EPSILON).any() else 0.0)
    return np.array(best)


def random_quantities(found: dict[str, list], rows: list[dict]) -> list[Row]:
    """What agrees in distribution only."""
    mine = np.array(found["permutations"])
    theirs = np.array([np.ravel(row["permutation_probabilities"]) for row in rows])
    p = np.array([ks_2samp(a, b).pvalue for a, b in zip(mine, theirs, strict=True)])
    low = int((p <= 0.05).sum())
    most = int(binom.ppf(0.999, len(p), 0.05))
    base = np.array(found["probability"])[:, None]
    medians = [np.median(np.abs(x - base), 1) for x in (mine, theirs)]
    noise = 3.3 * (medians[0] - medians[1]).std() / np.sqrt(len(base))
    shift = abs(float((medians[0] - medians[1]).mean()))
    published, own = stored_search(rows), np.array(found["search"])
    test = ks_2samp(own, published)
    gap = abs(float(own.mean() - published.mean()))
    exact = np.array(found["exact"])
    short = float((published - exact).max())
    return [
        Row(
            "permutation outputs",
            low,
            most,
            len(p),
            "instances whose two samples of 100 differ (KS, p ≤ .05); at most the 99.9 % point of "
            "the binomial",
            low <= most,
        ),
        Row(
            "permutation median, mean",
            shift,
            noise,
            len(base),
            "|mean difference| of the medians; 3.3 standard errors",
            shift <= noise,
        ),
        Row(
            "search JSD, mean",
            gap,
            0.01,
            len(own),
            f"|difference of means|: ours {own.mean():.4f}, stored {published.mean():.4f}",
            gap <= 0.01,
        ),
        Row(
            "search JSD, distribution",
            test.statistic,
            0.05,
            len(own),
            f"largest distance of the two distribution functions (KS p = {test.pvalue:.2g})",
            test.statistic <= 0.05,
        ),
        Row(
            "exact ≥ stored search",
            short,
            1e-6,
            len(exact),
            f"largest shortfall; exact mean {exact.mean():.4f}",
            short <= 1e-6,
        ),
        Row(
            "exact ≥ own search",
            float((own - exact).max()),
            1e-6,
            len(exact),
            "largest shortfall",
            float((own - exact).max()) <= 1e-6,
        ),
    ]


def compare(found: dict[str, list], rows: list[dict]) -> list[Row]:
    """Every quantity beside the stored one."""
    column: Callable[[str], list] = lambda name: [row[name] for row in rows]  # noqa: E731
    removed = [row["leave_one_out_probability"][1:-1] for row in rows]
    table = [
        within(
            "probability",
            np.array(found["probability"]),
            flat([[x] for x in np.ravel(column("probability"))]),
            EXACT,
        ),
        within("weights", flat(found["attention"]), flat(column("attention")), EXACT),
        within("gradient", flat(found["gradient"]), flat(column("gradient")), EXACT),
        within("leave-one-out", flat(found["leave_one_out"]), flat(removed), EXACT),
    ]
    inner = {
        "attention": [r["attention"][1:-1] for r in rows],
        "gradient": [r["gradient"][1:-1] for r in rows],
        "leave_one_out": [
            np.abs(np.asarray(x) - r["probability"]) for x, r in zip(removed, rows, strict=True)
        ],
    }
    for pair in ("attention-gradient", "attention-leave_one_out", "gradient-leave_one_out"):
        first, second = pair.split("-", 1)
        reference = np.array(
            [kendalltau(a, b).statistic for a, b in zip(inner[first], inner[second], strict=True)]
        )
        mine = np.array(found[f"tau.{pair}"])
        gap = abs(float(mine.mean() - reference.mean()))
        how = f"|difference of means|: ours {mine.mean():.4f} ± {mine.std():.4f}"
        table.append(Row(f"tau {pair}", gap, TAU, len(mine), how, gap <= TAU))
    return table + random_quantities(found, rows)


def main() -> int:
    """Compare, print, write; 1 where something differs."""
    rows = golden_instances().to_dicts()
    table = compare(ours(), rows)
    shown = Table(title="Parity with the reference implementation (1,725 SST sentences)")
    for name in ("quantity", "difference", "tolerance", "n", "how", ""):
        shown.add_column(name, overflow="fold")
    for row in table:
        mark = "ok" if row.passed else "FAILS"
        shown.add_row(
            row.quantity, f"{row.difference:.2g}", f"{row.tolerance:.2g}", str(row.n), row.how, mark
        )
    Console().print(shown)
    out = Path("build/parity.json")
    out.parent.mkdir(exist_ok=True)
    content = [
        {k: v.item() if isinstance(v, np.generic) else v for k, v in asdict(row).items()}
        for row in table
    ]
    out.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return 0 if all(row.passed for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
