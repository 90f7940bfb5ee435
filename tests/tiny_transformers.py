"""Transformers with random weights and real tokenizers, small enough for a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    LlamaConfig,
    LlamaModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

FAMILIES = ("bert", "roberta", "distilbert", "mpnet", "llama")
MORE_FAMILIES = (*FAMILIES, "xlm-roberta", "modernbert", "qwen3")
TEXTS = (
    "a good film",
    "Not a good film, but a well-made one!",
    "unbelievably bad acting: nobody's film",
    "never boring",
    "a",
)
"""Words of one and of many pieces, marks with and without a space before them."""
MARKS = {
    "bert": ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"),
    "roberta": ("<s>", "</s>", "<pad>", "<unk>", "<mask>"),
}
MARKS |= {"distilbert": MARKS["bert"], "mpnet": MARKS["roberta"]}
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}


def tiny(
    family: str,
    folder: Path,
    seed: int = 0,
    texts: Sequence[str] = TEXTS,
    vocabulary: int | None = None,
    positions: int = 40,
) -> Path:
    """A model that reads so many pieces and a tokenizer trained on `texts`, in `folder`."""
    tokenizer = tokenizer_of(family, texts, vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _model(family, tokenizer, positions)
        for parameter in model.parameters():
            # larger than the initial values, so that layers and positions matter
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_of(
    family: str, texts: Sequence[str] = TEXTS, vocabulary: int | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of one family."""
    if family in ("llama", "qwen3"):
        return _sentencepiece(texts, vocabulary or 80)
    if family in ("roberta", "xlm-roberta"):
        return _byte_level(texts, vocabulary or 300)
    return _word_pieces(texts, vocabulary or 60, MARKS.get(family, MARKS["bert"]))


def _model(family: str, tokenizer: PreTrainedTokenizerFast, positions: int) -> torch.nn.Module:
    common = {**SIZES, "vocab_size": len(tokenizer), "intermediate_size": 32}
    if family == "bert":
        return BertModel(BertConfig(**common, max_position_embeddings=positions))
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=16,
            hidden_dim=32,
            n_heads=2,
            n_layers=2,
            max_position_embeddings=positions,
        )
        return DistilBertModel(config)
    if family == "llama":
        config = LlamaConfig(**common, max_position_embeddings=positions, num_key_value_heads=1)
        return LlamaModel(config)
    if family == "qwen3":
        rotary = Qwen3Config(
            **common, max_position_embeddings=positions, num_key_value_heads=1, head_dim=8
        )
        return Qwen3Model(rotary)
    if family == "modernbert":
        local = ModernBertConfig(
            **common,
            max_position_embeddings=positions,
            local_attention=4,
            global_attn_every_n_layers=2,
            pad_token_id=tokenizer.pad_token_id,
        )
        return ModernBertModel(local)
    # these count positions from the padding id on
    padded = {"max_position_embeddings": positions + 2, "pad_token_id": tokenizer.pad_token_id}
    if family == "roberta":
        return RobertaModel(RobertaConfig(**common, **padded))
    if family == "xlm-roberta":
        return XLMRobertaModel(XLMRobertaConfig(**common, **padded))
    return MPNetModel(MPNetConfig(**common, **padded))


def _word_pieces(texts: Sequence[str], size: int, marks: Sequence[str]) -> PreTrainedTokenizerFast:
    start, end, pad, unknown, mask = marks
    tokenizer = Tokenizer(models.WordPiece(_pieces(texts, size, marks), unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _wrapped(tokenizer, start, end, pad_token=pad, unk_token=unknown, mask_token=mask)


def _pieces(texts: Sequence[str], size: int, marks: Sequence[str]) -> dict[str, int]:
    """Pieces of words, as byte-pair encoding finds them.

    The trainer of word pieces itself breaks ties by chance, which no seed decides.
    """
    start, end, pad, unknown, mask = marks
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2 * size // 3, show_progress=False)
    )
    found = learner.get_vocab()
    words = [
        word
        for text in texts
        for word, _ in learner.pre_tokenizer.pre_tokenize_str(
            learner.normalizer.normalize_str(text)
        )
    ]
    at_start = [p for p in sorted(found, key=found.get) if any(w.startswith(p) for w in words)]
    inside = [f"##{p}" for p in sorted(found, key=found.get) if any(p in w[1:] for w in words)]
    # letters first: without one of them a word would be unknown
    pieces = sorted([*at_start, *inside], key=lambda p: len(p.removeprefix("##")) > 1)
    return {p: i for i, p in enumerate([start, pad, end, unknown, mask, *pieces][:size])}


def _byte_level(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    start, end, pad, unknown, mask = MARKS["roberta"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[start, pad, end, unknown, mask],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # marks that follow each other become one piece
    tokenizer.train_from_iterator([*texts, "!!! !!!"], trainer)
    return _wrapped(tokenizer, start, end, pad_token=pad, unk_token=unknown, mask_token=mask)


def _sentencepiece(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>", "<s>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer, "<s>", None, unk_token="<unk>")


def _wrapped(
    tokenizer: Tokenizer, start: str, end: str | None, **special: str
) -> PreTrainedTokenizerFast:
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in (start, end) if mark]
    single = f"{start} $A {end}" if end else f"{start} $A"
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=start, **special)
