"""Models that write: others have their turns in between, and what nobody waits for ends at once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.plan import Plan
from services.queued import Group, Listener
from services.scheduler import Scheduler
from services.tasks.base import Encoded, Outputs
from services.windows import Tokens, Window
from services.work import DeadlineError, Done, Item, Writes
from tests.services.test_scheduler import BROKEN, PLENTY, Echo, found, item, until


class Scribe:
    """Writes as many tokens as the first id of a window says, each when `gate` is open.

    steps: the windows in the batch at every step
    begun: all that was begun, in order; most: so much of it was open at the same time
    """

    def __init__(self, plan: Plan | None = None, broken_at: int = 0) -> None:
        self.plan = plan or Plan(calls=1, windows=8)
        self.gate = threading.Event()
        self.gate.set()
        self.broken_at = broken_at
        self.steps: list[list[int]] = []
        self.begun: list[Script] = []
        self.most = 0

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        raise AssertionError("the scheduler drives what writes step by step")

    def begin(
        self,
        windows: Sequence[Window],
        cancelled: Sequence[Callable[[], bool]],
        heard: Sequence[Callable[[Sequence[int], bool], None] | None],
    ) -> Any:
        lengths = [window.input_ids[0] for window in windows]
        self.begun.append(Script(self, lengths, cancelled, heard))
        self.most = max(self.most, sum(not script.done for script in self.begun))
        return self.begun[-1]


class Script:
    def __init__(
        self, scribe: Scribe, lengths: list[int], cancelled: Sequence[Any], heard: Sequence[Any]
    ) -> None:
        self.scribe, self.lengths, self.cancelled, self.heard = scribe, lengths, cancelled, heard
        self.open = list(range(len(lengths)))
        self.tokens = 0

    @property
    def done(self) -> bool:
        return not self.open

    def step(self) -> list[tuple[int, Any]]:
        ended: list[tuple[int, Any]] = [(at, None) for at in self.open if self.cancelled[at]()]
        self.open = [at for at in self.open if (at, None) not in ended]
        if not self.open:
            return ended
        assert self.scribe.gate.wait(20)
        self.scribe.steps.append([self.lengths[at] for at in self.open])
        if self.tokens == self.scribe.broken_at and BROKEN in self.scribe.steps[-1]:
            raise RuntimeError("a defect in the graph")
        self.tokens += 1
        for at in list(self.open):
            last = self.tokens == self.lengths[at]
            if self.heard[at]:
                self.heard[at]([self.tokens], last)
            if last:
                self.open.remove(at)
                ended.append((at, {"first": self.lengths[at]}))
        return ended


@pytest.fixture
def one() -> Iterator[Scheduler]:
    scheduler = Scheduler(threads=1, queue_tokens=PLENTY)
    yield scheduler
    scheduler.close()


def run(scheduler: Scheduler, scribe: Scribe, items: list[Item]) -> list[Any]:
    return [found(done) for done in asyncio.run(scheduler.run(scribe, items, 20))]


def test_what_writes_is_told_from_what_does_not() -> None:
    assert isinstance(Scribe(), Writes)
    assert not isinstance(Echo(), Writes)


def test_the_items_of_a_turn_are_written_together_and_leave_as_they_end(one: Scheduler) -> None:
    scribe = Scribe()
    assert run(one, scribe, [item(3), item(1), item(2)]) == [3, 1, 2]
    assert [sorted(step) for step in scribe.steps] == [[1, 2, 3], [2, 3], [3]]


def test_others_have_turns_between_two_tokens(one: Scheduler) -> None:
    scribe, echo = Scribe(), Echo()

    async def main() -> None:
        long = asyncio.create_task(one.run(scribe, [item(1_000_000)], 20))
        await until(lambda: scribe.steps)
        for number in range(5):  # the only worker is writing, and will be for long
            assert found((await one.run(echo, [item(number)], 20))[0]) == number
            before = len(scribe.steps)
            await until(lambda before=before: len(scribe.steps) > before)
        assert not long.done()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long

    asyncio.run(main())


def test_two_models_that_write_take_turns(one: Scheduler) -> None:
    first, second = Scribe(), Scribe()

    async def main() -> None:
        long = asyncio.create_task(one.run(first, [item(1_000_000)], 20))
        await until(lambda: first.steps)
        assert found((await one.run(second, [item(50)], 20))[0]) == 50
        assert not long.done()
        long.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("calls", [1, 2])
def test_a_newcomer_has_turns_beside_what_the_same_model_writes(calls: int) -> None:
    """A job of 3 tokens took as long as the two of seconds that had begun before it."""
    scheduler = Scheduler(threads=2, queue_tokens=PLENTY)
    scribe = Scribe(Plan(calls=calls, windows=1))

    async def main() -> None:
        long = []
        for n in range(calls):
            long.append(asyncio.create_task(scheduler.run(scribe, [item(1_000_000)], 20)))
            await until(lambda n=n: len(scribe.begun) > n)
        for number in (3, 50):
            assert found((await scheduler.run(scribe, [item(number)], 20))[0]) == number
        assert not any(one.done() for one in long)
        for one in long:
            one.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        await until(lambda: not next(iter(scheduler._lanes.values())).turns)

    asyncio.run(main())
    lane = next(iter(scheduler._lanes.values()))
    assert (lane.running, scheduler.waiting) == (0, 0)
    scheduler.close()


@pytest.mark.parametrize(("written", "most"), [(10, 8), (40, 2), (400, 2)])
def test_no_more_is_begun_than_memory_is_meant_for(one: Scheduler, written: int, most: int) -> None:
    """Two calls of four windows; one with so many more beams takes the place of several."""
    scribe = Scribe(Plan(calls=1, windows=4))
    asks = replace(item(1_000_000), written=written, usual=10)

    async def main() -> None:
        asked = []
        for n in range(20):
            asked.append(asyncio.create_task(one.run(scribe, [asks], 20)))
            await until(lambda n=n: len(scribe.begun) > min(n, 5, most - 1))
        await asyncio.sleep(0.1)
        for done in asked:
            done.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(main())
    assert min(most, 6) <= scribe.most <= most


def test_a_request_is_not_interrupted_for_what_else_it_asks(one: Scheduler) -> None:
    """Else the first window of a long text, which is heard first, would be as late as its last."""
    scribe = Scribe(Plan(calls=1, windows=1))
    items = [item(9000, windows=3), item(9000), item(9000)]
    assert run(one, scribe, items) == [9000] * 3
    assert (scribe.most, len(scribe.begun)) == (1, 5)


def test_writing_ends_when_the_client_leaves(one: Scheduler) -> None:
    scribe = Scribe()

    async def main() -> None:
        leaves = asyncio.create_task(one.run(scribe, [item(1_000_000)], 20))
        await until(lambda: scribe.steps)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await one.run(scribe, [item(2)], 20)
        assert scribe.steps[-1] == [2]

    asyncio.run(main())
    assert len(scribe.steps) < 1_000_000


def test_writing_ends_at_the_deadline_and_the_others_go_on(one: Scheduler) -> None:
    scribe = Scribe()

    async def main() -> None:
        scribe.gate.clear()
        first = asyncio.create_task(one.run(scribe, [item(1)], 20))
        late = asyncio.create_task(one.run(scribe, [item(1_000_000)], 0.2))
        in_time = asyncio.create_task(one.run(scribe, [item(3)], 20))
        await asyncio.sleep(0)
        scribe.gate.set()
        with pytest.raises(DeadlineError):
            await late
        assert found((await in_time)[0]) == 3
        assert found((await first)[0]) == 1
        assert found((await one.run(scribe, [item(2)], 20))[0]) == 2

    asyncio.run(main())
    assert [1_000_000, 3] in scribe.steps or [3, 1_000_000] in scribe.steps


def test_a_twin_of_what_was_given_up_is_written_anew(one: Scheduler) -> None:
    scribe = Scribe()

    async def main() -> None:
        leaves = asyncio.create_task(one.run(scribe, [item(1_000_000, key="a")], 20))
        await until(lambda: scribe.steps)
        leaves.cancel()
        await until(lambda: not one._in_flight)
        assert found((await one.run(scribe, [item(2, key="a")], 20))[0]) == 2

    asyncio.run(main())


@pytest.mark.parametrize("broken_at", [0, 1, 3, 4])
def test_a_defect_at_any_token_stays_with_its_item(one: Scheduler, broken_at: int) -> None:
    """All neighbours were answered with it, unless it came at the first token."""
    scribe = Scribe(broken_at=broken_at)
    answers = run(one, scribe, [item(5), item(BROKEN), item(2), item(8)])
    assert answers == [5, "internal", 2, 8]
    assert run(one, scribe, [item(4)]) == [4]


def test_what_is_written_again_is_not_told_again(one: Scheduler) -> None:
    heard: list[tuple[int, list[int], bool]] = []
    told = replace(item(5), heard=lambda *what: heard.append(what))  # type: ignore[arg-type]
    assert run(one, Scribe(broken_at=3), [told, item(BROKEN)]) == [5, "internal"]
    assert heard == [(0, [k], k == 5) for k in range(1, 6)]


def test_who_listens_hears_every_token_once_however_they_come() -> None:
    heard: list[tuple[list[int], bool]] = []
    listener = Listener(lambda tokens, ended: heard.append((list(tokens), ended)))
    listener([1, 2], False)
    listener([3], False)
    listener.again()
    listener([], False)
    listener([1], False)
    listener([2, 3, 4], False)
    listener.again()
    listener([1, 2, 3, 4], False)
    listener([], True)
    assert heard == [([1, 2], False), ([3], False), ([4], False), ([], True)]


def test_the_time_of_a_batch_is_shared_by_what_was_open(
    one: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long text had half of the time that it took, and a short one beside it the other half."""
    monkeypatch.setattr("services.worker.perf_counter", itertools.count().__next__)
    [short, long] = asyncio.run(one.run(Scribe(), [item(2), item(20)], 20))  # a step takes 1
    assert (short.infer, long.infer) == (1.0, 19.0)


