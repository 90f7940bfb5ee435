"""Small random models of the families of the package `transformers`."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import pair_record, text_record
from tests.tiny_transformers import TEXTS, tokenizer_of

ENCODERS = (
    *("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "electra", "albert"),
    *("ernie", "data2vec-text", "distilbert", "modernbert", "eurobert", "roberta-prelayernorm"),
    *("rembert", "layoutlm", "mobilebert", "nystromformer", "esm", "xmod", "deberta"),
    *("deberta-v2", "mpnet", "megatron-bert", "roformer", "big_bird", "luke", "convbert"),
    *("squeezebert", "xlnet", "longformer", "funnel", "fnet", "canine", "ibert", "mra", "yoso"),
)
DECODERS = (
    *("llama", "qwen2", "qwen3", "mistral", "ministral", "gemma", "gemma2", "gemma3_text", "phi"),
    *("phi3", "smollm3", "olmo", "olmo2", "cohere", "granite", "stablelm", "starcoder2", "mixtral"),
    *("gpt_oss", "gpt2", "gptj", "gpt_neox", "opt", "qwen3_moe", "glm", "nemotron", "helium"),
    *("biogpt", "xglm", "codegen", "gpt_bigcode", "persimmon", "seed_oss", "ernie4_5", "arcee"),
    *("gpt_neo", "bloom", "falcon", "mpt", "mamba", "ctrl"),
)
TRANSLATORS = (
    *("marian", "bart", "mbart", "pegasus", "m2m_100", "blenderbot", "blenderbot-small", "t5"),
    *("mt5", "umt5", "longt5", "led", "plbart", "bigbird_pegasus", "prophetnet"),
)
AUTO = {
    "encoder": "AutoModelForSequenceClassification",
    "decoder": "AutoModelForCausalLM",
    "translator": "AutoModelForSeq2SeqLM",
}
SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 3),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 3),
    **dict.fromkeys(("num_encoder_layers",), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("attention_heads",), 4),
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 8,
    "d_head": 8,
    "rotary_dim": 4,
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "d_inner"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "hidden_dim"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 80),
    **dict.fromkeys(("num_local_experts", "num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token"), 2),
    "moe_intermediate_size": 16,
    "max_window_layers": 1,
    "sliding_window": 6,
    "query_pre_attn_scalar": 8,
    "decoder_start_token_id": 1,
    "partial_rotary_factor": 0.5,
    "num_hidden_groups": 1,
    "pooler_hidden_size": 32,
    "attention_window": 4,
    "token_dropout": False,
}


def kind_of(family: str) -> str:
    """Which list a family is in."""
    if family in ENCODERS:
        return "encoder"
    return "decoder" if family in DECODERS else "translator"


def small_model(family: str, seed: int = 0) -> tuple[Any, Any]:
    """A small random model of a family, and a tokenizer."""
    kind = kind_of(family)
    tokenizer = tokenizer_of("llama" if kind == "decoder" else "bert", TEXTS)
    config = transformers.AutoConfig.for_model(family)
    for name, value in SMALL.items():
        # of a few families a value is made from others and cannot be set
        if hasattr(config, name) and getattr(config, name) is not None:
            try:
                setattr(config, name, value)
            except (AttributeError, NotImplementedError):
                continue
    values = {
        name: getattr(config, name)
        for name in ("layer_types", "rope_scaling")
        if hasattr(config, name)
    }
    if values.get("layer_types"):
        kept = list(values["layer_types"])
        config.layer_types = (kept * 3)[:3]
    if family in ("ministral", "nemotron"):
        config.head_dim = 8
    if family == "nemotron":
        config.num_key_value_heads = 2
    config.vocab_size = max(len(tokenizer), 120)
    for name in ("pad_token_id", "eos_token_id", "bos_token_id"):
        setattr(config, name, {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0}[name])
    if kind == "encoder":
        config.num_labels = 3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, AUTO[kind]).from_config(config, attn_implementation="eager")
        for parameter in model.parameters():
            # larger than the initial values, so that layers and positions matter
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval(), tokenizer


def records_of(kind: str) -> list[Text]:
    """Texts of different length, with the beginning of a translation where it is wanted."""
    if kind == "translator":
        return [pair_record(str(i), text, "a film") for i, text in enumerate(TEXTS)]
    return [text_record(str(i), text) for i, text in enumerate(TEXTS)]
