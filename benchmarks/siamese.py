"""Token-pair tables against the published procedure: CPU seconds, one thread, one run.

`python -m benchmarks.siamese` prints a table and writes `build/siamese.json` and
`build/siamese_growth.html`. The published side differentiates 384 numbers one after another, each
at the same cost: 6 of them are timed and the rest calculated. The error of either side's matrix is
its largest difference to a converged one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import torch
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertModel

from attnaudit.models.siamese.contributions import BUDGET, contributions, pair_table, tables_beside
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.jacobian import Path as Line
from attnaudit.models.siamese.jacobian import forward_parts
from attnaudit.models.siamese.load import load_siamese
from benchmarks.plain_siamese import right_riemann, side

OUT = Path("build")
TIMED = 6
WORDS = [
    "the",
    "old",
    "man",
    "in",
    "the",
    "park",
    "plays",
    "a",
    "slow",
    "song",
    "on",
    "his",
    "guitar",
    "while",
    "two",
    "young",
    "women",
    "who",
    "sit",
    "on",
    "a",
    "bench",
    "near",
    "the",
    "river",
    "listen",
    "and",
    "a",
    "small",
    "dog",
    "runs",
    "after",
    "a",
    "red",
    "ball",
    "that",
    "a",
    "child",
    "has",
    "thrown",
    "over",
    "the",
    "fence",
    "of",
    "the",
    "garden",
    "where",
    "nobody",
    "has",
    "cut",
    "the",
    "grass",
    "since",
    "the",
    "end",
    "of",
    "the",
    "long",
    "dry",
    "summer",
]
OTHER = [
    "a",
    "musician",
    "performs",
    "some",
    "quiet",
    "music",
    "outside",
    "for",
    "a",
    "few",
    "people",
    "and",
    "their",
    "pets",
    "on",
    "a",
    "warm",
    "day",
    "as",
    "children",
    "play",
    "with",
    "balls",
    "behind",
    "the",
    "house",
    "whose",
    "owners",
    "left",
    "for",
    "a",
    "journey",
    "to",
    "the",
    "sea",
    "in",
    "july",
    "and",
    "did",
    "not",
    "come",
    "home",
    "until",
    "the",
    "leaves",
    "of",
    "the",
    "trees",
    "in",
    "front",
    "of",
    "it",
    "had",
    "turned",
    "yellow",
    "and",
    "brown",
    "again",
]
CASES = ((8, 7, 0), (8, 7, 3), (22, 22, 0), (22, 22, 3), (60, 58, 0), (60, 58, 3))
"""Words of both texts, and the layer."""
LONG = 50


def cpu(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the CPU seconds it took."""
    start = time.process_time()
    found = run()
    return found, time.process_time() - start


def published_seconds(encoder: SiameseEncoder, texts: Sequence[str], count: int) -> float:
    """What the published procedure takes for a pair, from some of its derivatives."""
    total = 0.0
    size = encoder.embeddings(encoder.tokens(["a"])).shape[1]
    layer = encoder.stack[encoder.layer]
    for tokens in encoder.tokens(texts):
        ids = list(tokens.ids)
        base = _reference(encoder, tokens)
        nodes = right_riemann(count)
        _, one = cpu(lambda ids=ids, base=base: side(encoder.model, layer, ids, base, nodes, [0]))
        _, some = cpu(
            lambda ids=ids, base=base: side(
                encoder.model, layer, ids, base, nodes, range(1 + TIMED)
            )
        )
        total += one + (some - one) / TIMED * (size - 1)
    return total


def _reference(encoder: SiameseEncoder, tokens: Any) -> list[int]:
    pad = encoder.tokenizer.pad_token_id
    return [i if special else pad for i, special in zip(tokens.ids, tokens.special, strict=True)]


