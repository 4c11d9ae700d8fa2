"""Tiny real bases: transformers models with random weights, and tokenizers trained on the samples.

Small enough to train in a second, and of the same classes, files and layer names as the large ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from training.grow import grow
from training.recipe import Recipe

SAMPLES = Path(__file__).parents[1] / "training" / "samples"
VOCABULARY = 1000
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BART_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
T5_SPECIAL = ["<pad>", "</s>", "<unk>"]
POSITIONS = 256


def sample_texts() -> list[str]:
    """Everything that is written in the sample data."""
    tickets = [json.loads(line)["text"] for line in _lines("support_tickets.jsonl")]
    reports = [" ".join(json.loads(line)["sentences"]) for line in _lines("incident_reports.jsonl")]
    manuals = json.loads((SAMPLES / "product_manuals.json").read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph["context"] for manual in manuals for paragraph in manual["paragraphs"]]
    return [*tickets, *reports, *paragraphs]


def _lines(name: str) -> list[str]:
    return (SAMPLES / name).read_text(encoding="utf-8").splitlines()


def bert_tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        sample_texts(),
        trainers.WordPieceTrainer(
            vocab_size=VOCABULARY, special_tokens=BERT_SPECIAL, show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def byte_level(special: list[str]) -> Tokenizer:
    """Pairs of bytes that are often beside each other; nothing is put around a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        sample_texts(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def unigram(special: list[str], single: str, pair: str) -> Tokenizer:
    """Pieces of words by their likelihood; single, pair: templates of one text and of two."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    unknown = next(token for token in special if "unk" in token.lower())
    made.train_from_iterator(
        sample_texts(),
        trainers.UnigramTrainer(
            vocab_size=VOCABULARY, special_tokens=special, unk_token=unknown, show_progress=False
        ),
    )
    framing = [(token, special.index(token)) for token in special if token in single.split()]
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=framing
    )
    return made


def bart_tokenizer() -> Tokenizer:
    made = byte_level(BART_SPECIAL)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def t5_tokenizer() -> Tokenizer:
    return unigram(T5_SPECIAL, "$A </s>", "$A </s> $B </s>")


def save_bert(folder: Path) -> Path:
    config = hf.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
    )
    fast = hf.BertTokenizerFast(tokenizer_object=bert_tokenizer())
    return save(hf.BertModel, config, fast, folder)


def save_distilbert(folder: Path) -> Path:
    config = hf.DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=32,
        n_layers=4,
        n_heads=2,
        hidden_dim=64,
        max_position_embeddings=POSITIONS,
    )
    fast = hf.DistilBertTokenizerFast(tokenizer_object=bert_tokenizer())
    return save(hf.DistilBertModel, config, fast, folder)


def save_bart(folder: Path) -> Path:
    config = hf.BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=4,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=POSITIONS,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    fast = hf.BartTokenizerFast(tokenizer_object=bart_tokenizer())
    return save(hf.BartForConditionalGeneration, config, fast, folder)


def save_t5(folder: Path) -> Path:
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=4,  # transformers 4.57 cannot generate with a decoder deeper than the encoder
        num_decoder_layers=4,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    fast = hf.T5TokenizerFast(tokenizer_object=t5_tokenizer(), extra_ids=0)
    return save(hf.T5ForConditionalGeneration, config, fast, folder)


def save_pegasus(folder: Path) -> Path:
    config = hf.PegasusConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=4,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        forced_eos_token_id=1,
    )
    fast = hf.PegasusTokenizerFast(tokenizer_object=t5_tokenizer(), offset=0, mask_token_sent=None)
    return save(hf.PegasusForConditionalGeneration, config, fast, folder)


def save_grown(bert: Path, folder: Path) -> Path:
    """As `training.seq2seq` starts from an encoder."""
    torch.manual_seed(7)
    recipe = Recipe(name="grown", kind="seq2seq", base=str(bert), decoder_layers=[0, 2])
    grow(bert, recipe).save_pretrained(folder)
    hf.AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    return folder


def save(model_class: Any, config: Any, tokenizer: Any, folder: Path) -> Path:
    torch.manual_seed(7)
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
