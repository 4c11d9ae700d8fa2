"""Sampled stacks to shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from load_tests import frames

HEAD = "thread (7): MainThread;main (bentoml/serve.py:3);asyncio_run (uvicorn/_compat.py:21)"
WORK = "thread (8): transfer_0;_worker (concurrent/futures/thread.py:81);work (services/a.py:2)"
RAW = f"""
{HEAD};Runner.run (asyncio/runners.py:118) 40
{HEAD};data_received (uvicorn/protocols/http/httptools_impl.py:174) 20
{HEAD};answer (services/a.py:1) 10
{WORK};run (onnxruntime/capi/session.py:9) 20
{WORK.replace("transfer_0", "transfer_1")} 10
what is no stack
"""


@pytest.fixture
def stacks(tmp_path: Path) -> list[frames.Stack]:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "a.py").write_text("reply = _encode(body)\n    outputs = plain()\n")
    return frames.parse(RAW, tmp_path)


def test_lines_that_are_no_stack_are_left_out(stacks: list[frames.Stack]) -> None:
    assert [stack.samples for stack in stacks] == [40, 20, 10, 20, 10]


def test_frames_of_our_files_have_their_source(stacks: list[frames.Stack]) -> None:
    assert stacks[2].leaf.source == "reply = _encode(body)"
    assert stacks[4].leaf.source == "outputs = plain()"
    assert stacks[0].leaf.source == ""


def test_the_innermost_frame_that_says_so_decides_the_part(stacks: list[frames.Stack]) -> None:
    assert frames.by_part(stacks) == {
        "event loop": 0.4,
        "HTTP": 0.2,
        "infer": 0.2,
        "JSON": 0.1,  # a call into C, told by the source of the line
        "scheduling": 0.1,  # `services/a.py` says nothing, its caller does
    }


def test_threads_of_a_pool_are_one(stacks: list[frames.Stack]) -> None:
    assert frames.by_thread(stacks) == pytest.approx({"MainThread": 0.7, "transfer": 0.3})


def test_functions_and_lines_count_where_the_processor_was(stacks: list[frames.Stack]) -> None:
    assert frames.by_function(stacks)["Runner.run (asyncio/runners.py)"] == 0.4
    assert frames.by_line(stacks)["services/a.py:1  reply = _encode(body)"] == 0.1


def test_functions_count_with_what_they_call(stacks: list[frames.Stack]) -> None:
    found = frames.with_callees(stacks)
    assert found == pytest.approx({"work (services/a.py)": 0.3, "answer (services/a.py)": 0.1})


def test_no_samples_are_no_shares() -> None:
    assert frames.by_part([]) == {}
