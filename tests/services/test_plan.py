"""Plans: which windows go together, what is measured, and the file that keeps it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from services import plan as plans
from services.plan import Plan, PlanFile, calls_of, measure, plan_key, unmeasured
from services.windows import Window


@pytest.mark.parametrize(
    ("lengths", "plan", "calls"),
    [
        ([10, 11, 12], Plan(1, windows=4), [[2, 1, 0]]),
        ([10, 100, 11], Plan(1, windows=4), [[1], [2, 0]]),
        ([10] * 5, Plan(1, windows=2), [[0, 1], [2, 3], [4]]),
        ([10, 10], Plan(1, windows=1), [[0], [1]]),
        ([10, 10, 10], Plan(1, windows=4, tokens=20), [[0, 1], [2]]),
        ([600], Plan(1, tokens=512), [[0]]),
        ([10, 14, 15], Plan(1, windows=4, padding=4), [[2, 1], [0]]),
        ([], Plan(1), []),
    ],
)
def test_windows_of_similar_length_go_together(
    lengths: list[int], plan: Plan, calls: list[list[int]]
) -> None:
    assert calls_of([windows_of(1, length)[0] for length in lengths], plan) == calls


class Heavy(Window):
    weight = 4.0  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("heavy", "plan", "calls"),
    [
        ([], Plan(1, windows=8), [[0, 1, 2, 3]]),
        ([0, 1, 2, 3], Plan(1, windows=8), [[0, 1], [2, 3]]),
        ([0, 1, 2, 3], Plan(1, windows=2), [[0], [1], [2], [3]]),
        ([0, 1, 2, 3], Plan(1, windows=16, tokens=80), [[0, 1], [2, 3]]),
        ([3], Plan(1, windows=8), [[0, 1, 2], [3]]),
        ([0], Plan(1, windows=8), [[0, 1], [2, 3]]),
    ],
)
def test_a_heavy_window_takes_the_place_of_several(
    heavy: list[int], plan: Plan, calls: list[list[int]]
) -> None:
    made = [Heavy if number in heavy else Window for number in range(4)]
    assert calls_of([kind([0] * 10, [0] * 10, (0, 10), 0) for kind in made], plan) == calls


def pretend(
    monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int, int, int], float]
) -> tuple[Callable[[int], plans.Call], list[int]]:
    """A graph whose calls take `seconds(windows, tokens, threads)`, and the threads it got."""
    opened: list[int] = []

    def open_call(threads: int) -> plans.Call:
        opened.append(threads)

        def call(windows: Sequence[Window]) -> int:
            return threads

        return call

    def rate(call: plans.Call, windows: list[Window], calls: int) -> float:
        took = seconds(len(windows), len(windows[0]), call([]))
        return calls * len(windows) / took

    monkeypatch.setattr(plans, "_rate", rate)
    return open_call, opened


def windows_of(count: int, tokens: int) -> list[Window]:
    return [Window([0] * tokens, [0] * tokens, (0, tokens), 0)] * count


def test_on_a_cpu_a_call_takes_more_windows_until_that_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_call, opened = pretend(
        monkeypatch, lambda windows, tokens, threads: 6.0 + windows * tokens
    )
    plan = measure(open_call, windows_of, cores=4)
    assert opened == [1, 4]
    # Six tokens cost as much as a call: short windows gain from company, long ones hardly.
    assert plan == Plan(
        calls=4, threads=1, windows=16, tokens=512, padding=6, windows_per_s=plan.windows_per_s
    )
    assert plan.windows_per_s == pytest.approx(4 * 16 / (6 + 16 * 12), abs=0.1)


def test_calls_over_all_cores_are_chosen_where_they_are_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_call, _ = pretend(
        monkeypatch, lambda windows, tokens, threads: windows * tokens / threads**1.5
    )
    plan = measure(open_call, windows_of, cores=4)
    assert (plan.calls, plan.threads) == (1, 4)


def test_on_a_gpu_calls_are_large_and_never_split_over_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_call, opened = pretend(
        monkeypatch, lambda windows, tokens, threads: 10_000 + windows * tokens
    )
    plan = measure(open_call, windows_of, cores=8, gpu=True)
    assert opened == [1] and plan.windows == 128 and plan.tokens >= 128 * 128
    assert plan.calls == unmeasured(8, gpu=True).calls


def test_sizes_that_the_device_has_no_memory_for_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_call, _ = pretend(monkeypatch, lambda windows, tokens, threads: 10_000 + windows * tokens)
    timed = plans._rate

    def rate(call: plans.Call, windows: list[Window], calls: int) -> float:
        if len(windows) * len(windows[0]) > 16 * 128:
            raise RuntimeError("Failed to allocate memory for requested buffer")
        return timed(call, windows, calls)

    monkeypatch.setattr(plans, "_rate", rate)
    plan = measure(open_call, windows_of, cores=8, gpu=True)
    assert (plan.windows, plan.tokens) == (128, 16 * 128)
    monkeypatch.setattr(plans, "_rate", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure(open_call, windows_of, cores=8, gpu=True)


def test_a_real_call_is_timed() -> None:
    def call(windows: Sequence[Window]) -> None:
        time.sleep(0.01)

    plan = measure(lambda threads: call, windows_of, cores=1)
    assert plan.windows == max(plans.CPU_SIZES)  # a call costs the same however many are in it
    assert plan.windows_per_s > 0


def test_plans_are_kept_by_key(tmp_path: Path) -> None:
    file, plan = PlanFile(tmp_path / "deep" / "plans.json"), Plan(2, windows=8, windows_per_s=100.0)
    assert file.find("a") is None
    file.keep("a", plan)
    file.keep("b", Plan(1))
    assert PlanFile(file.path).find("a") == plan and file.find("b") == Plan(1)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": {"calls": 1, "unknown": 2}}'])
def test_a_file_of_something_else_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    assert PlanFile(path).find("a") is None
    PlanFile(path).keep("a", Plan(1))
    assert PlanFile(path).find("a") == Plan(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"calls": 0},
        {"calls": True},
        {"calls": 2.0},
        {"threads": "x"},
        {"threads": 0},
        {"windows": -1},
        {"tokens": None},
        {"padding": -1},
        {"windows_per_s": "fast"},
        {"windows_per_s": float("nan")},
    ],
)
def test_a_plan_that_nothing_can_be_called_by_is_measured_again(
    tmp_path: Path, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """With no calls at all a variant answered nothing: every request ended at its deadline."""
    plans = PlanFile(tmp_path / "plans.json")
    right = asdict(Plan(2, padding=0, windows_per_s=100.0))
    plans.path.write_text(json.dumps({"wrong": {**right, **wrong}, "list": [1], "right": right}))
    assert plans.find("wrong") is None and "measured again" in caplog.text
    assert plans.find("list") is None
    assert plans.find("right") == Plan(2, padding=0, windows_per_s=100.0)


def test_where_nothing_can_be_written_the_plan_is_used_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    PlanFile(tmp_path / "file" / "plans.json").keep("a", Plan(1))
    assert "plans are not kept" in caplog.text


def test_a_key_tells_machines_cores_libraries_and_graphs_apart() -> None:
    one = plan_key("abc", 2, "1.31", gpu=False)
    others = {
        plan_key("abd", 2, "1.31", gpu=False),
        plan_key("abc", 3, "1.31", gpu=False),
        plan_key("abc", 2, "1.32", gpu=False),
        plan_key("abc", 2, "1.31", gpu=True),
        plan_key("abc", 2, "1.31", gpu=True, limit_mb=2000),
    }
    assert one == plan_key("abc", 2, "1.31", gpu=False, limit_mb=2000)
    assert len(others - {one}) == 5