def test_final_tokens_are_heard_by_window(one: Scheduler) -> None:
    heard: list[tuple[int, list[int], bool]] = []
    two = item(2, windows=2)
    told = Item(two.encode, two.decode, heard=lambda *what: heard.append(what))  # type: ignore
    assert run(one, Scribe(), [told]) == [2]
    assert sorted(heard) == [(n, [k], k == 2) for n in (0, 1) for k in (1, 2)]


def test_the_window_that_is_heard_first_is_written_first(one: Scheduler) -> None:
    """Otherwise the longest would be: calls are made of windows sorted by length."""
    lengths = [5, 400, 60]
    windows = [Window([3] * length, [0] * length, (0, length), 0) for length in lengths]
    encoded = Encoded([*windows], [Tokens([1], [(0, 1)])], ["text"])
    heard: list[int] = []
    told = Item(
        lambda: encoded,
        lambda _, outputs: {"number": len(outputs)},
        heard=lambda window, tokens, last: heard.append(window),
    )
    scribe = Scribe(Plan(calls=1, windows=1))
    assert found(asyncio.run(one.run(scribe, [told], 20))[0]) == 3
    assert heard == sorted(heard)


def test_hundreds_of_requests_that_write_and_that_do_not() -> None:
    scheduler = Scheduler(threads=3, queue_tokens=PLENTY)
    scribe, echo = Scribe(Plan(calls=2, windows=4)), Echo(Plan(calls=2, windows=4))

    async def main() -> list[Any]:
        asked = [
            scheduler.run(scribe if n % 3 else echo, [item(n + 1, windows=1 + n % 2)], 20)
            for n in range(300)
        ]
        return [found(done) for [done] in await asyncio.gather(*asked)]

    assert asyncio.run(main()) == [n + 1 for n in range(300)]
    assert (scheduler.waiting, scheduler.tokens) == (0, 0)
    scheduler.close()


