"""The engines that write with the same weights, on a tiny BART."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from load_tests.peers import generators, seq2seq
from load_tests.peers.plan import Plan
from services.errors import UsageError
from tests.services.writers import TinyWriter, write_variant

DOCUMENTS = ["The pump failed at night.", "The belt was replaced, and the line ran again at 05:30."]
NEW_TOKENS = 6


def write(engine: str, folder: Path, beams: int) -> list[list[int]]:
    sources = generators.source_ids(folder, DOCUMENTS, 32)
    return generators.ENGINES[engine](folder)(sources, beams, NEW_TOKENS)


@pytest.mark.parametrize("beams", [1, 4])
def test_transformers_writes_as_many_tokens_as_asked_for(tiny_bart: Path, beams: int) -> None:
    assert [len(ids) for ids in write("transformers", tiny_bart, beams)] == [NEW_TOKENS] * 2


@pytest.mark.skipif(find_spec("ctranslate2") is None, reason="needs the peers extra")
@pytest.mark.parametrize("beams", [1, 4])
def test_ctranslate2_writes_with_the_same_weights(tiny_bart: Path, beams: int) -> None:
    written = write("ctranslate2, 1 x 2 threads", tiny_bart, beams)
    assert {len(ids) for ids in written} <= {NEW_TOKENS - 1, NEW_TOKENS}


@pytest.mark.parametrize("beams", [1, 4])
def test_ours_writes_what_transformers_writes(
    writers: dict[str, TinyWriter], tiny_bart: Path, tmp_path: Path, beams: int
) -> None:
    decoding = {"decoder_start_token_id": 2, "eos_token_ids": [2], "forced_eos_token_ids": [2]}
    folder = write_variant(tmp_path / "variant", writers["bart"], decoding=decoding)
    writers["bart"].torch_model.save_pretrained(tmp_path / "checkpoint")
    shutil.copy(tiny_bart / "tokenizer.json", tmp_path / "checkpoint")
    sources = generators.source_ids(tiny_bart, DOCUMENTS, 32)
    expected = generators.transformers_fp32(tmp_path / "checkpoint")(sources, beams, NEW_TOKENS)
    for split in seq2seq.SPLITS:
        write = generators.ENGINES[f"{seq2seq.OURS}, {split}"](folder)
        assert write(sources, beams, NEW_TOKENS) == expected


def test_a_rate_counts_written_tokens_and_keeps_the_first() -> None:
    asked: list[int] = []

    def writes(sources, beams, new_tokens):
        asked.append(len(sources))
        return [[beams] * new_tokens for _ in sources]

    request = {"sources": [[1], [2], [3]], "beams": 4, "new_tokens": 5, "batch": 2, "seconds": 0.01}
    seen = generators.rate(writes, request)
    assert seen["written"] == [[4] * 5] * 2
    assert seen["tokens_per_s"] > 0
    assert set(asked) == {2}


def test_agreement_ends_at_the_first_other_token() -> None:
    assert seq2seq.agreement([[1, 2, 3, 4]], [[1, 2, 9, 4]]) == 0.5
    assert seq2seq.agreement([[1, 2], [3, 4]], [[1, 2], [9, 4]]) == 0.5


def test_targets_are_for_ours_where_it_is_measured() -> None:
    rates = {
        "transformers": [10.0, 12.0],
        "ctranslate2, 1 x 2 threads": [50.0, 60.0],
        "ctranslate2, 2 x 1 threads": [40.0, 40.0],
    }
    detail = {"beams": 4, "batch": 1, "rates": rates, "agreements": {"ours, 1 x 2 threads": 0.9}}
    detail["precision"] = "int8"
    assert not any("target" in row for row in seq2seq.figures_of(detail))
    detail["rates"] = {**rates, "ours, 1 x 2 threads": [40.0, 36.0]}
    rows = {row["name"]: row for row in seq2seq.figures_of(detail)}
    place = "seq2seq int8, 4 beams, 1 document(s) at a time"
    assert rows[f"{place}, to transformers.generate fp32"]["reached"]
    assert rows[f"{place}, to CTranslate2 int8"]["value"] == pytest.approx(0.7)
    detail["precision"] = "fp32"  # the targets are for int8
    assert not any("target" in row for row in seq2seq.figures_of(detail))


def test_the_precision_is_that_of_the_graphs_not_of_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "model-int8"
    folder.mkdir()
    with pytest.raises(UsageError, match=r"no \.onnx file"):
        seq2seq.precision_of(folder)
    (folder / "encoder_model.onnx").write_bytes(b"...MatMulInteger...")
    assert seq2seq.precision_of(folder) == "int8"
    (folder / "decoder_model_merged.onnx").write_bytes(b"...MatMul...")
    assert seq2seq.precision_of(folder) == "fp32"


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BART-shaped"):
        seq2seq.measure(Plan(seq2seq=tmp_path), print)
