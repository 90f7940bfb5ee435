"""Fine-tuning of the exact model on pairs of texts that people scored.

A plain loop: the trainer of sentence-transformers needs `datasets` and `accelerate`, and what it
would do here is forty lines. The settings are those of the papers' code, which are the defaults of
sentence-transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from attnaudit.data.pairs.scored_pairs import ScoredPair, open_pairs
from attnaudit.data.reading import Reading
from attnaudit.data.sources.opening import Place
from attnaudit.errors import DataError, ModelError, NotApplicable, SettingsError
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
from attnaudit.nets.checkpoint import check_place, model_folder
from attnaudit.progress import Report, bars
from attnaudit.training.text_loop import noisy_batches

WEIGHT_DECAY = 0.01
CLIP = 1.0
TOPS = (1.0, 5.0)
"""What scores of similarity usually end at: shares, and the labels of the STS tasks."""


@dataclass(frozen=True)
class Finetuned:
    """An exact model, with how it came about.

    Attributes:
        model: The fine-tuned model, in evaluation mode.
        plain: Spearman correlation with the scores of the model as it was given.
        before: That of the shifted model before it was trained.
        after: That of `model`.
        measured_on: `dev`, or `train` where there was none.
        history: One row an epoch: `loss`, the mean over batches, and `dev_spearman`.
        best_epoch: The epoch, from 1, whose weights are kept.
        top: The score that stands for a similarity of 1.
        pairs: How many pairs it was trained on.
    """

    model: Any
    plain: Interval
    before: Interval
    after: Interval
    measured_on: Literal["dev", "train"]
    history: tuple[Mapping[str, float], ...]
    best_epoch: int
    top: float
    pairs: int


def finetune(
    model: Any,
    pairs: Place,
    *,
    dev: Place | None = None,
    epochs: int = 1,
    batch_size: int = 16,
    learning_rate: float = 2e-5,
    warmup: float = 0.1,
    loss: ScoreKind = "cosine",
    top: float | None = None,
    seed: int = 0,
    device: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | bool | None = None,
) -> Finetuned:
    """Make a model exact: shift it by its references, and fine-tune it on scored pairs.

    Squared error between cosine (or dot product) and score (Möller et al. 2023, section 3); AdamW
    with weight decay 0.01 on matrices, the learning rate rising linearly over the warm-up and
    falling linearly to zero, gradients clipped at norm 1. Batches hold pairs of similar length, so
    that few references are needed. The epoch that does best on `dev` is kept.

    Args:
        model: What `load_siamese` takes: `minilm`, a folder, a hub name, or a
            `SentenceTransformer`, which is not changed. A shifted one is trained further.
        pairs: What `resolve` takes as pairs; the split `train`, where there are splits.
        dev: Pairs that choose the epoch; the split `dev`, where there are splits. Without it the
            last epoch is kept, and correlations are those on the training pairs. Never give the
            pairs that you will test on.
        epochs: Passes over the pairs.
        batch_size: Pairs a step.
        learning_rate: The highest.
        warmup: Share of the steps over which the learning rate rises, from 0 to 1.
        loss: `cosine` or `dot`. A dot model is trained without a last `Normalize`.
        top: The score that stands for a similarity of 1; by default 1 or 5, the first that no
            score exceeds.
        seed: Of batches and dropout: equal seeds, equal weights on one machine.
        device: Where to train; by default where the model is.
        out: Folder to save the model to, for `load_shifted`.
        overwrite: Replace a model that attnaudit saved there.
        progress: A function `(stage, done, total)`, or whether to draw bars.

    Raises:
        DataError: Unusable pairs, or scores out of range.
        NotApplicable: A model that reads queries and documents in different ways.
        ModelError: No such model, one that cannot be shifted, or a loss that is no number.
        SettingsError: An option out of range.
    """
    _check(epochs, batch_size, learning_rate, warmup, loss)
    if out is not None:
        check_place(out, overwrite=overwrite, reads=(model, pairs, dev))
    training = open_pairs(pairs, Reading()).part("train")
    held_out = open_pairs(dev, Reading()).part("dev") if dev is not None else None
    highest = _top([*training, *(held_out or ())], top)
    there = None if isinstance(model, nn.Module) else device
    encoder = load_siamese(model, kind=loss, device=there)
    if len(set(encoder.roles)) > 1:
        raise NotApplicable(
            "the model reads queries and documents in different ways, while an exact model reads "
            "every text alike; set its prompts to '' and leave out a Router to train it so"
        )
    given = encoder.model
    exact = isinstance(given[0], ShiftedTransformer)
    start = shifted(given, loss)
    if device is not None:
        start.to(device)
    measured = training if held_out is None else held_out
    plain = spearman_of(given, measured, kind=loss, batch_size=batch_size)
    before = plain if exact else spearman_of(start, measured, kind=loss, batch_size=batch_size)
    with bars(progress if isinstance(progress, bool) else None) as drawn:
        loop = _Loop(
            start, training, epochs, batch_size, learning_rate, warmup, loss, highest, seed
        )
        loop.report = progress if callable(progress) else drawn
        history, best_epoch, state = _epochs(loop, epochs, held_out)
    if state is not None:
        start.load_state_dict(state)
    start.eval()
    after = spearman_of(start, measured, kind=loss, batch_size=batch_size)
    if out is not None:
        save_shifted(start, out, overwrite=overwrite)
    on: Literal["dev", "train"] = "train" if held_out is None else "dev"
    return Finetuned(start, plain, before, after, on, history, best_epoch, highest, len(training))


def save_shifted(model: Any, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write an exact model as a folder that `load_shifted` reads.

    Args:
        model: The model.
        folder: Where to; it is made.
        overwrite: Replace a model that attnaudit saved there.

    Raises:
        ModelError: The folder cannot be written, or holds something already.
    """
    with model_folder(folder, overwrite=overwrite) as part:
        model.save(str(part), create_model_card=False)
        (part / "README.md").write_text(CARD, encoding="utf-8")


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


