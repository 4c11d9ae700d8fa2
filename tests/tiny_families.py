"""Tiny real bases of the families that hub recipes name, beside those of `tests.tiny_bases`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf
from tokenizers import processors

from tests import tiny_bases
from tests.tiny_bases import POSITIONS, VOCABULARY, byte_level, save, unigram

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
END = "<|endoftext|>"
XLM_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def save_roberta(folder: Path) -> Path:
    config = hf.RobertaConfig(**SMALL, max_position_embeddings=POSITIONS + 2, type_vocab_size=1)
    fast = hf.RobertaTokenizerFast(tokenizer_object=tiny_bases.bart_tokenizer())
    return save(hf.RobertaModel, config, fast, folder)


def save_xlmr(folder: Path) -> Path:
    config = hf.XLMRobertaConfig(**SMALL, max_position_embeddings=POSITIONS + 2, type_vocab_size=1)
    made = unigram(XLM_SPECIAL, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return save(
        hf.XLMRobertaModel, config, hf.XLMRobertaTokenizerFast(tokenizer_object=made), folder
    )


def save_deberta(folder: Path) -> Path:
    config = hf.DebertaV2Config(
        **SMALL,
        max_position_embeddings=POSITIONS,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        pooler_hidden_size=32,
    )
    made = unigram(tiny_bases.BERT_SPECIAL, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    fast = hf.DebertaV2TokenizerFast(tokenizer_object=made)
    return save(hf.DebertaV2Model, config, fast, folder)


def save_modernbert(folder: Path) -> Path:
    config = hf.ModernBertConfig(
        **SMALL,
        max_position_embeddings=POSITIONS,
        local_attention=16,
        reference_compile=False,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    made = byte_level(tiny_bases.BERT_SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return save(hf.ModernBertModel, config, fast, folder)


def save_gpt2(folder: Path) -> Path:
    """With a tokenizer that has no padding token, as the published one."""
    config = hf.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    fast = hf.GPT2TokenizerFast(
        tokenizer_object=byte_level([END]), bos_token=END, eos_token=END, unk_token=END
    )
    return save(hf.GPT2Model, config, fast, folder)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "google-bert/bert-base-uncased": tiny_bases.save_bert,
    "microsoft/MiniLM-L12-H384-uncased": tiny_bases.save_bert,
    "distilbert/distilbert-base-uncased": tiny_bases.save_distilbert,
    "FacebookAI/roberta-base": save_roberta,
    "FacebookAI/xlm-roberta-base": save_xlmr,
    "answerdotai/ModernBERT-base": save_modernbert,
    "microsoft/deberta-v3-base": save_deberta,
    "openai-community/gpt2": save_gpt2,
    "facebook/bart-large": tiny_bases.save_bart,
    "sshleifer/distilbart-cnn-12-6": tiny_bases.save_bart,
    "google-t5/t5-small": tiny_bases.save_t5,
    "google/pegasus-large": tiny_bases.save_pegasus,
}


def family(base: str, made: dict[str, Path], folder: Callable[[], Path]) -> Path:
    """The tiny base of a hub id, made once for each maker."""
    save_it: Any = FAMILIES[base]
    if save_it.__name__ not in made:
        made[save_it.__name__] = save_it(folder())
    return made[save_it.__name__]
