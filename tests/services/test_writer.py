"""A variant that writes, as it is served: options by window, streams, cancelling, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from services.errors import ArtifactError, ContentError, UsageError
from services.generation.text import SummaryStream
from services.items import items_of
from services.manifest import Manifest
from services.plan import Plan, calls_of
from services.registry import check_variant, model_entry
from services.runtime import CPU, Runtime, plan_key_of
from services.scheduler import Scheduler
from services.schemas import SummarizeRequest, convert_request
from services.sentences import split_sentences
from services.tasks.generate_summary import (
    GenerateSummary,
    Source,
    first_sentences,
    joined,
    shortened,
)
from services.windows import Window
from services.work import Item, work
from services.writer import Writer
from tests.services.writers import TinyWriter, write_variant
from tests.tiny_bases import sample_texts

TEXTS = sample_texts()[:6]
LONG = " ".join(sample_texts()[:12])
FAMILIES = ("bart", "t5", "pegasus", "grown")
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def folders(
    writers: dict[str, TinyWriter], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    return {
        family: write_variant(tmp_path_factory.mktemp(family) / "variant", writers[family])
        for family in FAMILIES
    }


@pytest.fixture(scope="module")
def served(folders: dict[str, Path]) -> dict[str, Writer]:
    found = {}
    for family, folder in folders.items():
        runtime = Runtime.load(folder)
        assert isinstance(runtime, Writer)
        found[family] = runtime
    return found


def task_of(writer: Writer) -> GenerateSummary:
    assert isinstance(writer.task, GenerateSummary)
    return writer.task


def answer(writer: Writer, text: str, **changes: object) -> str:
    task = task_of(writer)
    encoded = task.encode(text, **changes)
    summary: str = task.decode(encoded, writer.infer(encoded.windows))["summary"]
    return summary


# What is written


@families
def test_the_summary_is_what_transformers_writes(
    family: str, served: dict[str, Writer], writers: dict[str, TinyWriter]
) -> None:
    writer, task = served[family], task_of(served[family])
    for text in TEXTS:
        encoded = task.encode(text, long_text="truncate")
        [output] = writer.infer(encoded.windows)
        [job] = writer.begin(encoded.windows).jobs
        assert output["sequences"].tolist() == writers[family].expected(job)
    assert len({answer(writer, text) for text in TEXTS}) > 1  # it reads its input


@families
def test_a_long_text_is_summarized_window_by_window(family: str, served: dict[str, Writer]) -> None:
    writer, task = served[family], task_of(served[family])
    encoded = task.encode(LONG)
    assert len(encoded.windows) > 3
    assert max(map(len, encoded.windows)) <= task.settings.max_tokens
    ids = [token for w in encoded.windows for token in w.input_ids[slice(*w.content)]]
    assert ids == encoded.tokens[0].ids
    alone = [
        task.tokenizer.decode(writer.infer([window])[0]["sequences"].tolist())
        for window in encoded.windows
    ]
    assert answer(writer, LONG) == joined(alone)


def test_options_of_one_text_do_not_touch_its_neighbours(served: dict[str, Writer]) -> None:
    writer, task = served["bart"], task_of(served["bart"])
    options = [{}, {"num_beams": 1}, {"max_new_tokens": 3}, {"num_beams": 1, "max_new_tokens": 5}]
    windows = [
        window
        for text, changes in zip(TEXTS, options, strict=False)
        for window in task.encode(text, long_text="truncate", **changes).windows
    ]
    together = [output["sequences"].tolist() for output in writer.call(windows)]
    assert together == [writer.call([window])[0]["sequences"].tolist() for window in windows]
    assert [len(tokens) <= most for tokens, most in zip(together, [12, 12, 3, 5], strict=True)]
    assert task.settings.num_beams == 2


def test_nothing_writes_more_than_it_reads_because_it_must(served: dict[str, Writer]) -> None:
    [window] = task_of(served["bart"]).encode("It.", min_new_tokens=12).windows
    assert isinstance(window, Source)
    assert window.settings.min_new_tokens == len(window) < 12


def test_no_number_of_beams_waits_for_another(served: dict[str, Writer]) -> None:
    """A job of one beam began when those of two had ended, however long these wrote."""
    writer, task = served["bart"], task_of(served["bart"])
    options = [{"num_beams": 2, "min_new_tokens": 12}, {"num_beams": 1, "max_new_tokens": 3}]
    windows = [
        window
        for changes in options
        for window in task.encode(TEXTS[0], long_text="truncate", **changes).windows
    ]
    writing = writer.begin(windows)
    ended: list[list[int]] = []
    while not writing.done:
        ended.append([place for place, _ in writing.step()])
    assert ended.index([1]) < 6 < ended.index([0]) == len(ended) - 1


def test_what_a_model_cannot_write_is_refused(served: dict[str, Writer]) -> None:
    task = task_of(served["bart"])
    with pytest.raises(UsageError, match="num_beams is 99; expected 1 to 16"):
        task.encode("A text.", num_beams=99)
    with pytest.raises(UsageError, match="max_new_tokens is 9999; this model writes at most 512"):
        task.encode("A text.", max_new_tokens=9999)
    with pytest.raises(ContentError, match="text is empty"):
        task.encode("  ")
    with pytest.raises(ContentError, match="one window of this model takes"):
        task.encode(LONG, long_text="error")
    assert task.encode(LONG, long_text="truncate").truncated


@pytest.mark.parametrize(
    ("max_sentences", "max_words", "expected"),
    [
        (None, None, "One is here. Two follow now. Three."),
        (2, None, "One is here. Two follow now."),
        (None, 6, "One is here. Two follow now."),
        (1, 6, "One is here."),
        (None, 2, "One is"),
    ],
)
def test_a_summary_is_cut_at_sentences(
    max_sentences: int | None, max_words: int | None, expected: str
) -> None:
    text = "One is here. Two follow now. Three."
    assert first_sentences(text, max_sentences, max_words) == expected
    assert first_sentences("", max_sentences, max_words) == ""


WINDOWS = [
    "The pump failed at noon. It was hot.",
    " The seal of the pump was worn. Lunch was late.\n",
    "",
    "The pump got a new seal! People cheered",
]


@pytest.mark.parametrize(
    ("max_sentences", "max_words", "expected"),
    [
        (None, None, joined(WINDOWS)),
        (6, 26, joined(WINDOWS)),
        (2, None, "The seal of the pump was worn. The pump got a new seal!"),
        (2, 8, "The seal of the pump was worn."),
        (None, 10, "It was hot. The seal of the pump was worn."),
        (1, 5, "The pump failed at noon."),
        (None, 1, "The"),
    ],
)
def test_of_several_windows_the_most_central_sentences_are_told(
    max_sentences: int | None, max_words: int | None, expected: str
) -> None:
    assert shortened(WINDOWS, max_sentences, max_words) == expected
    first = first_sentences(WINDOWS[0], max_sentences, max_words)
    assert shortened(WINDOWS[:1], max_sentences, max_words) == first


def test_a_sentence_that_every_window_writes_is_told_once() -> None:
    assert shortened(["All is well. A pump failed."] * 9, 3, None) == "All is well. A pump failed."


def test_a_limit_leaves_sentences_of_the_whole_text(served: dict[str, Writer]) -> None:
    task = task_of(served["bart"])
    texts = sample_texts()
    encoded = task.encode(LONG)
    ids = [task.tokenizer.tokens(text).ids for text in texts[: len(encoded.windows)]]
    outputs = [{"sequences": np.array(one, np.int64)} for one in ids]
    whole = task.decode(encoded, outputs)["summary"]
    short = task.decode(encoded, outputs, max_sentences=3)["summary"]
    assert whole == joined([task.tokenizer.decode(one) for one in ids])
    assert len(split_sentences(short)) == 3 < len(split_sentences(whole))
    assert short not in whole  # from one place


def test_what_takes_more_memory_is_written_in_more_calls(
    served: dict[str, Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan is measured with the 2 beams and 12 new tokens of its own settings."""
    writer, task = served["bart"], task_of(served["bart"])
    monkeypatch.setattr(writer, "plan", Plan(1, windows=4, tokens=10_000, padding=100))

    def sizes(**options: object) -> list[int]:
        windows = task.encode(LONG, **options).windows[:4]
        return [len(call) for call in calls_of(windows, writer.plan)]

    assert sizes() == sizes(num_beams=1) == sizes(num_beams=2, max_new_tokens=3) == [4]
    assert sizes(num_beams=4) == [2, 2]
    assert sizes(num_beams=16) == sizes(max_new_tokens=512) == [1, 1, 1, 1]