class _Loop:
    """Model, optimiser, schedule and the generator of batches."""

    report: Report | None = None

    def __init__(
        self,
        model: Any,
        pairs: Sequence[ScoredPair],
        epochs: int,
        batch_size: int,
        learning_rate: float,
        warmup: float,
        loss: ScoreKind,
        top: float,
        seed: int,
    ) -> None:
        self.model, self.pairs, self.loss, self.top, self.seed = model, pairs, loss, top, seed
        self.batch_size, self.done = batch_size, 0
        self.steps = epochs * math.ceil(len(pairs) / batch_size)
        self.generator = torch.Generator().manual_seed(seed)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=learning_rate,
        )
        rising = max(1, round(warmup * self.steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min(
                (step + 1) / rising, (self.steps - step) / max(1, self.steps - rising)
            ),
        )

    def epoch(self) -> float:
        """One pass over the pairs; the mean loss of a batch."""
        self.model.train()
        lengths = [max(len(pair.a), len(pair.b)) for pair in self.pairs]
        losses = []
        for rows in noisy_batches(lengths, self.batch_size, self.generator):
            losses.append(self._step([self.pairs[row] for row in rows]))
            if self.report is not None:
                self.report("fine-tuning", self.done, self.steps)
        return sum(losses) / max(1, len(losses))

    def _step(self, pairs: Sequence[ScoredPair]) -> float:
        embedded = embed(self.model, [pair.a for pair in pairs] + [pair.b for pair in pairs])
        goal = torch.tensor([pair.score / self.top for pair in pairs]).to(embedded)
        a, b = embedded.chunk(2)
        loss = mse_loss(similarity(a, b, self.loss), goal)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss is {value} in step {self.done + 1}: training has diverged; lower the "
                "learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.schedule.step()
        self.done += 1
        return value


def embed(model: Any, texts: Sequence[str]) -> Tensor:
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


def _epochs(
    loop: _Loop, epochs: int, dev: Sequence[ScoredPair] | None
) -> tuple[tuple[Mapping[str, float], ...], int, dict[str, Tensor] | None]:
    """The history, the epoch to keep, and its weights where it is not the last."""
    history: list[Mapping[str, float]] = []
    best, best_epoch, state = -math.inf, 0, None
    with torch.random.fork_rng():
        torch.manual_seed(loop.seed)
        for epoch in range(1, epochs + 1):
            row = {"loss": loop.epoch()}
            reached = float(epoch)
            if dev is not None:
                loop.model.eval()
                similar = similarities(loop.model, dev, kind=loop.loss, batch_size=loop.batch_size)
                reached = rank_correlation([pair.score for pair in dev], similar)
                row["dev_spearman"] = reached
            history.append(row)
            if reached > best or best_epoch == 0:
                best, best_epoch = reached, epoch
                if dev is not None and epoch < epochs:
                    weights = loop.model.state_dict()
                    state = {name: value.clone() for name, value in weights.items()}
                else:
                    state = None
    return tuple(history), best_epoch, state


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


def _check(
    epochs: int,
    batch_size: int,
    learning_rate: float,
    warmup: float,
    loss: str,
) -> None:
    wrong = [
        f"{name} is {value}; it must be {what}"
        for name, value, fine, what in (
            ("epochs", epochs, epochs >= 1, "1 or more"),
            ("batch_size", batch_size, batch_size >= 1, "1 or more"),
            ("learning_rate", learning_rate, learning_rate > 0, "above 0"),
            ("warmup", warmup, 0 <= warmup < 1, "from 0 to below 1"),
            ("loss", loss, loss in ("cosine", "dot"), "cosine or dot"),
        )
        if not fine
    ]
    if wrong:
        raise SettingsError("; ".join(wrong))
