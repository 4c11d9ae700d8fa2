"""Variants on disk: what is whole is loaded, what is not is refused with the name of the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from services.errors import ArtifactError, UsageError
from services.lock import default_variant, packaged, read_lock, select, tags_of
from services.manifest import describe_files
from services.registry import check_tag, check_variant, load_task
from services.runtime import Runtime
from tests.services import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_variant(tmp_path / "variant")


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def as_link(path: Path) -> None:
    target = path.with_suffix(".real")
    path.rename(target)
    path.symlink_to(target)


def refused(folder: Path, words: str) -> str:
    with pytest.raises(ArtifactError, match=words) as caught:
        Runtime.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_variant_is_loaded(folder: Path) -> None:
    assert check_variant(folder).model == "intent"


def test_variants_with_one_tokenizer_share_it_in_memory(folder: Path, tmp_path: Path) -> None:
    other = tiny.write_variant(tmp_path / "other", variant="full-int8")
    first, second = (load_task(check_variant(path), path) for path in (folder, other))
    assert first.tokenizer is second.tokenizer
    assert Runtime.load(folder).key == "intent/full"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: rewrite(path, flip), "has sha256"),
        (lambda path: rewrite(path, lambda content: content[:-7]), "bytes; its manifest says"),
        (lambda path: rewrite(path, lambda content: b""), "has 0 bytes"),
        (lambda path: path.unlink(), "is missing"),
        (as_link, "is a link"),
    ],
    ids=["flipped", "truncated", "emptied", "removed", "linked"],
)
def test_a_damaged_file_is_refused_by_name(
    folder: Path, name: str, damage: Callable[[Path], None], words: str
) -> None:
    damage(folder / name)
    assert name in refused(folder, words)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"name": 1}', b'{"unknown": 1}', b"\xff\xfe"]
)
def test_a_damaged_manifest_is_refused_by_name(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json" in refused(folder, "manifest")


def test_a_file_outside_of_the_variant_is_refused(folder: Path) -> None:
    shutil.copy(folder / "model.onnx", folder.parent / "elsewhere.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"].append({**manifest["files"][0], "path": "../elsewhere.onnx"})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(folder, "lies outside of its variant")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "magic"}, "kind 'magic'"),
        ({"labels": ["one", "two"]}, r"gives logits of shape \(3,\)"),
        ({"labels": []}, "names no labels"),
        ({"inputs": ["input_ids"]}, "takes attention_mask, input_ids, token_type_ids"),
        ({"outputs": ["scores"]}, "gives logits; its manifest says scores"),
        ({"decoding": {"temprature": 1.0}}, "temprature"),
    ],
)
def test_a_manifest_that_does_not_fit_its_graph_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    refused(tiny.write_variant(tmp_path / "variant", **changes), words)


def test_a_graph_that_is_none_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not a graph")
    manifest = json.loads((folder / "manifest.json").read_text())
    files = describe_files(folder)
    manifest["files"] = [{"path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in files]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "model.onnx" in refused(folder, "cannot be read as a graph")


def test_a_graph_with_nan_weights_is_refused(tmp_path: Path) -> None:
    graph = tiny.classifier(tiny.INTENT_WORDS)
    table = graph.graph.initializer[0]
    vectors = numpy_helper.to_array(table).copy()
    vectors[2] = np.nan
    table.CopyFrom(numpy_helper.from_array(vectors, table.name))
    assert isinstance(graph, onnx.ModelProto)
    refused(tiny.write_variant(tmp_path / "variant", graph=graph), "weights that are NaN")


def test_halves_written_as_whole_numbers_are_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.weights.CHUNK", 8)
    good = [0.0, 1.0, -2.0, 65504.0, float("inf"), float("-inf"), 6e-8, -0.0] * 10
    for number, values in enumerate(([*good, float("nan")], [float("nan"), *good], good)):
        graph = tiny.classifier(tiny.INTENT_WORDS)
        shape = [len(values)]
        graph.graph.initializer.append(
            helper.make_tensor("halves", TensorProto.FLOAT16, shape, values)
        )
        folder = tiny.write_variant(tmp_path / str(number), graph=graph)
        if values is good:
            assert check_variant(folder).model == "intent"
        else:
            refused(folder, "weights that are NaN in halves")


def test_a_variant_behind_a_link_is_refused_and_a_store_behind_one_is_not(tmp_path: Path) -> None:
    tiny.write_variant(tmp_path / "store" / "variant")
    (tmp_path / "linked").symlink_to(tmp_path / "store", target_is_directory=True)
    assert check_variant(tmp_path / "linked" / "variant").model == "intent"
    (tmp_path / "again").symlink_to(tmp_path / "store" / "variant", target_is_directory=True)
    refused(tmp_path / "again", "is a link; a variant has a folder of its own")


def test_a_manifest_that_its_tag_does_not_name_is_refused(folder: Path) -> None:
    check_tag(tiny.tag_of(folder), folder)
    with pytest.raises(ArtifactError, match="its tag says 0123456789abcdef"):
        check_tag("intent-full:0123456789abcdef", folder)


# --- the lock


def test_the_lock_is_read_in_order(tmp_path: Path) -> None:
    path = tiny.write_lock(tmp_path / "lock.json", ["reader-full:2", "intent-full-int8:1"])
    assert read_lock(path) == {
        "intent/full-int8": "intent-full-int8:1",
        "reader/full": "reader-full:2",
    }


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"variants": {"a": "b"}}', '{"variants": {"a/b": "c:1"}}', '{"variants": 1}'],
)
def test_a_damaged_lock_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"lock\.json"):
        read_lock(path)


def test_a_missing_lock_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="Run `transfer build`"):
        read_lock(tmp_path / "lock.json")


KEYS = ["intent/distilled-int8", "intent/full", "zeroshot/full", "zeroshot/full-int8"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ((), KEYS),
        (("distilled-int8", "zeroshot"), [KEYS[0], KEYS[2], KEYS[3]]),
        (("intent/full",), [KEYS[1]]),
    ],
)
def test_patterns_choose_variants(patterns: tuple[str, ...], chosen: list[str]) -> None:
    assert select(KEYS, patterns) == chosen


def test_an_unknown_pattern_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"names tiny; published are intent/distilled-int8"):
        select(KEYS, ["full", "tiny"])


def test_a_bento_holds_the_defaults_or_what_is_named() -> None:
    assert packaged(KEYS, ()) == ["intent/distilled-int8", "zeroshot/full-int8"]
    assert packaged(KEYS, ("intent/full",)) == ["intent/full"]
    assert packaged([*KEYS, "intent/full-fp16"], (), cuda=True) == [
        "intent/full-fp16",
        "zeroshot/full",
    ]
    assert tags_of({"a/b": "a-b:1", "a/c": "a-c:2"}, ["a-b:1"]) == {"a/b": "a-b:1"}


@pytest.mark.parametrize(
    ("variants", "cuda", "default"),
    [
        (["full", "full-int8", "distilled-int8"], False, "distilled-int8"),
        (["full", "full-int8"], False, "full-int8"),
        (["full"], False, "full"),
        (["full-fp16", "distilled-fp16", "distilled-int8"], True, "distilled-fp16"),
        (["full-fp16", "distilled-int8"], True, "full-fp16"),
        (["distilled-int8"], True, "distilled-int8"),
    ],
)
def test_the_default_variant(variants: list[str], cuda: bool, default: str) -> None:
    assert default_variant("intent", variants, cuda) == default
