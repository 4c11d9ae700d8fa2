"""The graphs behind the searches: what a cache holds, and what rows may do in it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from onnxruntime import OrtValue

from services.binding import Bound, Plain
from services.errors import ArtifactError
from services.generate import Generation, Job, generate, results_of
from services.generation.model import Memory, Seq2SeqModel
from services.generation.settings import GenerationSettings
from tests.services.writers import TinyWriter

FAMILIES = ("bart", "t5", "pegasus")


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_values_of_the_source_are_computed_once(
    family: str, writers: dict[str, TinyWriter]
) -> None:
    model, start = writers[family].model, writers[family].start
    memory = model.encode([[5, 6, 7, 8]])
    model.step(np.array([start]), memory)
    source = dict(memory.source)
    assert {array.shape for array in source.values()} == {(1, 2, 4, 16)}
    for written in (2, 3, 4):
        model.step(np.array([9]), memory)
        assert {array.shape for array in memory.written.values()} == {(1, 2, written, 16)}
    assert all(memory.source[name] is array for name, array in source.items())
    assert memory.hidden.size == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_does_not_change_what_is_written(
    family: str, writers: dict[str, TinyWriter]
) -> None:
    model, start = writers[family].model, writers[family].start
    sources = [[5, 6, 7], list(range(10, 40))]
    together, alone = model.encode(sources), model.encode(sources[:1])
    for tokens in ([start, start], [7, 9], [12, 13]):
        both = model.step(np.array(tokens), together)
        one = model.step(np.array(tokens[:1]), alone)
        np.testing.assert_allclose(both[:1], one, atol=1e-5)


def memory_of(owners: list[int], lengths: list[int], grouped: bool = False) -> Memory:
    """lengths: of the sources; where they are not grouped, there is one for each row."""
    mask = np.array([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    sources, width, rows = *mask.shape, len(owners)
    return Memory(
        np.array(owners),
        mask,
        np.zeros((sources, 0, 4), np.float32),
        {"source": np.arange(sources, dtype=np.float32).repeat(width).reshape(-1, 1, width, 1)},
        {"written": np.arange(rows, dtype=np.float32).reshape(rows, 1, 1, 1)},
        grouped,
    )


def test_rows_that_stay_are_not_copied() -> None:
    memory = memory_of([0, 0], [3, 3])
    before = memory.written["written"]
    memory.select(np.array([0, 1]))
    assert memory.written["written"] is before


def test_hypotheses_that_move_take_only_what_they_wrote() -> None:
    memory = memory_of([0, 0, 1, 1], [3, 3, 2, 2])
    source = memory.source["source"]
    memory.select(np.array([1, 1, 2, 3]))
    assert memory.source["source"] is source
    assert memory.written["written"].ravel().tolist() == [1, 1, 2, 3]


def test_a_source_that_leaves_takes_its_padding_along() -> None:
    memory = memory_of([0, 1, 2], [9, 2, 4])
    memory.select(np.array([1, 2]))
    assert memory.owners.tolist() == [1, 2]
    assert memory.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert memory.source["source"].shape == (2, 1, 4, 1)
    assert memory.written["written"].ravel().tolist() == [1, 2]


def test_hypotheses_of_a_source_share_it() -> None:
    memory = memory_of([0, 1, 2], [2, 4, 3], grouped=True)
    source = memory.source["source"]
    memory.select(np.array([0, 0, 1, 1, 2, 2]))
    memory.select(np.array([1, 1, 2, 3, 5, 4]))
    assert memory.source["source"] is source
    assert memory.owners.tolist() == [0, 0, 1, 1, 2, 2]
    assert memory.written["written"].ravel().tolist() == [0, 0, 1, 1, 2, 2]


def test_a_shared_source_leaves_with_its_hypotheses() -> None:
    memory = memory_of([0, 0, 1, 1, 2, 2], [9, 2, 4], grouped=True)
    memory.select(np.array([3, 2, 4, 4]))
    assert memory.owners.tolist() == [0, 0, 1, 1]
    assert memory.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert memory.source["source"][:, 0, 0, 0].tolist() == [1, 2]
    assert memory.source["source"].shape == (2, 1, 4, 1)
    assert memory.written["written"].ravel().tolist() == [3, 2, 4, 4]


def test_the_decoder_reads_one_row_for_each_source(
    writers: dict[str, TinyWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[int, int, int]] = set()
    run = Plain.run

    def watching(self: Plain, names: Any, feeds: dict[str, Any], kept: Any = ()) -> Any:
        if feeds.get("use_cache_branch", [False])[0]:
            mask = feeds["encoder_attention_mask"]
            sources = [len(value) for name, value in feeds.items() if ".encoder." in name]
            seen.update((len(feeds["input_ids"]), len(mask), rows) for rows in sources)
        return run(self, names, feeds, kept)

    monkeypatch.setattr(Plain, "run", watching)
    writer, rng = writers["bart"], random.Random(5)
    lengths = {"max_new_tokens": 8, "min_new_tokens": 8}
    generate(writer.model, [writer.random_job(rng, 3, **lengths) for _ in range(2)])
    assert seen == {(6, 2, 2)}


def test_graphs_of_another_layout_are_refused(writers: dict[str, TinyWriter]) -> None:
    encoder = writers["bart"].model._encoder.session  # type: ignore[attr-defined]
    with pytest.raises(ArtifactError, match=r"The decoder takes attention_mask, input_ids; exp"):
        Seq2SeqModel(encoder, encoder, 1)


def on_device(model: Seq2SeqModel) -> Seq2SeqModel:
    """The same graphs, bound as on CUDA: the cache stays with ONNX Runtime between the steps."""
    encoder, decoder = model._encoder.session, model._decoder.session  # type: ignore[attr-defined]
    made = Seq2SeqModel(encoder, decoder, model._pad_id)
    made._encoder, made._decoder = Bound(encoder, "cpu"), Bound(decoder, "cpu")
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_cache_on_the_device_writes_the_same(
    family: str, num_beams: int, writers: dict[str, TinyWriter]
) -> None:
    writer = writers[family]
    settings = GenerationSettings(
        writer.start, writer.likes[:1], max_new_tokens=8, num_beams=num_beams
    )
    jobs = [Job(source, settings) for source in ([5, 6, 7], list(range(10, 30)), [8, 9])]
    plain = results_of(Generation(writer.model, jobs))
    assert results_of(Generation(on_device(writer.model), jobs)) == plain


def test_a_cache_leaves_the_device_only_when_rows_move(writers: dict[str, TinyWriter]) -> None:
    model, start = on_device(writers["bart"].model), writers["bart"].start
    memory = model.encode([[5, 6, 7, 8], [5, 6]])
    for tokens in ([start, start], [9, 9]):
        model.step(np.array(tokens), memory)
        memory.select(np.array([0, 1]))
    cache = [*memory.source.values(), *memory.written.values()]
    assert all(isinstance(value, OrtValue) for value in cache)
    memory.select(np.array([1]))
    assert {value.shape for value in memory.written.values()} == {(1, 2, 2, 16)}
