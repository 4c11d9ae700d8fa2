"""The queue: answers in order, faults by item, deadlines, turns, long items."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.errors import ContentError
from services.plan import Plan
from services.scheduler import Scheduler
from services.tasks.base import Encoded, Outputs
from services.windows import Tokens, Window
from services.work import DeadlineError, Done, Item, work

PLENTY = 1_000_000


class Echo:
    """Infers nothing; waits for `gate` first. `calls`: the names in each call, in order."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or Plan(calls=4, windows=1)
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[list[int]] = []
        self.threads: set[str] = set()

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        self.calls.append([window.input_ids[0] for window in windows])
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(20)
        if any(window.input_ids[0] == BROKEN for window in windows):
            raise RuntimeError("a defect in the graph")
        return [{"first": window.input_ids[0]} for window in windows]  # type: ignore[dict-item]


BROKEN = 666


def item(number: int, *, windows: int = 1, key: Any = None, fault: str = "") -> Item:
    """An item whose windows begin with its number; its result is what came out of them."""

    def encode() -> Encoded:
        if fault == "content":
            raise ContentError("text is empty.", code="empty_text")
        if fault == "encode":
            raise RuntimeError("a defect")
        made = [Window([number] * 10, [0] * 10, (0, 10), 0) for _ in range(windows)]
        return Encoded(made, [Tokens([1, 2], [(0, 1), (1, 2)])], ["text"])

    def decode(encoded: Any, outputs: list[Outputs]) -> dict[str, Any]:
        if fault == "decode":
            raise RuntimeError("a defect")
        return {"number": number, "firsts": [output["first"] for output in outputs]}

    return Item(encode, decode, characters=40 * windows, key=key)


@pytest.fixture
def one() -> Iterator[Scheduler]:
    scheduler = Scheduler(threads=1, queue_tokens=PLENTY)
    yield scheduler
    scheduler.close()


@pytest.fixture
def three() -> Iterator[Scheduler]:
    scheduler = Scheduler(threads=3, queue_tokens=PLENTY)
    yield scheduler
    scheduler.close()


def run(scheduler: Scheduler, echo: Echo, items: list[Item], timeout_s: float = 20) -> list[Any]:
    async def main() -> list[Any]:
        done = await scheduler.run(echo, items, timeout_s)
        return [found(one) for one in done]

    return asyncio.run(main())


def found(done: Done) -> Any:
    return done.error.code if done.error else (done.result or {})["number"]


async def until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about in 10 s")


def test_items_are_answered_together_in_order_and_a_fault_stays_with_its_item(
    three: Scheduler,
) -> None:
    items = [item(number) for number in range(20)]
    items[7] = item(7, fault="content")
    items[9] = item(9, fault="decode")
    items[11] = item(11, fault="encode")
    items[13] = item(BROKEN)
    expected: list[Any] = list(range(20))
    expected[7], expected[9], expected[11], expected[13] = "empty_text", *["internal"] * 3
    assert run(three, Echo(), items) == expected
    assert run(three, Echo(Plan(calls=1, windows=8)), items) == expected
    assert (three.waiting, three.tokens) == (0, 0)


def test_a_turn_takes_as_many_items_as_the_plan_says(one: Scheduler) -> None:
    echo = Echo(Plan(calls=1, windows=3, tokens=1000))
    run(one, echo, [item(number) for number in range(7)])
    assert echo.calls == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_turn_ends_at_the_tokens_of_the_plan(one: Scheduler) -> None:
    echo = Echo(Plan(calls=1, windows=8, tokens=20))
    run(one, echo, [item(number) for number in range(5)])
    assert max(map(len, echo.calls)) <= 2


def test_what_waits_is_shared_among_the_workers() -> None:
    scheduler, echo = Scheduler(threads=2, queue_tokens=PLENTY), Echo(Plan(calls=2, windows=8))
    echo.gate.clear()

    async def main() -> None:
        asked = asyncio.create_task(scheduler.run(echo, [item(number) for number in range(4)], 20))
        await until(lambda: len(echo.calls) == 2)
        assert sorted(map(len, echo.calls)) == [2, 2]  # the plan would have let one take all
        echo.gate.set()
        await asked

    asyncio.run(main())
    scheduler.close()


