"""Batches of jobs: each as if it were alone, leaving when it is done, given out as it comes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.errors import UsageError
from services.generate import Event, Generation, generate
from services.generation.model import DECODER_NAME, ENCODER_NAME
from tests.services.writers import CASES, TinyWriter, int8_graphs, load_graphs
from tests.tiny_bases import VOCABULARY

FAMILIES = ("bart", "t5")
BEAMS = (1, 4)
families = pytest.mark.parametrize("family", FAMILIES)
beams_each = pytest.mark.parametrize("beams", BEAMS)


def finish(generation: Generation) -> list[Event]:
    events = []
    while not generation.done:
        events += generation.step()
    return events


def joined(events: list[Event], job: int) -> list[int]:
    return [token for event in events if event.job == job for token in event.tokens]


class Watched:
    """A model that writes down how many rows each step computes."""

    def __init__(self, writer: TinyWriter) -> None:
        self.model = writer.model
        self.rows: list[int] = []

    def encode(self, sources):  # type: ignore[no-untyped-def]
        return self.model.encode(sources)

    def step(self, tokens, memory):  # type: ignore[no-untyped-def]
        self.rows.append(len(tokens))
        return self.model.step(tokens, memory)


# Neighbours


@families
@beams_each
def test_a_job_writes_the_same_beside_others_as_alone(
    family: str, beams: int, writers: dict[str, TinyWriter]
) -> None:
    writer, rng = writers[family], random.Random(beams)
    for _ in range(CASES or 12):
        jobs = [writer.random_job(rng, beams) for _ in range(rng.randint(2, 6))]
        alone = [generate(writer.model, [job])[0] for job in jobs]
        assert generate(writer.model, jobs) == alone


def test_jobs_with_different_numbers_of_beams_are_refused(writers: dict[str, TinyWriter]) -> None:
    writer, rng = writers["bart"], random.Random(0)
    jobs = [writer.random_job(rng, beams) for beams in (1, 4)]
    with pytest.raises(UsageError, match=r"have \[1, 4\] beams"):
        Generation(writer.model, jobs)


def test_without_jobs_there_is_nothing_to_do(writers: dict[str, TinyWriter]) -> None:
    assert Generation(writers["bart"].model, []).done
    assert generate(writers["bart"].model, []) == []


def test_as_many_rows_as_before_may_be_of_other_sources(writers: dict[str, TinyWriter]) -> None:
    """Four sources, of which one goes on with four hypotheses."""
    writer, rng = writers["bart"], random.Random(4)
    lengths = [1, 1, 8, 1]
    jobs = [writer.random_job(rng, 4, max_new_tokens=n, min_new_tokens=n) for n in lengths]
    assert generate(writer.model, jobs)[2] == writer.expected(jobs[2])


# Leaving


@beams_each
def test_a_finished_job_costs_nothing_more(beams: int, writers: dict[str, TinyWriter]) -> None:
    writer, rng = writers["t5"], random.Random(5)
    lengths = [3, 9, 6]
    jobs = [
        writer.random_job(rng, beams, max_new_tokens=n, min_new_tokens=n, early_stopping="never")
        for n in lengths
    ]
    watched = Watched(writer)
    events = finish(Generation(watched, jobs))  # type: ignore[arg-type]
    assert [event.job for event in events if event.ended] == [0, 2, 1]
    expected = [sum(beams for n in lengths if n > step) for step in range(9)]
    assert watched.rows == [3, *expected[1:]]  # the hypotheses of a job are one at first


@beams_each
def test_a_cancelled_job_leaves_before_the_next_step(
    beams: int, writers: dict[str, TinyWriter]
) -> None:
    writer, rng = writers["bart"], random.Random(6)
    gone: set[int] = set()
    settings = {"max_new_tokens": 10, "min_new_tokens": 10, "early_stopping": "never"}
    jobs = [writer.random_job(rng, beams, **settings) for _ in range(3)]
    alone = [generate(writer.model, [job])[0] for job in jobs]
    jobs = [replace(job, cancelled=lambda n=n: n in gone) for n, job in enumerate(jobs)]
    watched = Watched(writer)
    generation = Generation(watched, jobs)  # type: ignore[arg-type]
    events = [*generation.step(), *generation.step()]
    gone.add(1)
    assert Event(1, ended="cancelled") in generation.step()
    assert watched.rows[-1] == 2 * beams
    events += finish(generation)
    assert (joined(events, 0), joined(events, 2)) == (alone[0], alone[2])


def test_what_is_cancelled_before_it_starts_is_not_even_read(
    writers: dict[str, TinyWriter],
) -> None:
    writer, rng = writers["bart"], random.Random(7)
    jobs = [replace(writer.random_job(rng, 1), cancelled=lambda: True) for _ in range(2)]
    watched = Watched(writer)
    events = Generation(watched, jobs).step()  # type: ignore[arg-type]
    assert events == [Event(0, ended="cancelled"), Event(1, ended="cancelled")]
    assert watched.rows == []
    assert generate(writer.model, jobs) == [None, None]


@pytest.mark.parametrize(("length", "ended"), [(2, "length"), (40, "stop")])
def test_a_job_tells_why_it_ended(length: int, ended: str, writers: dict[str, TinyWriter]) -> None:
    writer, rng = writers["bart"], random.Random(8)
    options = {"max_new_tokens": 8, "min_new_tokens": 0, "forced_eos_token_ids": []}
    free = writer.random_job(
        rng, 1, eos_token_ids=[VOCABULARY - 1], no_repeat_ngram_size=1, **options
    )
    fifth = (generate(writer.model, [free])[0] or [])[4]
    settings = free.settings.replace(max_new_tokens=length, eos_token_ids=[fifth])
    job = replace(free, settings=settings)
    events = finish(Generation(writer.model, [job]))
    assert [event.ended for event in events] == [ended]


# Giving out


@families
@beams_each
def test_streamed_tokens_are_final_and_complete(
    family: str, beams: int, writers: dict[str, TinyWriter]
) -> None:
    writer, rng = writers[family], random.Random(9)
    early = 0
    for _ in range(CASES or 10):
        jobs = [replace(writer.random_job(rng, beams), stream=True) for _ in range(2)]
        events = finish(Generation(writer.model, jobs))
        for number, job in enumerate(jobs):
            assert joined(events, number) == generate(writer.model, [job])[0]
        early += sum(len(event.tokens) for event in events if not event.ended)
    assert early > 0


def test_one_beam_gives_out_every_token_at_once(writers: dict[str, TinyWriter]) -> None:
    writer, rng = writers["bart"], random.Random(10)
    job = replace(writer.random_job(rng, 1, max_new_tokens=6, min_new_tokens=6), stream=True)
    events = finish(Generation(writer.model, [job]))
    assert [len(event.tokens) for event in events] == [1] * 6
    assert [event.ended for event in events] == [None] * 5 + ["length"]


@beams_each
def test_without_a_stream_there_is_one_event(beams: int, writers: dict[str, TinyWriter]) -> None:
    writer, rng = writers["bart"], random.Random(11)
    job = writer.random_job(rng, beams)
    assert len(finish(Generation(writer.model, [job]))) == 1


# int8


@families
def test_quantized_graphs_are_driven_alike(
    family: str, writers: dict[str, TinyWriter], tmp_path: Path
) -> None:
    """Of tiny random weights int8 keeps little, so only lengths can be promised."""
    writer, rng = writers[family], random.Random(12)
    folder = int8_graphs(writer.graphs, tmp_path / "int8")
    pad_id = writer.torch_model.generation_config.pad_token_id
    model = load_graphs(folder, pad_id)
    sources = [writer.random_source(rng) for _ in range(2)]
    memories = [one.encode(sources) for one in (model, writer.model)]
    for tokens in ([writer.start] * 2, [7, 8]):
        found, expected = (
            one.step(np.array(tokens), memory)
            for one, memory in zip((model, writer.model), memories, strict=True)
        )
        assert found.shape == expected.shape == (2, VOCABULARY)
    shapes = [{name: array.shape for name, array in memory.written.items()} for memory in memories]
    assert shapes[0] == shapes[1]
    for name in (ENCODER_NAME, DECODER_NAME):
        assert (folder / name).stat().st_size < (writer.graphs / name).stat().st_size
    for beams in BEAMS:
        job = writer.random_job(rng, beams, max_new_tokens=7, min_new_tokens=7)
        assert [len(tokens or []) for tokens in generate(model, [job])] == [7]
