"""Fine-tuning of the exact model on pairs of texts that people scored.

The settings are those of the papers' code, which are the defaults of sentence-transformers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.errors import DataError, NotApplicable
from attnaudit.measures.bootstrap import Interval
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.shifted import ShiftedTransformer, shifted
from attnaudit.models.siamese.sides import sides_of
from attnaudit.models.siamese.spearman import (
    rank_correlation,
    similarities,
    similarity,
    spearman_of,
)
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.nets.checkpoint import model_folder
from attnaudit.training.loop import NetLearner, Scores, noisy_batches, run
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.training.recipe import Recipe
from attnaudit.training.result import Trained

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TOPS = (1.0, 5.0)
"""What scores of similarity usually end at: shares, and the labels of the STS tasks."""


def finetune(
    splits: Mapping[str, Sequence[ScoredPair]],
    options: TrainOptions | None = None,
    *,
    encoder: str | Path | SentenceTransformer = "minilm",
    top: float | None = None,
) -> Trained[SentenceTransformer]:
    """Make a model exact: shift it by its references, and fine-tune it on scored pairs.

    Squared error between cosine (or dot product) and score (Möller et al. 2023, section 3); AdamW
    with weight decay on matrices, the learning rate rising linearly over the warm-up and falling
    linearly to zero. Batches hold pairs of similar length, so that few references are needed.

    Args:
        splits: Pairs by split. `train` is learnt from. The epoch that does best on `dev` is kept;
            without it the last, and correlations are those on the training pairs. `test` is looked
            at once, at the end.
        options: How to train; the loss is `cosine` or `dot`. A dot model is trained without a last
            `Normalize`.
        encoder: What `load_siamese` takes: `minilm`, a folder, a hub name, or a
            `SentenceTransformer`, which is not changed. A shifted one is trained further.
        top: The score that stands for a similarity of 1; by default 1 or 5, the first that no
            score exceeds.

    Raises:
        DataError: Scores out of range.
        NotApplicable: A model that reads queries and documents in different ways.
        ModelError: No such model, one that cannot be shifted, or a loss that is no number.
    """
    options = options or DEFAULTS["siamese"]
    kind: ScoreKind = "dot" if options.loss == "dot" else "cosine"
    train, dev = splits["train"], splits.get("dev")
    highest = _top([*train, *(dev or ())], top)
    there = None if isinstance(encoder, nn.Module) else options.device
    read = load_siamese(encoder, kind=kind, device=there)
    if len(set(read.roles)) > 1:
        raise NotApplicable(
            "the model reads queries and documents in different ways, while an exact model reads "
            "every text alike; set its prompts to '' and leave out a Router to train it so"
        )
    exact = isinstance(read.model[0], ShiftedTransformer)
    start = shifted(read.model, kind).to(options.device)
    measured: Literal["dev", "train"] = "train" if dev is None else "dev"

    def correlation(model: SentenceTransformer, split: str) -> Interval:
        return spearman_of(model, splits[split], kind=kind, batch_size=options.batch_size)

    scores = {"given": correlation(read.model, measured)}
    scores["shifted"] = scores["given"] if exact else correlation(start, measured)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        done = run(_PairLearner(start, train, dev, options, kind, highest), options)[0]
    done.model.eval()
    scores["trained"] = correlation(done.model, measured)
    if "test" in splits:
        scores["test"] = spearman_of(done.model, splits["test"], kind=kind)
    note = (
        f"{len(train):,} training pairs; a score of {highest:g} stands for a similarity of 1; "
        f"correlations before and after training are those on {measured}"
    )
    return replace(done, scores=scores, notes=(note,))


def save_shifted(
    model: SentenceTransformer,
    folder: str | Path,
    *,
    recipe: Recipe | None = None,
    overwrite: bool = False,
) -> None:
    """Write an exact model as a folder that `load_shifted` reads.

    Args:
        model: The model.
        folder: Where to; it is made.
        recipe: How it was trained, to be stored with it.
        overwrite: Replace a model that attnaudit saved there.

    Raises:
        ModelError: The folder cannot be written, or holds something already.
    """
    with model_folder(folder, overwrite=overwrite) as part:
        model.save(str(part), create_model_card=False)
        (part / "README.md").write_text(CARD, encoding="utf-8")
        if recipe is not None:
            recipe.write(part)


CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
---

# A similarity model whose token pairs add up exactly

Its token embeddings are shifted by those of a reference input (Möller et al. 2023), and it was
fine-tuned so. It is used as any sentence-transformers model:

```python
from attnaudit.models.siamese.shifted import load_shifted

model = load_shifted("this folder")
model.encode(["A cat sleeps."])
```

`SentenceTransformer("this folder", trust_remote_code=True)` loads it too, where attnaudit is
installed; the flag is needed as the first module is a class of attnaudit.
"""