@pytest.mark.parametrize(("windows_per_s", "taken"), [(10_000.0, 6), (10.0, 3)])
def test_who_is_at_work_has_a_share_only_of_what_takes_longer_than_a_moment(
    windows_per_s: float, taken: int
) -> None:
    scheduler = Scheduler(threads=2, queue_tokens=PLENTY)
    echo = Echo(Plan(calls=2, windows=8, windows_per_s=windows_per_s))
    echo.gate.clear()

    async def main() -> None:
        first = asyncio.create_task(scheduler.run(echo, [item(0)], 20))
        await until(lambda: len(echo.calls) == 1)
        others = asyncio.create_task(scheduler.run(echo, [item(n) for n in range(1, 7)], 20))
        await until(lambda: len(echo.calls) == 2)
        assert list(map(len, echo.calls)) == [1, taken]
        echo.gate.set()
        await asyncio.gather(first, others)

    asyncio.run(main())
    scheduler.close()


def test_all_calls_of_a_plan_share_what_waits_however_many_workers_there_are() -> None:
    scheduler, echo = Scheduler(threads=8, queue_tokens=PLENTY), Echo(Plan(calls=1, windows=8))
    run(scheduler, echo, [item(number) for number in range(8)])
    assert echo.calls == [[0, 1, 2, 3, 4, 5, 6, 7]]
    scheduler.close()


def test_requests_that_come_together_are_called_together(one: Scheduler) -> None:
    echo = Echo(Plan(calls=1, windows=8))

    async def main() -> None:
        await asyncio.gather(*(one.run(echo, [item(number)], 20) for number in range(5)))

    for _ in range(20):
        asyncio.run(main())
    assert echo.calls == [[0, 1, 2, 3, 4]] * 20


def test_a_loop_that_ends_before_it_woke_anybody_leaves_the_next_one_served(
    one: Scheduler,
) -> None:
    loop = asyncio.new_event_loop()
    begun = loop.create_task(one.run(Echo(), [item(1)], 20))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert one.waiting == 1
    begun.cancel()
    loop.close()
    assert run(one, Echo(), [item(2)]) == [2]


def test_never_more_calls_at_a_time_than_the_plan_says(three: Scheduler) -> None:
    echo = Echo(Plan(calls=1, windows=1))
    echo.gate.clear()

    async def main() -> None:
        asked = asyncio.create_task(three.run(echo, [item(n) for n in range(5)], 20))
        await until(lambda: len(echo.calls) == 1)
        other = Echo()
        await three.run(other, [item(9)], 20)  # another runtime is not held up by it
        assert len(echo.calls) == 1
        echo.gate.set()
        assert len(await asked) == 5

    asyncio.run(main())


