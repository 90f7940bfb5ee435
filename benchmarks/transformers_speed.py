"""What cutting a transformer saves: CPU seconds, side by side in one run, one thread.

`python -m benchmarks.transformers_speed MINILM CAUSAL`, with folders of a classifier and of a
causal model. Plain copies run the whole model once per alternative, by the library's own code.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Callable

import torch
from captum.attr import IntegratedGradients
from transformers import BertConfig, BertForSequenceClassification

from attnaudit.attribution import METHODS, Options
from attnaudit.data.texts.tokens import text_record
from attnaudit.models.encoded import Encoded
from attnaudit.models.transformer.load import load_transformer_model
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.site import Site

COPIES = 100


def spent(work: Callable[[], object], times: int = 3) -> float:
    """The least CPU time of some runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def plain(model: TransformerModel) -> TransformerModel:
    """The same site, decoded by whole copies."""
    other = copy.copy(model)
    other.cut = dataclasses.replace(model.cut, mode="plain", small=False)
    return other


def permutations(model: TransformerModel, texts: list[str], layers: list[int]) -> None:
    """A hundred maps per text, at some layers."""
    records = [text_record(str(k), text) for k, text in enumerate(texts)]
    batch = model.collate(records)
    for layer in layers:
        at = model.at(Site(layer))
        whole = plain(at)
        with torch.no_grad():
            states, other = at.encode(batch), whole.encode(batch)
            own = at.attend(states)
            draws = torch.rand(len(records), COPIES, own.shape[1]) * batch.units.unsqueeze(1)
            free = (own * batch.units).sum(1).view(-1, 1, 1)
            maps = (own * ~batch.units).unsqueeze(1) + draws / draws.sum(-1, keepdim=True) * free
            fast = spent(lambda: at.decode(states, maps))
            slow = spent(lambda: whole.decode(other, maps), 1)
            gap = float(
                (at.decode(states, maps).exp() - whole.decode(other, maps).exp()).abs().max()
            )
        size = int(batch.present.sum(1).max())
        said = f"{model.base_name} layer {layer} ({at.cut.mode}), {size} positions"
        print(
            f"{said}: plain {slow:.3f} s, cut {fast:.4f} s, {slow / fast:.1f} times; "
            f"largest difference {gap:.0e}",
            flush=True,
        )


def integrated(model: TransformerModel, texts: list[str]) -> None:
    """Integrated gradients to a tolerance against Captum's 50 steps, and their errors."""
    records = [text_record(str(k), text) for k, text in enumerate(texts)]
    mine_time, theirs_time, mine_error, theirs_error = 0.0, 0.0, [], []
    batch = model.collate(records)
    encoded = Encoded(model, batch)
    _ = encoded.outputs
    start = time.process_time()
    found = METHODS["integrated_gradients"].compute(encoded, Options())
    mine_time = time.process_time() - start
    assert found.error is not None
    mine_error = found.error.tolist()
    for row in range(len(records)):
        one = model.collate(records[row : row + 1])
        target = int(Encoded(model, one).targets[0])
        layout = model.layout(one)
        ids = layout.ids

        def run(embedded: torch.Tensor, target: int = target) -> torch.Tensor:
            return model.model(inputs_embeds=embedded).logits.softmax(-1)[:, target]

        vectors = model.table(ids)
        base = vectors.clone()
        inside = torch.zeros_like(ids, dtype=torch.bool)
        inside[0] = one.units[0][layout.owner[0]]
        base[inside] = 0
        method = IntegratedGradients(run)
        start = time.process_time()
        said = method.attribute(vectors, base, n_steps=50, internal_batch_size=16)
        theirs_time += time.process_time() - start
        gain = float(run(vectors) - run(base))
        theirs_error.append(abs(float(said.sum()) - gain))
    mine, theirs = sorted(mine_error), sorted(theirs_error)
    middle = len(mine) // 2
    print(
        f"integrated gradients, {len(records)} texts: ours {mine_time:.2f} s, median error "
        f"{mine[middle]:.1e}, largest {mine[-1]:.1e}; Captum, 50 steps {theirs_time:.2f} s, "
        f"{theirs[middle]:.1e}, {theirs[-1]:.1e}; {theirs_time / mine_time:.1f} times",
        flush=True,
    )


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classifier")
    parser.add_argument("causal")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    small = load_transformer_model(chosen.classifier)
    words = [
        "a",
        "gripping",
        "and",
        "often",
        "moving",
        "film",
        "that",
        "never",
        "quite",
        "trusts",
        "its",
        "own",
        "quiet",
        "heart",
    ]
    texts = [" ".join(words[k:] + words[:k]) for k in range(4)]
    permutations(small, texts, [0, 2, 4, 5])
    config = BertConfig(
        vocab_size=small.vocabulary,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
    )
    torch.manual_seed(0)
    bert = TransformerModel(
        BertForSequenceClassification(config).eval(), small.tokenizer, name="BERT 4 x 256"
    )
    long = [" ".join((words * 4)[k : k + 44]) for k in range(4)]
    permutations(bert, long, [0, 3])
    causal = load_transformer_model(chosen.causal)
    story = (
        "Once upon a time there was a little girl who liked to play with her red ball in "
        "the big park . "
    ) * 4
    cut = story.split()
    prompts = [" ".join(cut[:60])]
    permutations(causal, prompts, list(range(causal.stack.steps)))
    integrated(small, texts * 2)


if __name__ == "__main__":
    main()