# While it is written


def heard(writer: Writer, windows: list[Window]) -> list[str]:
    """The pieces that are told while all windows are written about together."""
    pieces: list[str] = []
    stream = SummaryStream(task_of(writer).tokenizer.decode, pieces.append)
    listeners = [partial(stream.push, place) for place in range(len(windows))]
    writing = writer.begin(windows, heard=listeners)
    while not writing.done:
        writing.step()
    return pieces


@families
@pytest.mark.parametrize("beams", [1, 3])
def test_streamed_pieces_are_the_summary(
    family: str, beams: int, served: dict[str, Writer]
) -> None:
    writer, task = served[family], task_of(served[family])
    for text in (*TEXTS[:3], LONG):
        windows = task.encode(text, num_beams=beams).windows
        pieces = heard(writer, windows)
        assert "".join(pieces) == answer(writer, text, num_beams=beams)
        assert beams > 1 or len(pieces) >= len(windows)


def test_a_cancelled_window_is_written_no_further(served: dict[str, Writer]) -> None:
    writer, task = served["bart"], task_of(served["bart"])
    [window] = task.encode(TEXTS[0], num_beams=1, min_new_tokens=8, long_text="truncate").windows
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 4

    told: list[tuple[Sequence[int], bool]] = []
    writing = writer.begin([window], [cancelled], [lambda *what: told.append(what)])
    ended = []
    while not writing.done:
        ended += writing.step()
    assert ended == [(0, None)]
    tokens = [token for new, _ in told for token in new]
    assert len(tokens) == 4
    assert tokens == writer.call([window])[0]["sequences"].tolist()[:4]
    assert not any(last for _, last in told)