def test_requests_take_turns_so_that_a_long_list_delays_nobody(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        long = asyncio.create_task(one.run(echo, [item(n) for n in range(10)], 20))
        await until(lambda: echo.calls)
        short = asyncio.create_task(one.run(echo, [item(100)], 20))
        await asyncio.sleep(0)
        echo.gate.set()
        await short
        await long

    asyncio.run(main())
    assert echo.calls.index([100]) <= 2


def test_a_long_item_is_worked_on_by_all_and_put_together_in_order() -> None:
    scheduler, echo = Scheduler(threads=2, queue_tokens=PLENTY), Echo(Plan(calls=2, windows=1))
    echo.gate.clear()

    async def main() -> list[Done]:
        asked = asyncio.create_task(scheduler.run(echo, [item(5, windows=6)], 20))
        await until(lambda: len(echo.calls) == 2)  # both workers, before any window was done
        echo.gate.set()
        return await asked

    (done,) = asyncio.run(main())
    assert done.result == {"number": 5, "firsts": [5] * 6}
    assert (done.tokens, done.windows, len(echo.threads)) == (60, 6, 2)
    scheduler.close()


def test_between_the_parts_of_a_long_item_others_are_answered(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        long = asyncio.create_task(one.run(echo, [item(1, windows=20)], 20))
        await until(lambda: echo.calls)
        short = asyncio.create_task(one.run(echo, [item(2)], 20))
        await asyncio.sleep(0)
        echo.gate.set()
        await asyncio.gather(long, short)

    asyncio.run(main())
    assert echo.calls.index([2]) <= 2 and len(echo.calls) == 21


def test_equal_items_in_flight_are_computed_once(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> list[Any]:
        first = asyncio.create_task(one.run(echo, [item(1, key="a"), item(1, key="a")], 20))
        await until(lambda: echo.calls)
        second = asyncio.create_task(one.run(echo, [item(1, key="a"), item(2, key="b")], 20))
        await asyncio.sleep(0)
        echo.gate.set()
        return [[found(done) for done in await asked] for asked in (first, second)]

    assert asyncio.run(main()) == [[1, 1], [1, 2]]
    assert echo.calls == [[1], [2]]
    assert run(one, echo, [item(1, key="a")]) == [1]  # what is over is computed anew
    assert echo.calls == [[1], [2], [1]]


def test_an_item_that_another_request_has_last_is_not_last_for_its_twin(one: Scheduler) -> None:
    """A text that a list of 1000 ended with took as long as the list."""
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        long = asyncio.create_task(one.run(echo, [item(n, key=n) for n in range(100)], 20))
        await until(lambda: echo.calls)
        asked = [
            asyncio.create_task(one.run(echo, [item(99, key=99), item(99, key=99)], 20)),
            asyncio.create_task(one.run(echo, [item(98, key=98), item(99, key=99)], 20)),
        ]
        await asyncio.sleep(0)
        echo.gate.set()
        assert [found(done) for [done, _] in await asyncio.gather(*asked)] == [99, 98]
        assert [found(done) for done in await long] == list(range(100))

    asyncio.run(main())
    assert max(echo.calls.index([99]), echo.calls.index([98])) <= 4
    assert sorted(echo.calls) == [[n] for n in range(100)]  # each once
    asyncio.run(until(lambda: one.waiting == 0))


def test_a_twin_of_a_request_that_left_keeps_its_own_place(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        first = asyncio.create_task(one.run(echo, [item(0)], 20))
        await until(lambda: echo.calls)
        leaves = asyncio.create_task(one.run(echo, [item(n, key=n) for n in (1, 2)], 20))
        await asyncio.sleep(0)
        stays = asyncio.create_task(one.run(echo, [item(2, key=2)], 20))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        echo.gate.set()
        assert found((await stays)[0]) == 2
        await first

    asyncio.run(main())
    assert echo.calls == [[0], [2]]
    asyncio.run(until(lambda: one.waiting == 0))
    assert not one._in_flight


def test_equal_items_of_different_runtimes_are_not_mixed_up(one: Scheduler) -> None:
    echo, other = Echo(), Echo()
    run(one, echo, [item(1, key="a")])
    run(one, other, [item(1, key="a")])
    assert (echo.calls, other.calls) == ([[1]], [[1]])


def test_after_the_deadline_what_has_not_begun_is_dropped(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()
    with pytest.raises(DeadlineError) as caught:
        run(one, echo, [item(1), item(2), item(3)], timeout_s=0.05)
    assert caught.value.status == 504
    echo.gate.set()
    assert run(one, echo, [item(4)]) == [4]
    assert echo.calls == [[1], [4]]  # 1 had begun; 2 and 3 never did


def test_what_nobody_waits_for_any_more_is_not_decoded(one: Scheduler) -> None:
    echo, decoded = Echo(), []
    kept = item(1)

    def decode(encoded: Any, outputs: list[Outputs]) -> Any:
        decoded.append(1)
        return kept.decode(encoded, outputs)

    echo.gate.clear()
    with pytest.raises(DeadlineError):
        run(one, echo, [replace(kept, decode=decode)], timeout_s=0.05)
    echo.gate.set()
    assert run(one, echo, [item(2)]) == [2] and decoded == []
    assert run(one, echo, [replace(kept, decode=decode)]) == [1] and decoded == [1]


def test_a_request_that_is_given_up_is_dropped_and_its_twin_is_not(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        first = asyncio.create_task(one.run(echo, [item(1)], 20))
        await until(lambda: echo.calls)
        leaves = asyncio.create_task(one.run(echo, [item(2, key="a"), item(3, key="b")], 20))
        stays = asyncio.create_task(one.run(echo, [item(2, key="a")], 20))
        await asyncio.sleep(0.01)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        echo.gate.set()
        await first
        assert found((await stays)[0]) == 2
        await until(lambda: (one.waiting, one.tokens) == (0, 0))

    asyncio.run(main())
    assert echo.calls == [[1], [2]]


def test_the_parts_of_an_item_that_nobody_wants_are_dropped(one: Scheduler) -> None:
    echo = Echo()
    echo.gate.clear()

    async def main() -> None:
        asked = asyncio.create_task(one.run(echo, [item(1, windows=10)], 20))
        await until(lambda: echo.calls)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        echo.gate.set()
        again = await one.run(echo, [item(2, windows=2)], 20)
        assert again[0].windows == 2
        await until(lambda: one.waiting == 0)

    asyncio.run(main())
    assert len(echo.calls) <= 4


def test_estimates_follow_the_texts_that_come(one: Scheduler) -> None:
    before = one.lengths.tokens(4000)
    run(one, Echo(), [item(number) for number in range(300)])  # 10 tokens for 40 characters
    after = one.lengths.tokens(4000)
    assert abs(after - 1000) < abs(before - 1000) and after == pytest.approx(1000, rel=0.1)


def test_hundreds_of_requests_at_once_each_get_their_own_answer(three: Scheduler) -> None:
    echo = Echo(Plan(calls=2, windows=4, tokens=100))

    async def main() -> list[list[Any]]:
        asked = [
            three.run(
                echo, [item(100 * n + k, windows=1 + (n + k) % 3) for k in range(n % 5 + 1)], 20
            )
            for n in range(300)
        ]
        return [[found(one) for one in done] for done in await asyncio.gather(*asked)]

    answers = asyncio.run(main())
    assert answers == [[100 * n + k for k in range(n % 5 + 1)] for n in range(300)]
    assert (three.waiting, three.tokens) == (0, 0)


def test_what_a_retired_runtime_has_begun_is_finished_on_it(one: Scheduler) -> None:
    old, new = Echo(), Echo()
    old.gate.clear()

    async def main() -> list[Any]:
        slow = asyncio.create_task(one.run(old, [item(1), item(2)], 20))
        await until(lambda: old.calls)
        one.retire(old)
        later = asyncio.create_task(one.run(new, [item(3)], 20))
        old.gate.set()
        return [found(done) for done in [*await slow, *await later]]

    assert asyncio.run(main()) == [1, 2, 3]
    assert (old.calls, new.calls) == ([[1], [2]], [[3]])
    assert_forgotten(one, old)


def assert_forgotten(scheduler: Scheduler, runtime: Echo) -> None:
    """Nothing of the scheduler holds on to it, so that its graphs can go."""
    asyncio.run(until(lambda: runtime not in scheduler._lanes))


def test_a_request_that_picked_a_runtime_before_it_was_retired_leaves_nothing(
    one: Scheduler,
) -> None:
    """A comparison picks all its runtimes at first, and asks them one after the other."""
    echo = Echo()
    one.retire(echo)
    assert run(one, echo, [item(1)]) == [1]
    assert_forgotten(one, echo)
    kept = weakref.ref(echo)
    del echo
    gc.collect()
    assert kept() is None


def test_what_nobody_wants_of_a_retired_runtime_keeps_no_lane(one: Scheduler) -> None:
    echo = Echo(Plan(calls=2, windows=1))
    other = Echo()
    other.gate.clear()

    async def main() -> None:
        busy = asyncio.create_task(one.run(other, [item(1)], 20))
        await until(lambda: other.calls)
        with pytest.raises(DeadlineError):
            await one.run(echo, [item(2)], 0.01)
        one.retire(echo)
        assert echo in one._lanes  # what it has to drop waits for a worker
        other.gate.set()
        await busy

    asyncio.run(main())
    assert_forgotten(one, echo)
    assert echo.calls == []


def test_a_runtime_that_is_not_retired_keeps_its_lane(one: Scheduler) -> None:
    echo = Echo()
    assert run(one, echo, [item(1)]) == [1]
    assert echo in one._lanes


def test_work_does_in_this_thread_what_a_worker_does() -> None:
    done = work(item(3, windows=2), Echo())
    assert (found(done), done.tokens, done.windows) == (3, 20, 2)
    assert found(work(item(3, fault="content"), Echo())) == "empty_text"
