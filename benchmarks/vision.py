"""A vision transformer on images whose object is known: do patch maps find it?

Digits of scikit-learn on noise, each at a random place; a head is trained on DINOv2's frozen
features. `python -m benchmarks.vision FOLDER`, with the folder of the backbone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from transformers import Dinov2Config, Dinov2ForImageClassification, Dinov2Model

import attnaudit
from attnaudit.attribution import EVERY, Options
from attnaudit.data.bags.records import Bag, BagDataset
from attnaudit.data.images import Grid, image_record, pixels_of
from attnaudit.measures.bootstrap import bootstrap_interval
from attnaudit.measures.detection import auroc
from attnaudit.models.encoded import Encoded
from attnaudit.models.transformer.site import Site
from attnaudit.models.transformer.vision import VisionModel

DIGITS = 5
GRID = Grid((126, 126), 14, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OBJECT = 42
"""Height and width of a digit in pixels: three patches and more."""


def images(count: int, seed: int) -> list[Bag]:
    """Digits on noise; the patches that a digit covers are the truth."""
    draw = np.random.default_rng(seed)
    found = load_digits(n_class=DIGITS)
    records = []
    for number in range(count):
        pick = draw.integers(len(found.images))
        digit = torch.tensor(found.images[pick] / 16.0, dtype=torch.float32)[None, None]
        large = torch.nn.functional.interpolate(digit, size=OBJECT, mode="bilinear")[0, 0]
        size = GRID.size[0]
        coarse = torch.tensor(draw.random((1, 3, 18, 18)), dtype=torch.float32)
        canvas = 0.5 * torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]
        top, left = draw.integers(0, size - OBJECT, 2)
        part = canvas[:, top : top + OBJECT, left : left + OBJECT]
        canvas[:, top : top + OBJECT, left : left + OBJECT] = torch.maximum(part, large)
        mask = torch.zeros(size, size)
        mask[top : top + OBJECT, left : left + OBJECT] = (large > 0.3).float()
        side = GRID.patch
        covered = mask.reshape(size // side, side, size // side, side).mean((1, 3)).flatten()
        records.append(
            image_record(f"image {number}", canvas, GRID, int(found.target[pick]), covered > 0.1)
        )
    return records


def model_of(folder: Path, train: list[Bag]) -> Dinov2ForImageClassification:
    """The backbone with a head by logistic regression on its features."""
    config = Dinov2Config.from_pretrained(folder, num_labels=DIGITS)
    config.id2label = {k: f"digit {k}" for k in range(DIGITS)}
    model = Dinov2ForImageClassification(config).eval()
    model.dinov2 = Dinov2Model.from_pretrained(folder, dtype=torch.float32).eval()
    features, labels = [], []
    with torch.no_grad():
        for start in range(0, len(train), 32):
            part = train[start : start + 32]
            pixels = pixels_of(torch.stack([bag.instances for bag in part]), GRID)
            states = model.dinov2(pixels).last_hidden_state
            features.append(torch.cat([states[:, 0], states[:, 1:].mean(1)], 1))
            labels += [bag.label for bag in part]
    x = torch.cat(features).numpy()
    spread = x.std(0) + 1e-6
    fitted = LogisticRegression(C=0.05, max_iter=3000).fit(x / spread, labels)
    model.classifier.weight.data = torch.tensor(fitted.coef_ / spread, dtype=torch.float32)
    model.classifier.bias.data = torch.tensor(fitted.intercept_, dtype=torch.float32)
    return model


METHODS = (
    *("weights", "weights_x_gradient", "gradient", "rollout", "attention_x_gradient"),
    *("attention_x_gradient_last", "chefer", "norms", "random"),
)


def graded(model: VisionModel, test: list[Bag]) -> str:
    """AUROC of patch maps for the object, mean over images with intervals."""
    found: dict[str, list[float]] = {}
    for start in range(0, len(test), 6):
        part = test[start : start + 6]
        encoded = Encoded(model, model.collate(part))
        truth = torch.zeros_like(encoded.units)
        for row, image in enumerate(part):
            truth[row, encoded.units[row]] = image.truth
        for name in METHODS:
            scores = EVERY[name].compute(encoded, Options()).scores
            found.setdefault(name, []).extend(auroc(scores, truth, encoded.units).tolist())
    lines = []
    for name, values in found.items():
        interval = bootstrap_interval(values)
        said = f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        lines.append(f"{name}: AUROC {said}, n = {interval.n}")
    return "\n".join(lines)


def main() -> None:
    """Train the head, verify the cut, audit the default site and rank explanations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--site", default=None)
    parser.add_argument("--out", type=Path, default=Path("build/vision"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    net = model_of(chosen.folder, images(chosen.train, 0))
    test = images(chosen.test, 1)
    model = VisionModel(net, GRID, Site(), name="dinov2-small with a head")
    print(model.cut.mode, model.cut.small, model.verify(test[:10]))
    shape = tuple(test[0].instances.shape[1:])
    data = BagDataset("digits on noise", tuple(test), model.classes, shape, "test")
    print(graded(model, test))
    audit = attnaudit.audit(
        model, data, checks="reach", out=chosen.out, overwrite=True, progress=False
    )
    print(audit.report.performance.sentence)
    print(audit.report.judgement.headline, audit.report.judgement.advice)
    for finding in audit.findings:
        print(finding.check, finding.subject, finding.verdict.value, finding.sentence)


if __name__ == "__main__":
    main()
