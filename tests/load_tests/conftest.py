"""A tiny real server for the load generator to drive, and tiny variants for the whole report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from load_tests.server import Server, free_port, started
from tests.services import tiny


def tiny_command(port: int, mode: str = "") -> list[str]:
    command = [sys.executable, "-m", "tests.load_tests.tiny_server", str(port)]
    return [*command, mode] if mode else command


@pytest.fixture(scope="session")
def tiny_server() -> Iterator[Server]:
    port = free_port()
    with started(tiny_command(port), port, env={}, timeout_s=20) as server:
        yield server


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment in which tiny variants of every model are published."""
    root = tmp_path_factory.mktemp("published")
    keys = ["intent/full", "intent/distilled-int8", "emotion/full", "reader/full"]
    keys += ["highlights/full", "zeroshot/full"]
    folders = [
        tiny.write_variant(root / key, *key.split("/"), max_tokens=256)  # most words are spelt out
        for key in keys
    ]
    tags = [tiny.store(folder, root / "home") for folder in folders]
    lock = tiny.write_lock(root / "variants.lock.json", tags)
    return {"BENTOML_HOME": str(root / "home"), "TRANSFER_LOCK": str(lock)}


@pytest.fixture(scope="session")
def checkpoints(tiny_bart: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Kind to a tiny BERT (or BART) checkpoint of it, with random weights."""
    import transformers as hf

    heads = {
        "sequence-classification": hf.BertForSequenceClassification,
        "question-answering": hf.BertForQuestionAnswering,
        "sentence-extraction": hf.BertForTokenClassification,
        "zero-shot": hf.BertModel,
    }
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    folders = {"seq2seq": tiny_bart}
    for kind, head in heads.items():
        labels = {"sentence-extraction": 1, "question-answering": 2}.get(kind, 3)
        config = hf.BertConfig(
            vocab_size=len(tiny.vocabulary()), num_hidden_layers=1, num_labels=labels, **sizes
        )
        folders[kind] = tmp_path_factory.mktemp(kind)
        head(config).save_pretrained(folders[kind])
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
        tokenizer = hf.BertTokenizerFast(
            tokenizer_object=tiny.tokenizer(), cls_token="[CLS]", sep_token="[SEP]", **special
        )
        tokenizer.save_pretrained(folders[kind])
    return folders
