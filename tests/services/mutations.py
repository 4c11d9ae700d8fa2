"""What can be wrong with a variant: after it was stored, as it was published, in its lock.

Each mutation spoils one tiny `intent/full` and says which file the refusal must name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models

from export.embeddings import data_name, put_embeddings_beside
from services.manifest import describe_files
from tests.services import tiny

MANIFEST, GRAPH, TOKENIZER, LOCK = "manifest.json", "model.onnx", "tokenizer.json", "lock.json"


@dataclass
class Published:
    """A variant in a store of its own. stored: its folder there; lock: the file that names it"""

    home: Path
    stored: Path
    lock: Path
    tag: str


# --- after it was stored: the disk, or somebody with access to it


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Published], None]:
    def spoil(published: Published) -> None:
        path = published.stored / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def flip(share: float) -> Callable[[bytes], bytes]:
    """One bit, at a share of the length."""

    def change(content: bytes) -> bytes:
        at = int(share * (len(content) - 1))
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return change


def cut(content: bytes) -> bytes:
    return content[:-7]


def longer(content: bytes) -> bytes:
    return content + b"\0"


def empty(content: bytes) -> bytes:
    return b""


def remove(name: str) -> Callable[[Published], None]:
    return lambda published: (published.stored / name).unlink()


def link(name: str) -> Callable[[Published], None]:
    """The same content, but behind a link."""

    def spoil(published: Published) -> None:
        path = published.stored / name
        path.rename(published.home / name)
        path.symlink_to(published.home / name)

    return spoil


def linked_folder(published: Published) -> None:
    """The whole variant, but behind a link."""
    published.stored.rename(published.home / "elsewhere")
    published.stored.symlink_to(published.home / "elsewhere", target_is_directory=True)


def folder_instead(published: Published) -> None:
    (published.stored / GRAPH).unlink()
    (published.stored / GRAPH).mkdir()


def swapped(published: Published) -> None:
    graph, tokenizer = published.stored / GRAPH, published.stored / TOKENIZER
    content = graph.read_bytes()
    graph.write_bytes(tokenizer.read_bytes())
    tokenizer.write_bytes(content)


def file_of(model: str, name: str) -> Callable[[Published], None]:
    """The file of another model, whole in itself."""

    def spoil(published: Published) -> None:
        other = tiny.write_variant(published.home / "other", model, "full")
        shutil.copy(other / name, published.stored / name)

    return spoil


def tokenizer_of_another_model(published: Published) -> None:
    small_tokenizer().save(str(published.stored / TOKENIZER))


DAMAGED: dict[str, tuple[Callable[[Published], None], str]] = {
    **{
        f"{name} flipped at {share}": (rewrite(name, flip(share)), name)
        for name in (GRAPH, TOKENIZER, MANIFEST)
        for share in (0.0, 0.3, 0.7, 1.0)
    },
    **{f"{name} truncated": (rewrite(name, cut), name) for name in (GRAPH, TOKENIZER, MANIFEST)},
    **{f"{name} emptied": (rewrite(name, empty), name) for name in (GRAPH, TOKENIZER, MANIFEST)},
    **{f"{name} longer": (rewrite(name, longer), name) for name in (GRAPH, TOKENIZER, MANIFEST)},
    **{f"{name} removed": (remove(name), name) for name in (GRAPH, TOKENIZER, MANIFEST)},
    **{f"{name} behind a link": (link(name), name) for name in (GRAPH, TOKENIZER, MANIFEST)},
    "its folder behind a link": (linked_folder, "is a link"),
    "a folder in place of the graph": (folder_instead, GRAPH),
    "graph and tokenizer swapped": (swapped, GRAPH),
    "the graph of another model": (file_of("emotion", GRAPH), GRAPH),
    "the manifest of another model": (file_of("emotion", MANIFEST), MANIFEST),
    "the tokenizer of another model": (tokenizer_of_another_model, TOKENIZER),
}


# --- as it was published: hashes and tag fit, and it is still wrong


def small_tokenizer(extra: int = 0) -> Tokenizer:
    """A tokenizer of other words, or of more than the graph knows."""
    words = tiny.vocabulary() if extra else dict.fromkeys((*tiny.SPECIAL, "a"), 0)
    names = [*words, *(f"more{number}" for number in range(extra))]
    table = {name: number for number, name in enumerate(names)}
    return Tokenizer(models.WordPiece(table, unk_token="[UNK]"))


def graph(change: Callable[[onnx.ModelProto], None]) -> onnx.ModelProto:
    made = tiny.classifier(tiny.INTENT_WORDS)
    change(made)
    return made


def nan_in_one_word(made: onnx.ModelProto) -> None:
    """Of a word that no text has on which a variant is tried."""
    table = made.graph.initializer[0]
    vectors = numpy_helper.to_array(table).copy()
    vectors[tiny.vocabulary()["stolen"]] = np.nan
    table.CopyFrom(numpy_helper.from_array(vectors, table.name))


def nan_in_a_constant(made: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.array([np.nan], np.float32), "nothing")
    made.graph.node.insert(0, helper.make_node("Constant", [], ["nothing"], value=value))


def nan_among_numbers(name: str) -> Callable[[onnx.ModelProto], None]:
    """A constant that holds its numbers without a tensor."""
    value = [1.0, float("nan")] if name.endswith("s") else float("nan")

    def change(made: onnx.ModelProto) -> None:
        made.graph.node.insert(0, helper.make_node("Constant", [], ["nothing"], **{name: value}))

    return change


def nan_in_whole_numbers(kind: int) -> Callable[[onnx.ModelProto], None]:
    """Halves as `helper.make_tensor` writes them: their bits as numbers of 32."""

    def change(made: onnx.ModelProto) -> None:
        value = helper.make_tensor("nothing", kind, [3], [1.0, float("nan"), -2.0])
        assert len(value.int32_data) == 3
        made.graph.initializer.append(value)

    return change


def half(made: onnx.ModelProto) -> None:
    """NaN in a table of half precision."""
    table = made.graph.initializer[0]
    vectors = numpy_helper.to_array(table).astype(np.float16)
    vectors[7, 0] = np.nan
    table.CopyFrom(numpy_helper.from_array(vectors, table.name))
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def renamed_input(made: onnx.ModelProto) -> None:
    made.graph.input[2].name = "types"


def unlisted_input(made: onnx.ModelProto) -> None:
    more = helper.make_tensor_value_info("more", TensorProto.INT64, ["windows", "tokens"])
    made.graph.input.append(more)


def input_of_another_type(made: onnx.ModelProto) -> None:
    made.graph.input[2].type.tensor_type.elem_type = TensorProto.FLOAT


def output_of_another_type(made: onnx.ModelProto) -> None:
    """Whole numbers, which would decide every text."""
    made.graph.node.append(helper.make_node("Cast", ["logits"], ["rounded"], to=TensorProto.INT64))
    made.graph.output[0].name = "rounded"
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64


def newer_opset(made: onnx.ModelProto) -> None:
    made.opset_import[0].version = 999


def unknown_operators(made: onnx.ModelProto) -> None:
    made.opset_import.append(helper.make_opsetid("elsewhere", 1))
    made.graph.node[0].domain, made.graph.node[0].op_type = "elsewhere", "Steal"


def weights_elsewhere(made: onnx.ModelProto) -> None:
    """In a file that no hash covers."""
    table = made.graph.initializer[0]
    table.ClearField("raw_data")
    table.data_location = TensorProto.EXTERNAL
    entry = table.external_data.add()
    entry.key, entry.value = "location", "../elsewhere.bin"


def beside(change: Callable[[Path], None] = lambda folder: None) -> Callable[[Path], Path]:
    """The table with a NaN in a file of its own; `change` has the last word on the files."""

    def write(folder: Path) -> Path:
        tiny.write_variant(folder, graph=graph(nan_in_one_word))
        put_embeddings_beside(folder / GRAPH, least_bytes=1)
        change(folder)
        return with_right_hashes(folder)

    return write


def shorter_table(folder: Path) -> None:
    table = folder / data_name(GRAPH)
    table.write_bytes(table.read_bytes()[:100])


def with_right_hashes(folder: Path) -> Path:
    files = [{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in describe_files(folder)]
    return Path(with_fields(files=files)(folder, made=True))


def with_files(content: dict[str, bytes]) -> Callable[[Path], Path]:
    """Published with these files, and with their right hashes."""

    def write(folder: Path) -> Path:
        tiny.write_variant(folder)
        for name, data in content.items():
            (folder / name).write_bytes(data)
        return with_right_hashes(folder)

    return write


def with_tokenizer(made: Tokenizer) -> Callable[[Path], Path]:
    return with_files({TOKENIZER: made.to_str().encode()})


def with_graph(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], Path]:
    return lambda folder: tiny.write_variant(folder, graph=graph(change))


def with_fields(**fields: Any) -> Any:
    """Fields of the manifest as JSON has them, of whatever type."""

    def write(folder: Path, made: bool = False) -> Path:
        if not made:
            tiny.write_variant(folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**manifest, **fields}))
        return folder

    return write


def with_first_file(**fields: Any) -> Callable[[Path], Path]:
    """Fields of the first entry of `files`."""

    def write(folder: Path) -> Path:
        tiny.write_variant(folder)
        files = json.loads((folder / MANIFEST).read_text())["files"]
        return Path(with_fields(files=[{**files[0], **fields}, *files[1:]])(folder, made=True))

    return write


def without_field(folder: Path) -> Path:
    tiny.write_variant(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["labels"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def named_twice(folder: Path) -> Path:
    """Two label lists: which of them is meant depends on the parser."""
    tiny.write_variant(folder)
    path = folder / MANIFEST
    other = json.dumps(list(reversed(tiny.INTENTS)))
    path.write_text(path.read_text().replace("{", f'{{"labels": {other},', 1))
    return folder


def as_published(text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tiny.write_variant(folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(text.replace("NAME", manifest["name"]))
        return folder

    return write


MISPUBLISHED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "NaN in the vector of one word": (with_graph(nan_in_one_word), GRAPH),
    "NaN in a constant": (with_graph(nan_in_a_constant), GRAPH),
    "NaN in half precision": (with_graph(half), GRAPH),
    "NaN in halves as whole numbers": (
        with_graph(nan_in_whole_numbers(TensorProto.FLOAT16)),
        "NaN in nothing",
    ),
    "NaN in short floats as whole numbers": (
        with_graph(nan_in_whole_numbers(TensorProto.BFLOAT16)),
        "NaN in nothing",
    ),
    "NaN as a constant number": (
        with_graph(nan_among_numbers("value_float")),
        "NaN in value_float",
    ),
    "NaN among constant numbers": (
        with_graph(nan_among_numbers("value_floats")),
        "NaN in value_floats",
    ),
    "NaN in a table beside the graph": (beside(), GRAPH),
    "a table beside the graph that is too short": (beside(shorter_table), GRAPH),
    "an input renamed": (with_graph(renamed_input), GRAPH),
    "one more input": (with_graph(unlisted_input), GRAPH),
    "an input of another type": (with_graph(input_of_another_type), GRAPH),
    "an output of another type": (
        lambda folder: tiny.write_variant(
            folder, graph=graph(output_of_another_type), outputs=["rounded"]
        ),
        GRAPH,
    ),
    "an opset of the future": (with_graph(newer_opset), GRAPH),
    "operators that nobody knows": (with_graph(unknown_operators), GRAPH),
    "weights in a file that is not listed": (with_graph(weights_elsewhere), GRAPH),
    "no graph at all": (with_files({GRAPH: b"not a graph"}), GRAPH),
    "no tokenizer at all": (with_files({TOKENIZER: b'{"version": "1.0"}'}), TOKENIZER),
    "a tokenizer of more words than the graph knows": (
        with_tokenizer(small_tokenizer(extra=500)),
        GRAPH,
    ),
    "a label too few": (with_fields(labels=list(tiny.INTENTS[:2])), GRAPH),
    "a label too many": (with_fields(labels=[*tiny.INTENTS, "more"]), GRAPH),
    "a label twice": (with_fields(labels=[tiny.INTENTS[0]] * 3), MANIFEST),
    "an empty label": (with_fields(labels=["", *tiny.INTENTS[1:]]), MANIFEST),
    "labels that are no list": (with_fields(labels="abc"), MANIFEST),
    "labels missing": (without_field, MANIFEST),
    "labels named twice": (named_twice, MANIFEST),
    "an unknown field": (with_fields(extra=1), MANIFEST),
    "an unknown kind": (with_fields(kind="magic"), MANIFEST),
    "another kind": (with_fields(kind="question-answering", decoding={}), GRAPH),
    "a text for a number": (with_fields(max_tokens="64"), MANIFEST),
    "no room in a window": (with_fields(max_tokens=2), MANIFEST),
    "a negative window": (with_fields(max_tokens=-64), MANIFEST),
    "a temperature of 0": (with_fields(decoding={"temperature": 0.0}), MANIFEST),
    "a temperature that is a text": (with_fields(decoding={"temperature": "1"}), MANIFEST),
    "a setting that nobody knows": (with_fields(decoding={"temprature": 1.0}), MANIFEST),
    "thresholds for other labels": (
        with_fields(decoding={"multi_label": True, "thresholds": [0.5]}),
        MANIFEST,
    ),
    "no files": (with_fields(files=[]), MANIFEST),
    "another sha256": (with_first_file(sha256="0" * 64), GRAPH),
    "another size": (with_first_file(bytes=-1), GRAPH),
    "a size that is a text": (with_first_file(bytes="9"), MANIFEST),
    "a path upwards": (with_first_file(path="../model.onnx"), MANIFEST),
    "a path from the root": (with_first_file(path="/etc/passwd"), MANIFEST),
    "a path with a NUL": (with_first_file(path="model.onnx\0"), MANIFEST),
    "a path that is too long": (with_first_file(path="a" * 5000), MANIFEST),
    "a manifest of a name alone": (as_published('{"name": "NAME"}'), MANIFEST),
    "another model's name in it": (with_fields(model="emotion"), MANIFEST),
}


# --- in its lock


def lock_of(text: str) -> Callable[[Published], None]:
    """TAG stands for the right one."""
    return lambda published: published.lock.write_text(text.replace("TAG", published.tag)) and None


LOCKED: dict[str, tuple[Callable[[Published], None], str]] = {
    "an empty lock": (lock_of(""), LOCK),
    "no variants": (lock_of('{"variants": {}}'), LOCK),
    "a list": (lock_of('{"variants": ["TAG"]}'), LOCK),
    "the tag of another model": (lock_of('{"variants": {"reader/full": "TAG"}}'), LOCK),
    "a tag without a digest": (lock_of('{"variants": {"intent/full": "intent-full"}}'), LOCK),
    "the latest": (lock_of('{"variants": {"intent/full": "intent-full:latest"}}'), MANIFEST),
    "a tag that is not in the store": (
        lock_of('{"variants": {"intent/full": "intent-full:0123456789abcdef"}}'),
        "intent-full:0123456789abcdef",
    ),
    "a path for a tag": (
        lock_of('{"variants": {"intent/full": "intent-full:../../etc"}}'),
        "intent-full:../../etc",
    ),
    "a variant named twice": (
        lock_of('{"variants": {"intent/full": "TAG", "intent/full": "intent-full:0"}}'),
        LOCK,
    ),
    "an unknown field": (lock_of('{"variants": {"intent/full": "TAG"}, "more": 1}'), LOCK),
}