def test_a_worker_that_writes_ends_with_the_scheduler() -> None:
    """What was begun is finished."""
    scheduler, scribe = Scheduler(threads=1, queue_tokens=PLENTY), Scribe()

    async def main() -> Any:
        asked = asyncio.create_task(scheduler.run(scribe, [item(2000)], 20))
        await until(lambda: scribe.steps)
        await asyncio.to_thread(scheduler.close)
        return found((await asked)[0])

    assert asyncio.run(main()) == 2000


def test_what_rests_ends_with_the_scheduler_too() -> None:
    scheduler, scribe = Scheduler(threads=1, queue_tokens=PLENTY), Scribe(Plan(calls=1, windows=1))

    async def main() -> list[Any]:
        asked = []
        for n in range(3):
            asked.append(asyncio.create_task(scheduler.run(scribe, [item(100_000 + n)], 20)))
            await until(lambda n=n: len(scribe.begun) > min(n, 1))
        await asyncio.to_thread(scheduler.close)
        return [found((await one)[0]) for one in asked[:2]]

    assert asyncio.run(main()) == [100_000, 100_001]
    assert len(scribe.begun) == 2  # the third waited


def test_a_writer_that_gives_up_first_leaves_the_answer_to_the_requests_timer() -> None:
    """Else a list would be answered with 200 at its deadline, or with 504, whichever is first."""

    async def main() -> None:
        group = Group(asyncio.get_running_loop(), 1, deadline=0.0)
        group.finish(0, Done(error=DeadlineError("The answer was given up.")))
        assert not group.future.done()

    asyncio.run(main())
