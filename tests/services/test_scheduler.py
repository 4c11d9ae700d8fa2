"""The queue: answers in order, faults by item, a bound, a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from services.errors import ContentError
from services.scheduler import DeadlineError, Item, OverloadError, Scheduler
from services.tasks.base import Encoded, Outputs
from services.windows import Tokens, Window


class Echo:
    """Infers nothing; waits for `gate` first."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def infer(self, windows: Sequence[Window]) -> list[Outputs]:
        self.calls += 1
        assert self.gate.wait(20)
        return [{} for _ in windows]


def item(name: str) -> Item:
    def encode() -> Encoded:
        if name == "bad":
            raise ContentError("text is empty.", code="empty_text")
        window = Window([1, 2], [0, 0], (0, 2), 0)
        return Encoded([window], [Tokens([1, 2], [(0, 1), (1, 2)])], [name])

    def decode(encoded: Any, outputs: list[Outputs]) -> dict[str, Any]:
        if name == "broken":
            raise RuntimeError("a defect")
        return {"name": name}

    return Item(encode, decode)


def run(scheduler: Scheduler, echo: Echo, names: list[str], timeout_s: float = 20) -> list[Any]:
    async def main() -> list[Any]:
        done = await scheduler.run(echo, [item(name) for name in names], timeout_s)
        return [one.error.code if one.error else one.result for one in done]

    return asyncio.run(main())


def test_items_are_answered_together_in_order_and_a_fault_stays_with_its_item() -> None:
    scheduler = Scheduler(threads=3, queue_items=100)
    names = [f"n{number}" for number in range(20)]
    assert run(scheduler, Echo(), [*names, "bad"]) == [
        *({"name": name} for name in names),
        "empty_text",
    ]
    assert (scheduler.waiting, scheduler.running) == (0, 0)
    scheduler.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_fails_the_request_and_not_the_service() -> None:
    scheduler, echo = Scheduler(threads=1, queue_items=10), Echo()
    with pytest.raises(RuntimeError, match="a defect"):
        run(scheduler, echo, ["broken", "fine"])
    assert run(scheduler, echo, ["fine"]) == [{"name": "fine"}]
    scheduler.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    scheduler, echo = Scheduler(threads=1, queue_items=2), Echo()
    echo.gate.clear()

    async def main() -> list[Any]:
        first = asyncio.create_task(scheduler.run(echo, [item("a"), item("b")], 20))
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadError) as caught:
            await scheduler.run(echo, [item("c")], 20)
        assert (caught.value.status, caught.value.retry_after_s) == (429, 1)
        echo.gate.set()
        return [one.result for one in await first]

    assert asyncio.run(main()) == [{"name": "a"}, {"name": "b"}]
    scheduler.close()


def test_one_request_larger_than_the_bound_is_answered_when_nothing_waits() -> None:
    scheduler = Scheduler(threads=1, queue_items=2)
    assert len(run(scheduler, Echo(), ["a", "b", "c", "d"])) == 4
    scheduler.close()


def test_after_the_deadline_what_has_not_begun_is_dropped() -> None:
    scheduler, echo = Scheduler(threads=1, queue_items=10), Echo()
    echo.gate.clear()
    with pytest.raises(DeadlineError) as caught:
        run(scheduler, echo, ["a", "b", "c"], timeout_s=0.05)
    assert caught.value.status == 504
    echo.gate.set()
    assert run(scheduler, echo, ["d"]) == [{"name": "d"}]
    assert echo.calls == 2  # "a" had begun; "b" and "c" never did
    scheduler.close()