class _Riemann:
    """The papers' nodes, for our derivatives: the same matrix as theirs, sooner."""

    def nodes(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        places, weights = right_riemann(count)
        return places.double(), weights.double()


def riemann_matrix(explainer: PairExplainer, texts: Sequence[str], count: int) -> torch.Tensor:
    """The plain matrix at the papers' nodes."""
    encoder, parts = explainer.encoder, []
    for tokens in encoder.tokens(texts):
        own = encoder.embeddings([tokens]).double()
        with encoder.ready():
            start, _ = encoder.states([tokens], explainer.reference)
            states, _ = encoder.states([tokens])
            line = Line([tokens], start, states - start, [_Riemann()])  # type: ignore[list-item]
            parts.append(forward_parts(encoder, line, count, BUDGET)[0] / own.norm())
    return parts[0] @ parts[1].T


def ours(encoder: SiameseEncoder, texts: Sequence[str], tolerance: float) -> torch.Tensor:
    """The plain part of our table of a pair, nothing remembered."""
    return PairExplainer(encoder, tolerance=tolerance).table(*texts).pairs


def against_published() -> list[dict[str, Any]]:
    """Both sides at every length and layer."""
    rows = []
    for first, second, layer in CASES:
        encoder = load_siamese("minilm", layer=layer)
        texts = (" ".join(WORDS[:first]), " ".join(OTHER[:second]))
        explainer = PairExplainer(encoder)
        lengths = [len(tokens) for tokens in encoder.tokens(texts)]
        # what is only there to know an error is done once where it takes minutes
        counts = (50, 250) if max(lengths) < LONG else (50,)
        exact = ours(encoder, texts, 1e-5 if max(lengths) < LONG else 1e-4)
        theirs = {n: published_seconds(encoder, texts, n) for n in counts}
        errors = {
            n: float((riemann_matrix(explainer, texts, n) - exact).abs().max()) for n in counts
        }
        for tolerance in (1e-2, 1e-3):
            found, seconds = cpu(lambda t=tolerance: ours(encoder, texts, t))
            rows.append(
                {
                    "tokens": "/".join(map(str, lengths)),
                    "layer": layer,
                    "tolerance": tolerance,
                    "ours_s": seconds,
                    "ours_error": float((found - exact).abs().max()),
                    **{f"published_{n}_s": theirs[n] for n in theirs},
                    **{f"published_{n}_error": errors[n] for n in errors},
                    **{f"ratio_{n}": theirs[n] / seconds for n in theirs},
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def query_and_documents(count: int = 100, layer: int = 3) -> dict[str, float]:
    """A query with documents, against as many single encodings of contributions."""
    encoder = load_siamese("minilm", layer=layer)
    query = " ".join(WORDS[:6])
    documents = [" ".join(OTHER[i % 20 : i % 20 + 14]) + f" {i}" for i in range(count)]
    explainer = PairExplainer(encoder)
    _, pairs = cpu(lambda: list(explainer.tables([(query, one) for one in documents])))
    one_by_one = PairExplainer(encoder)
    _, single = cpu(lambda: [one_by_one.contributions([text]) for text in (query, *documents)])
    alone = PairExplainer(encoder)
    _, contributed = cpu(lambda: alone.contributions([query, *documents]))
    _, combined = cpu(
        lambda: [
            pair_table(alone.contributions([query])[0], alone.contributions([one])[0])
            for one in documents
        ]
    )
    return {
        "documents": count,
        "pairs_s": pairs,
        "single_encodings_s": single,
        "ratio": pairs / single,
        "in_batches_s": contributed,
        "tables_alone_s": combined,
    }


def ways() -> list[dict[str, Any]]:
    """Both ways of getting one pair, by the length of the second text."""
    rows, encoder = [], load_siamese("minilm", layer=3)
    explainer = PairExplainer(encoder)
    query = " ".join(WORDS[:8])
    for words in (4, 8, 16, 32, 58):
        tokens = encoder.tokens([" ".join(OTHER[:words])])
        (one,) = explainer.contributions([query])
        _, whole = cpu(lambda t=tokens: contributions(encoder, t, reference=explainer.reference))
        _, beside = cpu(
            lambda t=tokens, o=one: tables_beside(encoder, [o], t, reference=explainer.reference)
        )
        rows.append({"tokens": len(tokens[0]), "contributions_s": whole, "beside_s": beside})
    return rows


def growth() -> list[dict[str, Any]]:
    """Seconds a text by length, by tolerance, and by size of the embedding."""
    return [*by_length(), *by_dimension()]


def by_length() -> list[dict[str, Any]]:
    """Seconds a text from layer 3 on."""
    rows = []
    encoder = load_siamese("minilm", layer=3)
    for words in (6, 14, 30, 62):
        text = " ".join((WORDS + OTHER)[:words])
        for tolerance in (1e-2, 1e-3, 1e-4):
            explainer = PairExplainer(encoder, tolerance=tolerance)
            (found,), seconds = cpu(lambda e=explainer, t=text: e.contributions([t]))
            rows.append(
                {
                    "what": "length",
                    "value": len(found.tokens),
                    "tolerance": tolerance,
                    "seconds": seconds,
                    "nodes": found.nodes,
                }
            )
    return rows


def by_dimension() -> list[dict[str, Any]]:
    """Seconds a text of 20 words, three layers of random weights."""
    rows = []
    for hidden in (96, 192, 384, 768):
        config = BertConfig(
            vocab_size=30522,
            hidden_size=hidden,
            num_hidden_layers=3,
            num_attention_heads=hidden // 32,
            intermediate_size=4 * hidden,
        )
        torch.manual_seed(0)
        model = load_siamese("minilm").model
        (held,) = model[0]._modules  # its name differs between versions of the library
        setattr(model[0], held, BertModel(config, add_pooling_layer=False).eval())
        wide = PairExplainer(SiameseEncoder(model))
        (found,), seconds = cpu(lambda e=wide: e.contributions([" ".join(WORDS[:20])]))
        rows.append(
            {
                "what": "dimension",
                "value": hidden,
                "tolerance": 1e-3,
                "seconds": seconds,
                "nodes": found.nodes,
            }
        )
    return rows


def memory(which: str) -> None:
    """Print the peak memory, in MB, of one side at 22 words; run in a process of its own."""
    encoder = load_siamese("minilm", layer=0)
    texts = (" ".join(WORDS[:22]), " ".join(OTHER[:22]))
    if which == "ours":
        ours(encoder, texts, 1e-3)
    elif which == "published":
        for tokens in encoder.tokens(texts):
            base = _reference(encoder, tokens)
            side(
                encoder.model,
                encoder.stack[0],
                tokens.ids,
                base,
                right_riemann(50),
                range(1 + TIMED),
            )
    # the maximum that getrusage tells includes that of the process which started this one
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def main() -> None:
    """Run all parts."""
    torch.set_num_threads(1)
    ours(load_siamese("minilm", layer=4), ("warm", "up"), 1e-2)
    found: dict[str, Any] = {"published": against_published()}
    found["query_and_documents"] = query_and_documents()
    found["ways"] = ways()
    found["growth"] = growth()
    found["peak_mb"] = {
        which: float(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.siamese", which],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for which in ("nothing", "ours", "published")
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "siamese.json").write_text(json.dumps(found, indent=1))
    frame = pl.DataFrame(found["growth"])
    alt.Chart(frame).mark_line(point=True).encode(
        x=alt.X("value:Q", title="tokens, or size of the embedding", scale=alt.Scale(type="log")),
        y=alt.Y("seconds:Q", title="CPU seconds a text", scale=alt.Scale(type="log")),
        color="tolerance:N",
        column="what:N",
    ).save(str(OUT / "siamese_growth.html"))
    console = Console(width=140)
    for name, rows in found.items():
        if not isinstance(rows, list):
            console.print(name, rows)
            continue
        table = Table(*rows[0], title=name)
        for row in rows:
            values = (row.get(name, "") for name in rows[0])
            table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values))
        console.print(table)


if __name__ == "__main__":
    memory(sys.argv[1]) if len(sys.argv) > 1 else main()