def test_what_a_cancelled_window_holds_back_is_never_told(served: dict[str, Writer]) -> None:
    """Nor the window after it, whose turn has not come: a stream promises no half characters."""
    writer, task = served["bart"], task_of(served["bart"])
    windows = task.encode(LONG, num_beams=1, min_new_tokens=8).windows[:2]
    steps: list[int] = []
    pieces: list[str] = []

    def half_a_character(ids: Sequence[int]) -> str:
        return "Caf\ufffd" if ids else ""

    stream = SummaryStream(half_a_character, pieces.append)
    listeners = [partial(stream.push, place) for place in range(2)]
    writing = writer.begin(windows, [lambda: len(steps) > 3, lambda: False], listeners)
    while not writing.done:
        steps.append(1)
        writing.step()
    assert pieces == []


def test_one_cancelled_window_leaves_the_others(served: dict[str, Writer]) -> None:
    writer = served["t5"]
    windows = task_of(writer).encode(LONG).windows[:3]
    found = writer.generate(windows, [lambda: False, lambda: True, lambda: False])
    expected = [writer.call([window])[0]["sequences"].tolist() for window in windows]
    assert found[1] is None
    assert [one["sequences"].tolist() for one in (found[0], found[2]) if one] == [
        expected[0],
        expected[2],
    ]


# Served


def test_the_scheduler_works_on_it_as_on_any_runtime(served: dict[str, Writer]) -> None:
    import asyncio

    writer, task = served["bart"], task_of(served["bart"])
    items = [
        Item(lambda text=text: task.encode(text), task.decode, len(text)) for text in (*TEXTS, LONG)
    ]
    scheduler = Scheduler(2, 100_000)
    try:
        done = asyncio.run(scheduler.run(writer, items, 60.0))
    finally:
        scheduler.close()
    assert [one.result for one in done] == [work(item, writer).result for item in items]
    assert all(one.result and one.result["sentences"] == [] for one in done)


