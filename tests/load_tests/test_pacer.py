"""Users of an open loop at its end: who has nothing to send leaves, what was due is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import gevent
import pytest

from load_tests.pacer import OpenLoop, Over


@pytest.fixture
def loop() -> Iterator[OpenLoop]:
    interval = sys.getswitchinterval()
    made = OpenLoop()
    yield made
    made.stop()
    sys.setswitchinterval(interval)


def test_who_waits_when_nothing_more_is_due_may_go(loop: OpenLoop) -> None:
    loop.start([0.0, 60.0])
    users = [gevent.spawn(loop.wait) for _ in range(3)]
    gevent.wait(users, timeout=5, count=1)
    loop.pause()
    gevent.joinall(users, timeout=5)
    ended = [user.exception for user in users]
    assert sum(isinstance(error, Over) for error in ended) == 2
    assert [user.value for user in users if user.successful()] == [loop.began]


def test_what_was_due_is_still_handed_out(loop: OpenLoop) -> None:
    loop.start([0.0, 0.01])
    while loop.waiting < 2:
        gevent.sleep(0.01)
    loop.pause()
    assert loop.unanswered(before=float("inf")) == 2
    assert loop.wait() < loop.wait()
    with pytest.raises(Over):
        loop.wait()


def test_a_stopped_loop_forgets_what_was_due(loop: OpenLoop) -> None:
    loop.start([0.0])
    while not loop.waiting:
        gevent.sleep(0.01)
    loop.stop()
    assert (loop.waiting, loop.unanswered(before=float("inf"))) == (0, 0)
    with pytest.raises(Over):
        loop.wait()
