"""A small translator of our own, and an audit of its cross-attention.

Trained on `multi30k_en_de` for a few minutes: `python -m benchmarks.translator FOLDER --out PLACE`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

import attnaudit
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import pair_record
from attnaudit.models.transformer.load import load_transformer_model
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.site import Site

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Pairs of sentences."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tokenizer_of(pairs: list[dict[str, str]], size: int = 4000) -> PreTrainedTokenizerFast:
    """One vocabulary for both languages."""
    found = Tokenizer(models.BPE(unk_token=UNKNOWN))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[PAD, END, UNKNOWN], show_progress=False
    )
    sentences = (row[side].lower() for row in pairs for side in ("en", "de"))
    found.train_from_iterator(sentences, trainer)
    found.post_processor = processors.TemplateProcessing(
        "$A </s>", special_tokens=[(END, found.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token=PAD, eos_token=END, unk_token=UNKNOWN
    )


def train(
    pairs: list[dict[str, str]], tokenizer: PreTrainedTokenizerFast, minutes: float
) -> MarianMTModel:
    """Teacher forcing, for as long as there is time."""
    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=len(tokenizer),
        d_model=128,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        forced_eos_token_id=None,
        scale_embedding=True,
    )
    model = MarianMTModel(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.5e-3)
    coded = [
        (tokenizer(p["en"].lower())["input_ids"], tokenizer(p["de"].lower())["input_ids"])
        for p in pairs
    ]
    coded.sort(key=lambda pair: len(pair[0]))
    blocks = [coded[k : k + 64] for k in range(0, len(coded), 64)]
    start, step = time.process_time(), 0
    model.train()
    draw = torch.Generator().manual_seed(0)
    while time.process_time() - start < 60 * minutes:
        block = blocks[int(torch.randint(len(blocks), (1,), generator=draw))]
        source, target = (padded([pair[k] for pair in block]) for k in (0, 1))
        labels = target.masked_fill(target == 0, -100)
        for group in optimiser.param_groups:
            group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 200)
        loss = model(input_ids=source, attention_mask=(source != 0).long(), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 200 == 0:
            print(f"step {step}: loss {loss.item():.2f}", flush=True)
    return model.eval()


def padded(ids: list[list[int]]) -> torch.Tensor:
    """Rows of one length; 0 is padding."""
    found = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    for row, one in enumerate(ids):
        found[row, : len(one)] = torch.tensor(one)
    return found


@torch.no_grad()
def translated(model: MarianMTModel, tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    """Greedy decoding."""
    source = torch.tensor([tokenizer(text.lower())["input_ids"]])
    target = torch.tensor([[tokenizer.pad_token_id]])
    for _ in range(40):
        best = model(input_ids=source, decoder_input_ids=target).logits[:, -1].argmax(-1)
        if int(best) == tokenizer.eos_token_id:
            break
        target = torch.cat([target, best.unsqueeze(1)], 1)
    return str(tokenizer.decode(target[0], skip_special_tokens=True))


def alignment(model: TransformerModel, source: str, target: str) -> str:
    """Which source word has the most cross-attention, for each word of a translation."""
    words, lines = target.split(), []
    for place, word in enumerate(words):
        record = pair_record("x", source, " ".join(words[:place]))
        batch = model.collate([record])
        weights = model.attend(model.encode(batch))[0][batch.units[0]]
        best = int(weights.argmax())
        lines.append(f"{word} <- {record.units[best]} ({float(weights[best]):.2f})")
    return "; ".join(lines)


def main() -> None:
    """Train, verify, align, audit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/translator"))
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--texts", type=int, default=60)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    place = chosen.out / "model"
    if not (place / "config.json").is_file():
        pairs = rows(chosen.folder, "train")
        tokenizer = tokenizer_of(pairs)
        model = train(pairs, tokenizer, chosen.minutes)
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    cut = load_transformer_model(place)
    test = rows(chosen.folder, "test_2016_flickr")[: chosen.texts]
    for row in test[:3]:
        print(row["en"], "->", translated(cut.model, cut.tokenizer, row["en"]))
    records = tuple(
        pair_record(f"t{k}", row["en"].lower(), row["de"].lower()) for k, row in enumerate(test)
    )
    asked = [cut.prepared(record) for record in records]
    for layer in range(2):
        at = cut.at(Site(layer, None, True))
        print(f"layer {layer}: {at.cut.mode}", at.verify(asked[:20]))
    print(alignment(cut, test[0]["en"].lower(), test[0]["de"].lower()))
    data = Dataset("multi30k", records, (), "test")
    audit = attnaudit.audit(cut, data, out=chosen.out / "run", overwrite=True, progress=False)
    print(audit.report.judgement.headline, audit.report.judgement.advice)
    for finding in audit.findings:
        print(finding.check, finding.verdict.value, finding.sentence)


if __name__ == "__main__":
    main()
