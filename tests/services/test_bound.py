"""The bound of the queue: in seconds of each model's own pace, and in tokens; who is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.plan import Plan
from services.queued import Lane
from services.scheduler import OverloadError, Scheduler
from services.work import DeadlineError, Done, Item
from tests.services.test_scheduler import PLENTY, Echo, found, item, run, until


@pytest.fixture
def one() -> Iterator[Scheduler]:
    scheduler = Scheduler(threads=1, queue_tokens=PLENTY)
    yield scheduler
    scheduler.close()


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    scheduler, echo = Scheduler(threads=1, queue_tokens=100), Echo()
    echo.gate.clear()

    async def main() -> list[Any]:
        tokens = scheduler.lengths.tokens(40)
        first = [
            asyncio.create_task(scheduler.run(echo, [item(n)], 20)) for n in range(100 // tokens)
        ]
        await until(lambda: echo.calls)
        with pytest.raises(OverloadError) as caught:
            await scheduler.run(echo, [item(9)], 20)
        assert caught.value.status == 429 and caught.value.retry_after_s >= 1
        assert "the limit is 100" in caught.value.message
        echo.gate.set()
        return [found((await one)[0]) for one in first]

    answers = asyncio.run(main())
    assert answers == list(range(len(answers))) and len(answers) > 1
    assert run(scheduler, Echo(), [item(1)]) == [1]
    scheduler.close()


def paced(scheduler: Scheduler, echo: Echo, tokens_per_second: float) -> Lane:
    """The lane of a runtime that has answered much, so fast."""
    lane = scheduler._lanes[echo] = Lane(echo)
    for _ in range(2000):
        lane.learn(100, 100, 100 / tokens_per_second, complete=True)
    return lane


async def admitted(scheduler: Scheduler, echo: Echo, most: int = 5000) -> tuple[int, OverloadError]:
    """How many single texts are taken at once, and what the next one is told."""
    asked: list[asyncio.Task[list[Done]]] = []
    for n in range(most):
        asked.append(asyncio.create_task(scheduler.run(echo, [item(n)], 20)))
        await asyncio.sleep(0)
        if asked[-1].done():
            break
    refusal = asked.pop().exception()
    assert isinstance(refusal, OverloadError)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    return len(asked), refusal


def test_what_waits_may_take_a_time_at_the_present_pace() -> None:
    """A slow machine, or a slow model, refuses sooner: an overload is over as fast there."""
    scheduler, echo = Scheduler(threads=1, queue_tokens=PLENTY, queue_s=2.0), Echo()
    lane = paced(scheduler, echo, 1000)
    echo.gate.clear()
    taken, refusal = asyncio.run(admitted(scheduler, echo))
    assert taken == 2000 // scheduler.lengths.tokens(40)
    assert refusal.retry_after_s == 2 and "takes about 2.0 s; the limit is 2 s" in refusal.message
    echo.gate.set()
    assert (scheduler.tokens, lane.effort) == (0, 0)
    scheduler.close()


def test_each_model_is_bounded_at_its_own_pace() -> None:
    """One pace for all let summaries in after labels, and refused labels after summaries."""
    scheduler = Scheduler(threads=2, queue_tokens=PLENTY, queue_s=2.0)
    quick, slow = Echo(), Echo()
    paced(scheduler, quick, 20_000)
    paced(scheduler, slow, 200)
    quick.gate.clear()
    slow.gate.clear()
    tokens = scheduler.lengths.tokens(40)

    async def main() -> None:
        for echo, pace in ((slow, 200), (quick, 20_000)):
            taken, refusal = await admitted(scheduler, echo, 2 * pace * 2 // tokens + 10)
            assert abs(taken - 2 * pace * 2 // tokens) <= 1 and refusal.retry_after_s == 2
        # And together: what one of them may still have depends on what waits for the other.
        asked = [asyncio.create_task(scheduler.run(slow, [item(n)], 20)) for n in range(28)]
        await asyncio.sleep(0)
        assert 0.9 < scheduler.seconds() < 1.1
        taken, _ = await admitted(scheduler, quick)
        assert abs(taken - 20_000 * 2 // tokens) < 0.1 * taken
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(main())
    assert scheduler.seconds() == 0
    quick.gate.set()
    slow.gate.set()
    scheduler.close()


def test_what_one_call_at_a_time_works_off_is_not_shared_by_all_workers() -> None:
    scheduler = Scheduler(threads=3, queue_tokens=PLENTY, queue_s=2.0)
    echo = Echo(Plan(calls=1, windows=1))
    paced(scheduler, echo, 1000)
    echo.gate.clear()
    taken, _ = asyncio.run(admitted(scheduler, echo))
    assert taken == 2000 // scheduler.lengths.tokens(40)
    echo.gate.set()
    scheduler.close()


def test_a_model_that_has_answered_nothing_is_believed_what_was_measured_of_it() -> None:
    unmeasured, measured = Echo(), Echo(Plan(calls=2, windows=1, windows_per_s=200.0))
    assert Lane(unmeasured).seconds(5000) == pytest.approx(1)
    assert Lane(measured).seconds(1200) == pytest.approx(1)  # 100 windows of 12 tokens a call
    lane = Lane(unmeasured)
    for _ in range(5):
        lane.learn(100, 100, 0.25, complete=True)
    assert lane.seconds(400) == pytest.approx(1, rel=0.5)


def test_what_waits_is_subtracted_as_it_was_counted_whatever_the_pace_became() -> None:
    scheduler, echo = Scheduler(threads=2, queue_tokens=PLENTY, queue_s=2.0), Echo()

    async def main() -> None:
        for pace in (10, 100_000, 333):
            lane = paced(scheduler, echo, 1000)
            echo.gate.clear()
            calls = len(echo.calls)
            asked = [asyncio.create_task(scheduler.run(echo, [item(n)] * 3, 20)) for n in range(9)]
            late = asyncio.create_task(scheduler.run(echo, [item(10)], 0.01))
            await until(lambda calls=calls: len(echo.calls) > calls)
            for _ in range(2000):
                lane.learn(100, 100, 100 / pace, complete=True)
            asked[3].cancel()
            await asyncio.sleep(0.02)
            echo.gate.set()
            await asyncio.gather(*asked, late, return_exceptions=True)
            assert (scheduler.tokens, lane.effort, scheduler.seconds()) == (0, 0, 0)

    asyncio.run(main())
    scheduler.close()


def test_what_may_be_written_counts_like_what_is_read() -> None:
    scheduler, echo = Scheduler(threads=1, queue_tokens=PLENTY, queue_s=2.0), Echo()
    lane = paced(scheduler, echo, 1000)
    echo.gate.clear()
    beams = replace(item(1), written=4 * 50, window=100)

    async def main() -> None:
        asked = asyncio.create_task(scheduler.run(echo, [beams], 20))
        await until(lambda: echo.calls)
        assert lane.effort == scheduler.lengths.tokens(40) + 200
        assert scheduler.tokens == scheduler.lengths.tokens(40)
        echo.gate.set()
        await asked

    asyncio.run(main())
    assert beams.effort(100) == 300 and beams.effort(101) == 501  # two windows
    assert item(1).effort(101) == 101
    scheduler.close()


def test_of_what_fails_only_that_it_was_slow_is_learned() -> None:
    lane = Lane(Echo())
    before = lane.seconds(1000)
    lane.learn(1000, 1000, 0.0, complete=False)
    assert (lane.seconds(1000), lane.answered) == (before, 0)
    lane.learn(1000, 1000, 30.0, complete=False)
    assert lane.seconds(1000) > 20 and lane.answered == 1


def test_what_would_take_much_longer_than_its_deadline_is_not_begun() -> None:
    scheduler, echo = Scheduler(threads=1, queue_tokens=PLENTY), Echo()
    book = Item(item(1).encode, item(1).decode, characters=400_000)
    run(scheduler, echo, [item(0) for _ in range(4)])
    lane = next(iter(scheduler._lanes.values()))
    for _ in range(2000):
        lane.tokens_per_second.learn(100, 0.1)  # 1,000 tokens a second
    scheduler._refuse_hopeless(lane, 10**6, 20.0)  # of four items its pace is not known yet
    run(scheduler, echo, [item(0)])
    assert run(scheduler, echo, [replace(item(5), written=10**6)]) == [5]  # it may write less
    calls = len(echo.calls)
    with pytest.raises(DeadlineError, match=r"About \d+ tokens take .* allowed are 20"):
        run(scheduler, echo, [book])
    assert len(echo.calls) == calls
    assert run(scheduler, echo, [book], timeout_s=1000) == [1]
    scheduler.close()


def test_retry_after_grows_with_what_waits_and_with_how_slow_it_goes(one: Scheduler) -> None:
    lane = paced(one, Echo(), 1000)
    lane.effort = 10_000
    assert 9 <= one._overload(lane, "").retry_after_s <= 11
    lane.effort = 40_000
    assert 36 <= one._overload(lane, "").retry_after_s <= 44
    other = paced(one, Echo(), 500)
    other.effort = 10_000
    assert 56 <= one._overload(lane, "").retry_after_s <= 64


def test_one_request_larger_than_the_bound_is_answered_and_shuts_out_nobody() -> None:
    scheduler, echo = Scheduler(threads=1, queue_tokens=200), Echo()
    echo.gate.clear()

    async def main() -> None:
        huge = asyncio.create_task(scheduler.run(echo, [item(n) for n in range(50)], 20))
        await until(lambda: echo.calls)
        small = asyncio.create_task(scheduler.run(echo, [item(99)], 20))
        echo.gate.set()
        assert len(await huge) == 50 and found((await small)[0]) == 99

    asyncio.run(main())
    scheduler.close()
