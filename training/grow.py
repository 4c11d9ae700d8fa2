"""An encoder checkpoint in, an encoder-decoder out: a generator grown from a BERT.

    model = grow(resolve("embedded").path, recipe)  # transformers.BartForConditionalGeneration

After Rothe, Narayan & Severyn 2020, "Leveraging pre-trained checkpoints for sequence generation
tasks". Layers of BERT and of BART are normalized at the same places (post-norm), so BERT's weights
fit BART's encoder one to one and its outputs stay what they were. The decoder takes the layers that
the recipe names, once more; embeddings and positions are shared, and the output layer is tied to
the token embeddings. The result is a plain BART: `from_pretrained`, export and serving know nothing
of its past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
)

from services.errors import UsageError
from training.models import load_model
from training.recipe import Recipe

POSITION_OFFSET = 2  # the first rows of BART's positions are never read
# BART's module -> BERT's, within one layer
SELF_ATTENTION = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
}
FEED_FORWARD = {
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
CROSS_ATTENTION = {
    ours.replace("self_attn", "encoder_attn"): theirs for ours, theirs in SELF_ATTENTION.items()
}
WRITING = {"num_beams": 4, "early_stopping": True, "no_repeat_ngram_size": 3, "min_length": 5}


def grow(folder: Path, recipe: Recipe) -> BartForConditionalGeneration:
    """A BART whose encoder is the BERT in `folder`, its decoder made of `recipe.decoder_layers`.

    BART's layer norms have an epsilon of 1e-5 that no config can change, BERT's 1e-12: with the
    embedded base that moves the encoder's outputs, which reach 6.1, by at most 0.005.
    Raises UsageError for a base that is no BERT, and for layers that it has not.
    """
    bert = _read_bert(folder, recipe)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BartForConditionalGeneration(_config(bert.config, tokenizer, recipe))
    model.generation_config = _generation(model.config, recipe)
    copied = _seeded(bert.state_dict(), bert.config.num_hidden_layers, recipe)
    _load(model, copied)
    return model


def _read_bert(folder: Path, recipe: Recipe) -> Any:
    config = AutoConfig.from_pretrained(folder)
    if config.model_type != "bert" or config.position_embedding_type != "absolute":
        raise UsageError(
            f"{recipe.base} is a {config.model_type}; a decoder grows from a BERT with absolute "
            "positions.",
            "Leave `decoder_layers` out for a base that generates, or set `base: embedded`.",
        )
    depth = config.num_hidden_layers
    wrong = [layer for layer in recipe.decoder_layers if not 0 <= layer < depth]
    if wrong:
        raise UsageError(
            f"decoder_layers is {recipe.decoder_layers}; "
            f"{recipe.base} has layers 0 to {depth - 1}.",
            f"E.g. decoder_layers={list(range(0, depth, 2))}.",
        )
    return load_model("zero-shot", folder)


def _config(bert: Any, tokenizer: Any, recipe: Recipe) -> BartConfig:
    plain = recipe.dropout is None
    options = {"attn_implementation": recipe.attention} if recipe.attention else {}
    return BartConfig(
        vocab_size=bert.vocab_size,
        d_model=bert.hidden_size,
        encoder_layers=bert.num_hidden_layers,
        decoder_layers=len(recipe.decoder_layers),
        encoder_attention_heads=bert.num_attention_heads,
        decoder_attention_heads=bert.num_attention_heads,
        encoder_ffn_dim=bert.intermediate_size,
        decoder_ffn_dim=bert.intermediate_size,
        max_position_embeddings=bert.max_position_embeddings,
        activation_function=bert.hidden_act,
        dropout=bert.hidden_dropout_prob if plain else recipe.dropout,
        attention_dropout=bert.attention_probs_dropout_prob if plain else recipe.dropout,
        activation_dropout=0.0,
        init_std=bert.initializer_range,
        scale_embedding=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        decoder_start_token_id=tokenizer.cls_token_id,
        forced_eos_token_id=None,
        **options,
    )


def _generation(config: BartConfig, recipe: Recipe) -> GenerationConfig:
    """How summaries are written unless the caller says otherwise; lengths count the start token."""
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        max_length=recipe.max_target_tokens + 1,
        **WRITING,
    )


def _seeded(bert: Mapping[str, Tensor], depth: int, recipe: Recipe) -> dict[str, Tensor]:
    """BERT's tensors under BART's names; what is missing starts at random."""
    words = bert["embeddings.word_embeddings.weight"]
    positions = bert["embeddings.position_embeddings.weight"]
    # BART knows no token types: the first, which every text has, moves into the positions.
    positions = positions + bert["embeddings.token_type_embeddings.weight"][0]
    unread = torch.zeros(POSITION_OFFSET, positions.shape[1])
    named = {"model.shared.weight": words, "lm_head.weight": words}
    for part in ("encoder", "decoder"):
        named[f"model.{part}.embed_tokens.weight"] = words
        named[f"model.{part}.embed_positions.weight"] = torch.cat([unread, positions])
        norm = {"layernorm_embedding": "embeddings.LayerNorm"}
        named |= _renamed(bert, f"model.{part}", "", norm)
    crossed = CROSS_ATTENTION if recipe.cross_attention == "copied" else {}
    encoder, decoder = SELF_ATTENTION | FEED_FORWARD, SELF_ATTENTION | crossed | FEED_FORWARD
    return (
        named
        | _layers(bert, "encoder", range(depth), encoder)
        | _layers(bert, "decoder", recipe.decoder_layers, decoder)
    )


def _layers(
    bert: Mapping[str, Tensor], part: str, layers: Sequence[int], modules: Mapping[str, str]
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for new, old in enumerate(layers):
        found |= _renamed(bert, f"model.{part}.layers.{new}", f"encoder.layer.{old}.", modules)
    return found


def _renamed(
    bert: Mapping[str, Tensor], ours: str, theirs: str, modules: Mapping[str, str]
) -> dict[str, Tensor]:
    return {
        f"{ours}.{new}.{kind}": bert[f"{theirs}{old}.{kind}"]
        for new, old in modules.items()
        for kind in ("weight", "bias")
    }


def _load(model: BartForConditionalGeneration, copied: Mapping[str, Tensor]) -> None:
    """Raises RuntimeError for a tensor that BART has not, or has in another shape."""
    missing, unexpected = model.load_state_dict(copied, strict=False)
    random = [name for name in missing if "encoder_attn" not in name]
    if unexpected or random != ["final_logits_bias"]:
        raise RuntimeError(f"BERT does not fill BART: {unexpected} are new, {random} are missing")
