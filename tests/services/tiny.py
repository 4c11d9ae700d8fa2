"""Tiny real variants, made by hand: ONNX graphs that look tokens up in a table, and a tokenizer.

Every word that matters has a known logit, so tests can say which answer is right. Written in the
layout of `services.manifest` and stored in a BentoML model store like real ones.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from services.manifest import Base, Manifest, Parity, Quality, describe_files, write_manifest

WORDS = (  # noqa: SIM905
    "transfer send freeze stolen balance account money card please the a of to is my what when "
    "happy angry thanks terrible twenty paris monday important urgent delivery parcel courier "
    "invoice bill payment and"
).split()
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
PROVIDER = "CPUExecutionProvider"

INTENTS = ("transfer_money", "freeze_card", "check_balance")
EMOTIONS = ("joy", "anger", "neutral")
INTENT_WORDS = {
    "transfer": (6, 0, 0),
    "send": (6, 0, 0),
    "freeze": (0, 6, 0),
    "stolen": (0, 6, 0),
    "balance": (0, 0, 6),
}
EMOTION_WORDS = {"happy": (8, 0, 0), "thanks": (8, 0, 0), "angry": (0, 8, 0), "[CLS]": (-4, -4, -4)}
ANSWER_WORDS = {"twenty": (5,), "paris": (4,), "monday": (3,), "[CLS]": (1,)}
TELLING_WORDS = {"important": (6,), "urgent": (4,)}
DELIVERY, MONEY = (1, 0, 0, 0), (0, 1, 0, 0)
MEANINGS = {
    "delivery": DELIVERY,
    "parcel": DELIVERY,
    "courier": DELIVERY,
    "invoice": MONEY,
    "bill": MONEY,
    "payment": MONEY,
}

Table = dict[str, tuple[float, ...]]


def vocabulary() -> dict[str, int]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *".,!?'\"-:;()"]
    every = dict.fromkeys([*SPECIAL, *pieces, *WORDS])
    return {piece: index for index, piece in enumerate(every)}


def tokenizer() -> Tokenizer:
    """A BERT tokenizer whose file, like the real base's, says "cut at 128 and pad to 128"."""
    made = Tokenizer(models.WordPiece(vocabulary(), unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.enable_truncation(128)
    made.enable_padding(length=128)
    return made


def lookup(table: Table, width: int, scale: float = 1.0) -> np.ndarray:
    """(vocabulary, width): the vectors of the words in `table`, near zero for all others."""
    known = vocabulary()
    vectors = np.zeros((len(known), width), np.float32)
    for word, vector in table.items():
        vectors[known[word]] = vector
    return vectors * np.float32(scale)


def graph(outputs: dict[str, np.ndarray], pooled: bool, squeezed: bool) -> onnx.ModelProto:
    """Each output is its table looked up by token: summed over the text, or one row per token."""
    nodes, tables, values = [], [], []
    if pooled:
        nodes.append(helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Unsqueeze", ["mask", "last"], ["column"]))
    for name, vectors in outputs.items():
        tables.append(numpy_helper.from_array(vectors, f"{name}_table"))
        rows = f"{name}_rows" if pooled or squeezed else name
        nodes.append(helper.make_node("Gather", [f"{name}_table", "input_ids"], [rows]))
        if pooled:
            nodes.append(helper.make_node("Mul", [rows, "column"], [f"{name}_kept"]))
            nodes.append(
                helper.make_node("ReduceSum", [f"{name}_kept", "middle"], [name], keepdims=0)
            )
        elif squeezed:
            nodes.append(helper.make_node("Squeeze", [rows, "last"], [name]))
        shape: list[Any] = ["windows", "tokens", vectors.shape[1]]
        shape = [shape[0], shape[2]] if pooled else shape[:2] if squeezed else shape
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    tables.append(numpy_helper.from_array(np.array([-1], np.int64), "last"))
    tables.append(numpy_helper.from_array(np.array([1], np.int64), "middle"))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["windows", "tokens"])
        for name in INPUTS
    ]
    made = helper.make_graph(nodes, "tiny", inputs, values, tables)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def classifier(table: Table, scale: float = 1.0) -> onnx.ModelProto:
    return graph({"logits": lookup(table, 3, scale)}, pooled=True, squeezed=False)


def reader(table: Table, scale: float = 1.0) -> onnx.ModelProto:
    logits = lookup(table, 1, scale)
    return graph({"start_logits": logits, "end_logits": logits}, pooled=False, squeezed=True)


def extractor(table: Table, scale: float = 1.0) -> onnx.ModelProto:
    return graph({"logits": lookup(table, 1, scale)}, pooled=False, squeezed=False)


def encoder(table: Table, scale: float = 1.0) -> onnx.ModelProto:
    vectors = lookup(table, 4, scale)
    vectors[:, 3] += 0.05  # no text is the zero vector
    return graph({"last_hidden_state": vectors}, pooled=False, squeezed=False)


JOBS: dict[str, dict[str, Any]] = {
    "intent": {
        "task": "classify",
        "kind": "sequence-classification",
        "labels": list(INTENTS),
        "make": classifier,
        "table": INTENT_WORDS,
        "decoding": {"threshold": 0.5},
    },
    "emotion": {
        "task": "classify",
        "kind": "sequence-classification",
        "labels": list(EMOTIONS),
        "make": classifier,
        "table": EMOTION_WORDS,
        "decoding": {"multi_label": True, "threshold": 0.5},
    },
    "reader": {
        "task": "qa",
        "kind": "question-answering",
        "labels": [],
        "make": reader,
        "table": ANSWER_WORDS,
        "decoding": {"max_answer_tokens": 4, "stride": 16},
    },
    "highlights": {
        "task": "summarize",
        "kind": "sentence-extraction",
        "labels": [],
        "make": extractor,
        "table": TELLING_WORDS,
        "decoding": {"stride": 16},
    },
    "zeroshot": {
        "task": "classify",
        "kind": "zero-shot",
        "labels": [],
        "make": encoder,
        "table": MEANINGS,
        "decoding": {},
    },
}


def write_variant(
    folder: Path,
    model: str = "intent",
    variant: str = "full",
    graph: onnx.ModelProto | None = None,
    **changes: Any,
) -> Path:
    """A complete variant in `folder`; `changes` replace fields of its manifest."""
    job = JOBS[model]
    folder.mkdir(parents=True)
    scale = 1.0 if variant.startswith("full") else 0.9  # another graph, another sha256
    onnx.save(graph or job["make"](job["table"], scale), folder / "model.onnx")
    tokenizer().save(str(folder / "tokenizer.json"))
    outputs = {"question-answering": ["start_logits", "end_logits"]}
    outputs["zero-shot"] = ["last_hidden_state"]
    fields: dict[str, Any] = {
        "name": f"{model}-{variant}",
        "task": job["task"],
        "kind": job["kind"],
        "model": model,
        "variant": variant,
        "labels": job["labels"],
        "outputs": outputs.get(job["kind"], ["logits"]),
        "precision": "int8" if variant.endswith("int8") else "fp32",
        "files": describe_files(folder),
        "decoding": job["decoding"],
    }
    write_manifest(folder, manifest(**{**fields, **changes}))
    return folder


def manifest(**fields: Any) -> Manifest:
    """A manifest of `fields`, the rest made up."""
    common: dict[str, Any] = {
        "base": Base(id="tiny", revision="1", sha256="0" * 64),
        "parent": None,
        "recipe_digest": "0" * 16,
        "git_commit": "0" * 40,
        "created": "2026-11-21T00:00:00Z",
        "max_tokens": 64,
        "inputs": INPUTS,
        "precision": "fp32",
        "provider": PROVIDER,
        "opset": 17,
        "parameters": 300,
        "quality": Quality(metric="accuracy", value=0.9, n=100, data="made up"),
        "parity": Parity(max_abs=0.0, agreement=1.0, n=100),
        "licence": "Apache-2.0",
        "attribution": "none",
    }
    return Manifest(**{**common, **fields})


def tag_of(folder: Path) -> str:
    """MODEL-VARIANT:digest of the manifest, as `export.publish` names it."""
    content = (folder / "manifest.json").read_bytes()
    return f"{json.loads(content)['name']}:{hashlib.sha256(content).hexdigest()[:16]}"


def store(folder: Path, home: Path) -> str:
    """Put a variant into the model store below `home`; returns its tag."""
    import shutil

    import bentoml
    from bentoml._internal.models import ModelStore

    (home / "models").mkdir(parents=True, exist_ok=True)
    tag = tag_of(folder)
    context = bentoml.models.ModelContext(framework_name="onnx", framework_versions={})
    with bentoml.models.create(
        tag,
        module="",
        signatures={},
        context=context,
        _model_store=ModelStore(home / "models"),
    ) as stored:
        shutil.copytree(folder, stored.path, dirs_exist_ok=True)
    return tag


def write_lock(path: Path, tags: list[str]) -> Path:
    """A lock file for tags like `intent-distilled-int8:...`."""
    names = {tag.partition(":")[0].replace("-", "/", 1): tag for tag in tags}
    path.write_text(json.dumps({"variants": dict(sorted(names.items()))}, indent=2))
    return path