def test_an_item_counts_what_may_be_written_about_it(served: dict[str, Writer]) -> None:
    def effort(tokens: int, **generation: int) -> int:
        body = {"text": TEXTS[0], "generation": generation}
        items, _ = items_of(convert_request(body, SummarizeRequest), served["bart"])
        return items[0].effort(tokens)

    assert effort(30, num_beams=1, max_new_tokens=1) == 30 + 1
    assert effort(30, num_beams=16, max_new_tokens=512) == 30 + 16 * 512
    assert effort(65) == 65 + 3 * 2 * 12  # three windows of 32 tokens, as its manifest writes


def test_calls_are_told(served: dict[str, Writer]) -> None:
    writer, task = served["bart"], task_of(served["bart"])
    calls: list[tuple[int, int]] = []
    writer.observe = lambda windows, tokens: calls.append((windows, tokens))
    windows = task.encode(TEXTS[0], long_text="truncate").windows
    writer.call([*windows, *windows])
    writer.observe = None
    assert calls == [(2, 2 * len(windows[0]))]


def test_a_plan_is_measured_and_followed(served: dict[str, Writer]) -> None:
    writer = served["t5"]
    before, text = writer.plan, answer(writer, TEXTS[0])
    plan = writer.measure_plan(2)
    assert plan.windows_per_s > 0
    writer.follow(plan)
    assert answer(writer, TEXTS[0]) == text
    writer.follow(before)


def test_a_plan_is_of_both_graphs_and_of_the_beams(folders: dict[str, Path]) -> None:
    """Exported again with another encoder, or more beams, it was called by its old plan."""
    manifest = check_variant(folders["bart"])

    def changed(name: str) -> Manifest:
        files = [
            msgspec.structs.replace(file, sha256="0" * 64) if file.path == name else file
            for file in manifest.files
        ]
        return msgspec.structs.replace(manifest, files=files)

    more = {**manifest.decoding, "num_beams": 16}
    others = [
        changed("encoder_model.onnx"),
        changed("decoder_model_merged.onnx"),
        msgspec.structs.replace(manifest, decoding=more),
    ]
    keys = [plan_key_of(one, CPU, 2) for one in (manifest, *others)]
    assert len(set(keys)) == 4
    assert plan_key_of(changed("tokenizer.json"), CPU, 2) == keys[0]


def test_models_lists_it_by_its_decoder(folders: dict[str, Path]) -> None:
    manifest = check_variant(folders["bart"])
    digests = {file.path: file.sha256 for file in manifest.files}
    entry = model_entry(manifest, default=True)
    assert entry["sha256"] == digests["decoder_model_merged.onnx"]
    assert entry["size_bytes"] == sum(file.bytes for file in manifest.files)


# Refused


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decoding": {"num_beams": 0}}, "num_beams is 0; expected 1 to 16"),
        ({"decoding": {"beams": 4}}, "settings beams are unknown; seq2seq takes"),
        ({"decoding": {"eos_token_ids": [1000]}}, "knows 1000 tokens; its manifest names token"),
        ({"files": []}, "does not list decoder_model_merged.onnx, encoder_model.onnx, tokenizer"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    changes: dict[str, object], words: str, writers: dict[str, TinyWriter], tmp_path: Path
) -> None:
    folder = write_variant(tmp_path / "variant", writers["bart"], **changes)
    with pytest.raises(ArtifactError, match=words):
        Runtime.load(folder)


@pytest.mark.parametrize("name", ["encoder_model.onnx", "decoder_model_merged.onnx"])
def test_a_damaged_graph_is_refused_by_name(
    name: str, writers: dict[str, TinyWriter], tmp_path: Path
) -> None:
    folder = write_variant(tmp_path / "variant", writers["bart"])
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} has sha256"):
        Runtime.load(folder)


def test_an_answer_that_is_cut_in_half_still_adds_up(served: dict[str, Writer]) -> None:
    """Compression is in characters, whatever was cut."""
    writer, task = served["bart"], task_of(served["bart"])
    encoded = task.encode(TEXTS[0])
    result = task.decode(encoded, writer.infer(encoded.windows), max_words=1)
    assert len(result["summary"].split()) <= 1
    assert result["compression"] == len(result["summary"]) / len(TEXTS[0])
    assert np.isfinite(result["compression"])