class _PairLearner(NetLearner[list[int], "SentenceTransformer"]):
    """A sentence encoder, on pairs with scores; the learning rate rises and falls."""

    def __init__(
        self,
        net: SentenceTransformer,
        pairs: Sequence[ScoredPair],
        dev: Sequence[ScoredPair] | None,
        options: TrainOptions,
        kind: ScoreKind,
        top: float,
    ) -> None:
        self.net: SentenceTransformer = net
        self.pairs, self.dev, self.options, self.kind, self.top = pairs, dev, options, kind, top
        self.size = math.ceil(len(pairs) / options.batch_size)
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.generator = torch.Generator().manual_seed(options.seed)
        matrices = [p for p in self.parameters if p.ndim > 1]
        vectors = [p for p in self.parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": options.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=options.learning_rate,
        )
        steps = options.epochs * self.size
        rising = max(1, round(options.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min((step + 1) / rising, (steps - step) / max(1, steps - rising)),
        )

    def batches(self) -> list[list[int]]:
        lengths = [max(len(pair.a), len(pair.b)) for pair in self.pairs]
        return noisy_batches(lengths, self.options.batch_size, self.generator)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        self.net.train()
        yield
        self.net.eval()

    def loss(self, batch: list[int]) -> tuple[Tensor, int]:
        pairs = [self.pairs[row] for row in batch]
        embedded = embed(self.net, [pair.a for pair in pairs] + [pair.b for pair in pairs])
        goal = torch.tensor([pair.score / self.top for pair in pairs]).to(embedded)
        a, b = embedded.chunk(2)
        return mse_loss(similarity(a, b, self.kind), goal), 1

    def stepped(self) -> None:
        self.schedule.step()

    def scores(self, losses: Sequence[float], running: Sequence[int], epoch: int) -> list[Scores]:
        if self.dev is None:
            return [({}, (float(epoch),))]
        size = self.options.batch_size
        similar = similarities(self.net, self.dev, kind=self.kind, batch_size=size)
        found = rank_correlation([pair.score for pair in self.dev], similar)
        return [({"dev_spearman": found}, (found,))]


def embed(model: SentenceTransformer, texts: Sequence[str]) -> Tensor:
    """Embeddings `(B, D)` of texts in one batch, with gradients."""
    # as `encode`, with which it is measured
    prompt = sides_of(model)["text"].prompt
    if hasattr(model, "preprocess"):
        found = model.preprocess(list(texts), prompt=prompt or None)
    else:
        found = model.tokenize([prompt + text for text in texts])
    features = {
        name: value.to(model.device) if isinstance(value, Tensor) else value
        for name, value in found.items()
    }
    embedded: Tensor = model(features)["sentence_embedding"]
    return embedded


def _top(pairs: Sequence[ScoredPair], top: float | None) -> float:
    low, high = min(p.score for p in pairs), max(p.score for p in pairs)
    found = top if top is not None else next((t for t in TOPS if high <= t), None)
    if found is None or not -found <= low <= high <= found or found <= 0:
        said = f"top= (--top) is {top}" if top is not None else "none of 1 and 5 bounds them"
        raise DataError(
            f"scores lie from {low:g} to {high:g}, and {said}: say with top= (--top) which score "
            "stands for a similarity of 1; none may lie beyond it, nor below its negative"
        )
    if low == high:
        raise DataError(f"all {len(pairs)} scores are {low:g}: there is nothing to learn")
    return float(found)
